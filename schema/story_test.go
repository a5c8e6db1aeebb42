package schema

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// A story is a txtar file of testdata/stories: prose, then
//
//	-- in --
//	PRODUCER {event}     the producer's next event, as JSON
//	! abort              the run is given up: Sequencer.Abort
//	! finish TYPE        the terminal event: Sequencer.Finish
//	# …                  a remark
//	-- out --
//	{event}              what the client is given, in the order of the wire
//	-- errors --
//	ERROR                what the sequencer refused, and why
//	-- refused --
//	VIOLATION            what the checker says to the input as one stream; only where a file has this section
//
// A response in the input names only what matters; the rest is what the smallest request is answered with. In the output
// a response is abbreviated to its id, status, error, the reason why it is incomplete, and the ids of its output.
type story struct {
	archive *txtar.Archive
	out     []Event
	errors  string
	raw     State
	refused error
}

// Each story is told by its file: what producers said, and what the client was given. All that a client is given is
// legal and folds the same in any pieces.
func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := readStory(t, name)
			s.tell(t)
			s.compare(t, name)
			s.check(t)
		})
	}
}

func readStory(t *testing.T, name string) *story {
	t.Helper()
	return &story{archive: must(txtar.ParseFile(name))(t)}
}

func (s *story) tell(t *testing.T) {
	q := NewSequencer(&State{})
	for line := range strings.Lines(string(s.section("in"))) {
		who, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		var events []Event
		var err error
		switch who {
		case "", "#":
		case "!":
			events, err = command(t, q, what)
		default:
			e := storyEvent(t, what)
			if s.refused == nil {
				s.refused = s.raw.Apply(&e)
			}
			events, err = q.Push(who, e)
		}
		s.out = append(s.out, events...)
		if err != nil {
			s.errors += err.Error() + "\n"
		}
	}
}

func command(t *testing.T, q *Sequencer, what string) ([]Event, error) {
	verb, arg, _ := strings.Cut(what, " ")
	switch EventType(arg) {
	case Completed:
		return q.Finish(Completed, wellEnded)
	case Incomplete:
		return q.Finish(Incomplete, func(r *Response) { r.IncompleteDetails = &IncompleteDetails{"max_output_tokens"} })
	case Failed:
		return q.Finish(Failed, func(r *Response) { r.Error = &ResponseError{Code: CodeUpstreamProtocol, Message: "cut"} })
	}
	if verb != "abort" {
		t.Fatalf("no such command: %s", what)
	}
	return q.Abort()
}

// storyEvent reads an event whose response, if it has one, may leave out whatever the smallest request is answered with.
func storyEvent(t *testing.T, text string) Event {
	e := must(ParseEvent([]byte(text)))(t)
	if e.Response != nil {
		full := createdEvent(t, testCommand("resp_1"))
		if err := json.Unmarshal([]byte(text), &full); err != nil {
			t.Fatal(err)
		}
		return full
	}
	return e
}

// compare holds the story to its file, or rewrites the file with -update.
func (s *story) compare(t *testing.T, name string) {
	var out bytes.Buffer
	for i := range s.out {
		out.Write(append(abbreviate(t, &s.out[i]), '\n'))
	}
	told := map[string]string{"out": out.String(), "errors": s.errors}
	if s.has("refused") && s.refused != nil {
		told["refused"] = s.refused.Error() + "\n"
	}
	if *update {
		s.rewrite(t, name, told)
		return
	}
	for _, section := range []string{"out", "errors", "refused"} {
		if diff := cmp.Diff(string(s.section(section)), told[section]); diff != "" {
			t.Errorf("%s, %s (-golden +now):\n%s", name, section, diff)
		}
	}
}

func (s *story) rewrite(t *testing.T, name string, told map[string]string) {
	kept := []txtar.File{{Name: "in", Data: s.section("in")}, {Name: "out", Data: []byte(told["out"])}}
	for _, section := range []string{"errors", "refused"} {
		if told[section] != "" || s.has(section) {
			kept = append(kept, txtar.File{Name: section, Data: []byte(told[section])})
		}
	}
	s.archive.Files = kept
	if err := os.WriteFile(name, txtar.Format(s.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// check holds the client's stream to everything at once: strictly from its bytes, and folded in every two pieces.
func (s *story) check(t *testing.T) {
	frames := framesOf(t, s.out)
	if _, err := CheckStream(append([]byte(": keep-alive\n\n"), append(frames, "data: [DONE]\n\n"...)...)); err != nil {
		t.Errorf("the client's stream: %v", err)
	}
	if diff := cmp.Diff(string(frames), string(framesOf(t, eventsOf(t, frames)))); diff != "" {
		t.Errorf("read and written again:\n%s", diff)
	}
	for i := range s.out {
		if diff := foldsInPieces(t, frames, len(framesOf(t, s.out[:i]))); diff != "" {
			t.Errorf("split at event %d (-whole +pieces):\n%s", i, diff)
		}
	}
}

// The state behind a terminal event is the same whether the whole response was folded or that one frame.
func TestFoldTerminal_KnowsWhatFoldKnows(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"text", "model_cut", "calls_cut"} {
		frames := tellStory(t, name)
		last := frames[bytes.LastIndex(frames, []byte("event: ")):]
		whole, one := must(Fold(frames))(t), must(FoldTerminal(last))(t)
		if diff := cmp.Diff(whole.Response(), one.Response()); diff != "" || !one.Ended() || one.Next() != whole.Next() {
			t.Errorf("%s (-whole +terminal): next %d and %d\n%s", name, whole.Next(), one.Next(), diff)
		}
	}
	if _, err := FoldTerminal(tellStory(t, "text")); err == nil {
		t.Error("the frame of response.created: accepted")
	}
}

func (s *story) has(section string) bool {
	for _, f := range s.archive.Files {
		if f.Name == section {
			return true
		}
	}
	return false
}

func (s *story) section(name string) []byte {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// abbreviate writes an event as a story shows it.
func abbreviate(t *testing.T, e *Event) []byte {
	shown := *e
	shown.Response = nil
	if e.Response != nil {
		shown.Rest = summary(t, e.Response)
	}
	return must(json.Marshal(&shown, oneForm))(t)
}

func summary(t *testing.T, r *Response) jsontext.Value {
	shown := map[string]any{"id": r.ID, "status": r.Status}
	ids := []string{}
	for _, it := range r.Output {
		ids = append(ids, it.ID)
	}
	shown["output"] = ids
	if r.Error != nil {
		shown["error"] = r.Error
	}
	if r.IncompleteDetails != nil {
		shown["incomplete_details"] = r.IncompleteDetails
	}
	data := must(json.Marshal(shown, json.Deterministic(true)))(t)
	return fmt.Appendf(nil, `{"response":%s}`, data)
}
