package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// feeder is a producer by HTTP.
type feeder struct {
	*running
	id, name string
}

type ingestAnswer struct {
	Accepted, Next int64
	Error          struct{ Code, Message string }
}

// send posts a body and returns the status and the answer.
func (f feeder) send(t *testing.T, body string, headers ...string) (int, ingestAnswer) {
	t.Helper()
	h := http.Header{"Midstream-Producer": {f.name}}
	kind := "application/x-ndjson"
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	if h.Get("Content-Type") != "" {
		kind = h.Get("Content-Type")
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v1/responses/"+f.id+"/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = h
	request.Header.Set("Content-Type", kind)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a ingestAnswer
	if err := json.Unmarshal(raw, &a, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if next := response.Header.Get("Midstream-Next"); a.Error.Code == "" && next != fmt.Sprint(a.Next) {
		t.Errorf("Midstream-Next: %s, next: %d", next, a.Next)
	}
	return response.StatusCode, a
}

// stream returns the response as a reader gets it from its beginning.
func (f feeder) stream(t *testing.T) *schema.State {
	t.Helper()
	_, body := f.do(t, http.MethodGet, "/v1/responses/"+f.id+"?stream=true", "", nil)
	state, err := schema.CheckStream(frames(t, body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return state
}

// TestIngest_LiteLLM promises that a producer which sends LiteLLM's old order needs to declare nothing, and that readers get
// one legal response of it: MCP events before response.created, colliding numbers, output_index 0 everywhere, two lifecycles.
func TestIngest_LiteLLM(t *testing.T) {
	f := feeder{serveNode(t, "--nats.data="+t.TempDir()), litellmID, "litellm"}
	events := litellm(t)
	status, a := f.send(t, strings.Join(events, ""))
	if status != http.StatusOK || a.Accepted != int64(len(events)) || a.Next != a.Accepted {
		t.Fatalf("%d %+v", status, a)
	}
	state := f.stream(t)
	var kinds []string
	for _, it := range state.Items() {
		kinds = append(kinds, it.Type)
	}
	if got := strings.Join(kinds, " "); got != "mcp_list_tools mcp_call message" || state.Response().Status != schema.StatusCompleted {
		t.Errorf("%s: %s", state.Response().Status, got)
	}

	// The same again, as after an answer that was lost, changes nothing; what is new finds the response ended.
	if status, a = f.send(t, strings.Join(events, ""), "Midstream-Seq", "0"); status != http.StatusOK || a.Accepted != 0 {
		t.Errorf("sent again: %d %+v", status, a)
	}
	if status, a = f.send(t, events[0]); status != http.StatusConflict || a.Error.Code != "producer_ended" {
		t.Errorf("behind its end: %d %+v", status, a)
	}
}

// TestIngest_Declared promises that a response which was opened for several producers takes them in any order, each by its own
// places, and ends when all have. Its opener is told at once which response that is.
func TestIngest_Declared(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir())
	_, opened := node.do(t, http.MethodPost, "/v1/responses",
		`{"model":"somebody-elses","midstream":{"producers":["model","mcp"]}}`, nil)
	var resp schema.Response
	if err := json.Unmarshal(opened, &resp); err != nil || !strings.HasPrefix(resp.ID, "resp_") {
		t.Fatalf("%v %s", err, opened)
	}
	model, mcp := feeder{node, resp.ID, "model"}, feeder{node, resp.ID, "mcp"}
	events := litellm(t)
	want := func(code string, status int, gotStatus int, a ingestAnswer) {
		t.Helper()
		if gotStatus != status || a.Error.Code != code {
			t.Errorf("want %d %s, got %d %+v", status, code, gotStatus, a)
		}
	}
	say := func(f feeder, code string, status int, body string, headers ...string) ingestAnswer {
		t.Helper()
		got, a := f.send(t, body, headers...)
		want(code, status, got, a)
		return a
	}
	say(model, "event_gap", 409, events[3], "Midstream-Seq", "2")
	say(model, "", 200, strings.Join(events[3:6], ""))
	say(feeder{node, resp.ID, "stranger"}, "unknown_producer", 403, events[0])
	say(mcp, "", 200, asStream(events[:3])+"data: [DONE]\n\n", "Content-Type", "text/event-stream")
	say(model, "", 200, strings.Join(events[3:8], ""), "Midstream-Seq", "0", "Midstream-Epoch", "1")
	say(model, "stale_epoch", 403, events[8])
	if a := say(model, "event_order", 400, events[8]+`{"type":"response.output_item.added","output_index":7}`+"\n",
		"Midstream-Epoch", "1"); !strings.Contains(a.Error.Message, "item-added") {
		t.Errorf("the refusal does not name the rule: %s", a.Error.Message)
	}
	say(model, "", 200, strings.Join(events[3:], ""), "Midstream-Seq", "0", "Midstream-Epoch", "1")
	if state := model.stream(t); len(state.Items()) != 3 || state.Response().Model != "somebody-elses" {
		t.Errorf("%d items of %s", len(state.Items()), state.Response().Model)
	}
	say(model, "producer_ended", 409, events[0], "Midstream-Epoch", "1")
}

func asStream(events []string) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "event: ignored\ndata: %s\n\n", strings.TrimSpace(e))
	}
	return b.String()
}

