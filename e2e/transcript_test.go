//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3/responses"
	"github.com/tmaxmax/go-sse"

	"github.com/midstream-dev/midstream/schema"
)

// transcript is what was heard of one response: by a client while it ran, or from the log afterwards.
type transcript struct {
	id     string
	events []string // "0 response.created", …
	text   string   // all output_text deltas
	final  jsontext.Value
}

// event is what the stories look at in an event's data.
type event struct {
	Type     string         `json:"type"`
	Number   int64          `json:"sequence_number"`
	Delta    string         `json:"delta"`
	Response jsontext.Value `json:"response"`
}

func (tr *transcript) add(e event) {
	tr.events = append(tr.events, fmt.Sprintf("%d %s", e.Number, e.Type))
	if e.Type == "response.output_text.delta" {
		tr.text += e.Delta
	}
	switch e.Type {
	case "response.completed", "response.incomplete", "response.failed":
		tr.final = e.Response
	}
}

// replay reads a finished response from the log: the strict checker must accept its raw bytes, and the object that the
// API gives out must be the one of the terminal event.
func (g *gateway) replay(t *testing.T, id string) *transcript {
	t.Helper()
	raw := g.get(t, "/v1/responses/"+id+"?stream=true")
	if !bytes.HasSuffix(raw, []byte("data: [DONE]\n\n")) {
		t.Errorf("the replay of %s has no [DONE] at its end", id)
	}
	if _, err := schema.CheckStream(raw); err != nil {
		t.Errorf("the replay of %s: %v\n%s", id, err, raw)
	}
	logged := read(t, raw)
	logged.id = id
	if diff := cmp.Diff(decode(t, logged.final), decode(t, g.get(t, "/v1/responses/"+id))); diff != "" {
		t.Errorf("the object of %s differs from its terminal event (-event +object):\n%s", id, diff)
	}
	return logged
}

// read parses raw frames with a library that knows nothing of ours.
func read(t *testing.T, raw []byte) *transcript {
	t.Helper()
	tr := &transcript{}
	for frame, err := range sse.Read(bytes.NewReader(raw), &sse.ReadConfig{MaxEventSize: 16 << 20}) {
		if err != nil {
			t.Fatalf("read the replay: %v", err)
		}
		if frame.Data == "[DONE]" {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(frame.Data), &e); err != nil {
			t.Fatalf("read event %q: %v", frame.Data, err)
		}
		if frame.Type != e.Type || frame.LastEventID != fmt.Sprint(e.Number) {
			t.Errorf("frame %s with id %s holds event %d %s", frame.Type, frame.LastEventID, e.Number, e.Type)
		}
		tr.add(e)
	}
	return tr
}

func decode(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("decode %.200q: %v", raw, err)
	}
	return v
}

// ask creates a streamed response with OpenAI's Go client and hears it to its end.
func (g *gateway) ask(t *testing.T, params responses.ResponseNewParams) *transcript {
	t.Helper()
	client := g.client()
	stream := client.Responses.NewStreaming(context.Background(), params)
	defer stream.Close()
	heard := &transcript{}
	for stream.Next() {
		e := stream.Current()
		if e.Type == "response.created" {
			heard.id = e.Response.ID
		}
		heard.add(event{e.Type, e.SequenceNumber, e.Delta, jsontext.Value(e.Response.RawJSON())})
	}
	if err := stream.Err(); err != nil {
		t.Fatalf("stream %v: %v", heard.events, err)
	}
	return heard
}

// story asks, and ends as every story ends: what was heard is what the log has. It returns the finished response.
func (g *gateway) story(t *testing.T, params responses.ResponseNewParams) responses.Response {
	t.Helper()
	heard := g.ask(t, params)
	logged := g.replay(t, heard.id)
	heard.agrees(t, logged)
	var final responses.Response
	if err := final.UnmarshalJSON(logged.final); err != nil {
		t.Fatalf("read the final response: %v", err)
	}
	return final
}

// agrees compares what a client heard with what the log has.
func (tr *transcript) agrees(t *testing.T, logged *transcript) {
	t.Helper()
	if diff := cmp.Diff(logged.events, tr.events); diff != "" {
		t.Errorf("the client saw other events than the log has (-log +client):\n%s", diff)
	}
	if diff := cmp.Diff(logged.text, tr.text); diff != "" {
		t.Errorf("the client saw another text than the log has (-log +client):\n%s", diff)
	}
}

// kinds lists the types of a response's output items.
func kinds(r responses.Response) string {
	var list []string
	for _, item := range r.Output {
		list = append(list, item.Type)
	}
	return strings.Join(list, " ")
}
