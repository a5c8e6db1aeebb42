package sseserver

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/midstream-dev/midstream/schema"
)

// The stream, the answer to a create that does not stream, and the object are folds of one log: on every golden story of
// the language, from a hub that was there and from the archive, they tell the same response.
func TestLive_OneLogThreeFaces(t *testing.T) {
	files, err := filepath.Glob("../schema/testdata/stories/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d stories: %v", len(files), err)
	}
	s, b := serveLive(t), liveBroker(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			answer := s.later(t, unstreamed)
			job, err := b.Claim(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p := produce(t, job.Command)
			p.play(readStory(t, file))
			if err := p.w.Seal(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if err := job.Ack(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := facesOf(t, s, p)
			agree(t, want, <-answer)
			b.Drop(p.ref)
			if diff := cmp.Diff(want, facesOf(t, s, p)); diff != "" {
				t.Errorf("from the archive (-before +now):\n%s", diff)
			}
		})
	}
}

// faces are a response as its stream folds to it, and as it is retrieved.
type faces struct{ Streamed, Retrieved string }

func facesOf(t *testing.T, s *site, p *producer) faces {
	t.Helper()
	stream := read(t, s.get(t, path(p.ref)))
	state, err := schema.Fold(bytes.TrimSuffix(stream, doneFrame))
	if err != nil {
		t.Fatalf("%v\n%s", err, stream)
	}
	f := faces{asJSON(t, state.Response()), string(read(t, s.get(t, "/v1/responses/"+p.ref.Response())))}
	if diff := cmp.Diff(f.Streamed, f.Retrieved); diff != "" {
		t.Errorf("object (-stream +object):\n%s", diff)
	}
	return f
}

// agree holds the answer of a create to the other faces: it is the response, or, of one that failed before it had anything
// to show, its error.
func agree(t *testing.T, want faces, answer *http.Response) {
	t.Helper()
	if answer == nil {
		t.Fatal("no answer")
	}
	body := read(t, answer)
	answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		if diff := cmp.Diff(want.Streamed, string(body)); diff != "" {
			t.Errorf("answer (-stream +answer):\n%s", diff)
		}
		return
	}
	var r schema.Response
	if err := json.Unmarshal([]byte(want.Streamed), &r); err != nil {
		t.Fatal(err)
	}
	if e := refusalIn(t, body); r.Error == nil || e.Code != r.Error.Code || e.Message != r.Error.Message {
		t.Errorf("answered %s for a response with error %+v", body, r.Error)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v, oneForm)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// readStory returns what the producers of a story say, in the form of schema's own reader.
func readStory(t *testing.T, file string) (lines []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse(data).Files {
		if f.Name == "in" {
			lines = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		}
	}
	return lines
}

// play hands a story to the response's own sequencer, and appends what that gives out. What it refuses is the language's
// affair; a story without an end is given one.
func (p *producer) play(lines []string) {
	p.tb.Helper()
	for _, line := range lines {
		who, what, _ := strings.Cut(line, " ")
		var events []schema.Event
		switch who {
		case "", "#":
		case "!":
			events = p.direct(what)
		default:
			e, err := schema.ParseEvent([]byte(what))
			if err != nil {
				p.tb.Fatal(err)
			}
			events, _ = p.seq.Push(who, e)
		}
		p.append(p.write(events, nil))
	}
	if !p.seq.State().Ended() {
		p.append(p.write(p.seq.Abort()))
		p.append(p.fail(&schema.ResponseError{Code: schema.CodeServer, Message: "The story has no end."}))
	}
}

func (p *producer) direct(what string) []schema.Event {
	p.tb.Helper()
	verb, kind, _ := strings.Cut(what, " ")
	var events []schema.Event
	var err error
	if verb == "abort" {
		events, err = p.seq.Abort()
	} else {
		events, err = p.seq.Finish(schema.EventType(kind), func(r *schema.Response) {
			switch r.Status {
			case schema.StatusFailed:
				r.Error = &schema.ResponseError{Code: schema.CodeUpstreamProtocol, Message: "cut"}
			case schema.StatusIncomplete:
				r.IncompleteDetails = &schema.IncompleteDetails{Reason: "max_output_tokens"}
			}
		})
	}
	if err != nil {
		p.tb.Fatal(err)
	}
	return events
}