// TestIngest_BadInput promises a clear error for each, and that what was right before it is stored.
func TestIngest_BadInput(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir())
	good := `{"type":"response.mcp_list_tools.in_progress","item_id":"x"}` + "\n"
	for i, c := range []struct {
		name, body, code string
		status           int
		next             int64
		headers          []string
	}{
		{"half a line", good + `{"type":"resp`, "invalid_json", 400, 1, nil},
		{"garbage", good + "hello\n", "invalid_json", 400, 1, nil},
		{"no type", good + "{}\n", "missing_required_parameter", 400, 1, nil},
		{"oversize", good + `{"type":"x","a":"` + strings.Repeat("a", 1<<20) + `"}` + "\n", "request_too_large", 413, 1, nil},
		{"lines that are called server-sent events", "data: " + good + "\n" + good, "invalid_json", 400, 1, []string{"Content-Type", "text/event-stream"}},
		{"number", good, "invalid_value", 400, 0, []string{"Midstream-Seq", "-1"}},
		{"number too large", good, "invalid_value", 400, 0, []string{"Midstream-Seq", "99999999999999999999"}},
		{"epoch", good, "invalid_value", 400, 0, []string{"Midstream-Epoch", "one"}},
		{"last", good, "invalid_value", 400, 0, []string{"Midstream-Last", "perhaps"}},
		{"no producer", good, "invalid_value", 400, 0, []string{"Midstream-Producer", ""}},
		{"producer is a pattern", good, "invalid_value", 400, 0, []string{"Midstream-Producer", ">"}},
		{"media type", good, "unsupported_media_type", 415, 0, []string{"Content-Type", "text/plain"}},
	} {
		f := feeder{node, fmt.Sprintf("resp_bad%016d", i), "p"}
		status, a := f.send(t, c.body, c.headers...)
		if status != c.status || a.Error.Code != c.code {
			t.Errorf("%s: %d %+v", c.name, status, a)
		}
		if _, a = f.send(t, ""); a.Next != c.next {
			t.Errorf("%s: %d is due behind it, want %d", c.name, a.Next, c.next)
		}
	}
	f := feeder{node, "resp_short", "p"}
	if status, a := f.send(t, good); status != http.StatusNotFound {
		t.Errorf("an id that can be guessed opened a response: %d %+v", status, a)
	}
	_, made := node.do(t, http.MethodPost, "/v1/responses", `{"model":"demo","input":"hi"}`, nil)
	var resp schema.Response
	if err := json.Unmarshal(made, &resp); err != nil {
		t.Fatal(err)
	}
	if status, a := (feeder{node, resp.ID, "p"}).send(t, good); status != http.StatusConflict || a.Error.Code != "not_fed" {
		t.Errorf("a response of ours was fed: %d %+v", status, a)
	}
}

// TestIngest_Ends promises that an end counts once, and only where it stands: one that is refused may be sent again, other events in
// places that are taken end nothing, an error event is an end that says why, and so is a last frame without a blank line behind it.
func TestIngest_Ends(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir())
	const (
		add   = `{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}` + "\n"
		delta = `{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":"a"}` + "\n"
		done  = `{"type":"response.output_item.done","item":{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}}` + "\n"
		end   = `{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}` + "\n"
		fails = `{"type":"error","code":"server_error","message":"boom"}` + "\n"
	)
	say := func(f feeder, status int, next int64, body string, headers ...string) {
		t.Helper()
		if got, a := f.send(t, body, headers...); got != status || status == 200 && a.Next != next {
			t.Errorf("%d %+v, want %d and %d due", got, a, status, next)
		}
		if _, a := f.send(t, "", "Midstream-Last", "false"); a.Next != next {
			t.Errorf("%d is due, want %d", a.Next, next)
		}
	}
	usage := func(f feeder) int64 { return f.stream(t).Response().Usage.TotalTokens }

	refused := feeder{node, "resp_endrefused000000000", "p"}
	say(refused, 200, 2, add+delta)
	say(refused, 400, 2, end)
	say(refused, 400, 2, end)
	say(refused, 200, 4, done+end)
	if n := usage(refused); n != 7 {
		t.Errorf("%d tokens: an end that was refused is counted", n)
	}

	other := feeder{node, "resp_endelsewhere0000000", "p"}
	say(other, 200, 1, add)
	say(other, 200, 1, end, "Midstream-Seq", "0")
	say(other, 200, 4, delta+done+end)
	if n := usage(other); n != 7 {
		t.Errorf("%d tokens: an end that stands nowhere is counted", n)
	}

	failed := feeder{node, "resp_endwitherror0000000", "p"}
	say(failed, 200, 3, add+delta+fails)
	if r := failed.stream(t).Response(); r.Status != schema.StatusFailed || r.Error == nil || r.Error.Message != "boom" {
		t.Errorf("%s, %+v", r.Status, r.Error)
	}

	frames := feeder{node, "resp_endwithoutblank0000", "p"}
	say(frames, 200, 4, strings.TrimSuffix(asStream([]string{add, delta, done, end}), "\n"), "Content-Type", "text/event-stream")
	if n := usage(frames); n != 7 {
		t.Errorf("%d tokens", n)
	}
}

// TestIngest_OutputFull promises that a response which has reached its limit ends as incomplete, though each of the events that
// close its one long item is nearly as large as a message may be.
func TestIngest_OutputFull(t *testing.T) {
	f := feeder{serveNode(t, "--nats.data="+t.TempDir(), "--nats.sync=1s"), "resp_asmuchasthereis00000", "p"}
	f.send(t, `{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}`+"\n")
	piece := fmt.Sprintf(`{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":"%s"}`+"\n", strings.Repeat("a", 1_000_000))
	ended := false
	for range 12 {
		if _, a := f.send(t, piece); a.Error.Code == "response_ended" {
			ended = true
			break
		}
	}
	r := f.stream(t).Response()
	if !ended || r.Status != schema.StatusIncomplete || r.IncompleteDetails == nil || r.IncompleteDetails.Reason != "max_output_tokens" {
		t.Errorf("the producer is told: %t; %s, %+v", ended, r.Status, r.Error)
	}
}

// TestIngest_EpochFences promises that a producer which was started anew fences the one before off by its first word, be it a
// question or a repeat: what that one sends afterwards takes no place.
func TestIngest_EpochFences(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir())
	event := func(text string) string {
		return fmt.Sprintf(`{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":%q}`, text) + "\n"
	}
	const add = `{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}` + "\n"
	for name, word := range map[string]string{"question": "", "repeat": add} {
		f := feeder{node, "resp_restarted" + name + "0000000", "p"}
		f.send(t, add+event("one"))
		if status, a := f.send(t, word, "Midstream-Epoch", "1", "Midstream-Seq", "0"); status != 200 || a.Accepted != 0 || a.Next != 2 {
			t.Errorf("%s: %d %+v", name, status, a)
		}
		if status, a := f.send(t, event("OLD")); status != 403 || a.Error.Code != "stale_epoch" {
			t.Errorf("%s: the one before: %d %+v", name, status, a)
		}
		if status, a := f.send(t, event("NEW"), "Midstream-Epoch", "1", "Midstream-Seq", "2"); status != 200 || a.Accepted != 1 {
			t.Errorf("%s: the one that was started anew: %d %+v", name, status, a)
		}
	}
}

// TestIngest_Deleted promises that whoever feeds a response that was deleted hears so with the next request, whatever that brings.
func TestIngest_Deleted(t *testing.T) {
	f := feeder{serveNode(t, "--nats.data="+t.TempDir()), "resp_0123456789abcdefdeleted", "p"}
	const (
		added = `{"type":"response.output_item.added","item":{"id":"m","type":"message"}}` + "\n"
		end   = `{"type":"response.output_item.done","item":{"id":"m","type":"message"}}` + "\n" + `{"type":"response.completed","response":{}}` + "\n"
	)
	if status, a := f.send(t, added); status != http.StatusOK {
		t.Fatalf("%d %+v", status, a)
	}
	if resp, body := f.do(t, http.MethodDelete, "/v1/responses/"+f.id, "", nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Status, body)
	}
	for _, body := range []string{end, "", added} {
		if status, a := f.send(t, body); status != http.StatusGone || a.Error.Code != "erased" {
			t.Errorf("%q: %d %+v", body, status, a)
		}
	}
}

// TestIngest_RefusedOpensNothing promises that a first event which is refused leaves no response behind, so that what is right may
// still say what it is.
func TestIngest_RefusedOpensNothing(t *testing.T) {
	f := feeder{serveNode(t, "--nats.data="+t.TempDir()), "resp_0123456789abcdefrefused", "p"}
	if status, a := f.send(t, `{"type":"response.output_item.done","item":null}`); status != http.StatusBadRequest || a.Error.Code != "event_order" {
		t.Errorf("%d %+v", status, a)
	}
	if resp, body := f.do(t, http.MethodGet, "/v1/responses/"+f.id, "", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("%s %s", resp.Status, body)
	}
	status, a := f.send(t, `{"type":"response.created","response":{"model":"gpt-4o"}}`+"\n"+`{"type":"response.completed","response":{}}`)
	if resp := f.stream(t).Response(); status != http.StatusOK || resp.Model != "gpt-4o" {
		t.Errorf("%d %+v, of %s", status, a, resp.Model)
	}
}
