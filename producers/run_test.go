package producers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// A model's text becomes the canonical sequence of one message, and usage is the model's own.
func TestRun_StreamsText(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("Hello", " world")}
	resp, records := s.run(`{"model":"m","input":"hi"}`)
	want := []string{
		"created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
		"output_text.done", "content_part.done", "output_item.done", "completed",
	}
	if diff := cmp.Diff(want, types(records)); diff != "" {
		t.Error(diff)
	}
	if resp.Status != schema.StatusCompleted || resp.Output[0].Text() != "Hello world" || resp.Usage.TotalTokens != 5 {
		t.Errorf("response: %+v", resp)
	}
}

// One MCP server and one call make the canonical example of the API: list, call, answer.
func TestRun_CallsOneTool(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "wiki__echo", `{"a":`, `1}`)), says("done")}
	resp, records := s.run(with("wiki"))
	want := []string{
		"created", "in_progress",
		"output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done",
		"output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.delta",
		"mcp_call_arguments.done", "mcp_call.completed", "output_item.done",
		"output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
		"output_item.done", "completed",
	}
	if diff := cmp.Diff(want, types(records)); diff != "" {
		t.Error(diff)
	}
	call := resp.Output[1]
	if string(call.Output) != `"echo of {\"a\":1}"` || call.Name != "echo" || call.ServerLabel != "wiki" {
		t.Errorf("call: %+v", call)
	}
	if got := s.model.asked[1].Input; len(got) != 3 || got[1].Name != "wiki__echo" || got[2].CallID != got[1].CallID {
		t.Errorf("second turn's input: %+v", got)
	}
	if resp.Usage.TotalTokens != 10 {
		t.Errorf("usage of two turns: %+v", resp.Usage)
	}
}

// response.created and response.in_progress are in the log before any MCP server or model is contacted.
func TestRun_BeginsBeforeItContactsAnybody(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	asked, release := make(chan struct{}), make(chan struct{})
	s.tools.list = func(ctx context.Context, _ mcp.Server) ([]mcp.Tool, error) {
		close(asked)
		<-release
		return tools(), nil
	}
	s.model.turns = []turnFunc{says("ok")}
	defer s.node(t.Context())()
	ref := s.create(with("slow"))
	<-asked
	h, err := s.broker.Read(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got := types(h.Records); len(got) < 2 || got[0] != "created" || got[1] != "in_progress" {
		t.Errorf("log when the server is contacted: %v", got)
	}
	close(release)
	s.records(ref)
}

// All servers are asked at once, and their items stand in the order of the request whoever answers first.
func TestRun_ListsServersInParallel(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var all sync.WaitGroup
	all.Add(3)
	last := make(chan struct{})
	s.tools.list = func(ctx context.Context, srv mcp.Server) ([]mcp.Tool, error) {
		all.Done()
		all.Wait() // nobody answers before everybody is asked
		if srv.Label == "c" {
			close(last)
		} else {
			<-last
		}
		return tools(), nil
	}
	s.model.turns = []turnFunc{says("ok")}
	resp, _ := s.run(with("a", "b", "c"))
	for i, label := range []string{"a", "b", "c"} {
		if resp.Output[i].ServerLabel != label {
			t.Errorf("output %d is the list of %q", i, resp.Output[i].ServerLabel)
		}
	}
	if n := len(s.model.asked[0].Tools); n != 6 {
		t.Errorf("%d tools offered", n)
	}
}

// A server whose tools cannot be listed fails the response with the API's own error.
func TestRun_FailsWithAnUnreachableServer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.tools.list = func(context.Context, mcp.Server) ([]mcp.Tool, error) {
		return nil, &mcp.Error{Kind: mcp.KindHTTP, Code: 401, Message: "unauthorized"}
	}
	resp, records := s.run(with("locked"))
	if got := types(records); !cmp.Equal(got[3:], []string{"mcp_list_tools.in_progress", "mcp_list_tools.failed", "output_item.done", "failed"}) {
		t.Errorf("events: %v", got)
	}
	want := "Error retrieving tool list from MCP server: 'locked'. Http status code: 401 (Unauthorized)"
	if resp.Error == nil || resp.Error.Message != want || resp.Error.Type != schema.TypeConnector {
		t.Errorf("error: %+v", resp.Error)
	}
}

// Parallel calls run at once; the second's result is in the log before its frames can be, and both come out in order.
func TestRun_CallsToolsInParallel(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	second := make(chan struct{})
	s.tools.onCall = func(_ context.Context, _ mcp.Server, _, args string) (mcp.Result, error) {
		if args == `{"n":1}` {
			<-second
		} else {
			defer close(second)
		}
		return mcp.Result{Output: "result of " + args}, nil
	}
	s.model.turns = []turnFunc{
		plays(functionCall(0, "x__echo", `{"n":1}`), functionCall(1, "x__echo", `{"n":`, `2}`), message(2, "and", " text")), says("done"),
	}
	resp, records := s.run(with("x"))
	for i, want := range []string{`"result of {\"n\":1}"`, `"result of {\"n\":2}"`} {
		if got := string(resp.Output[i+1].Output); got != want {
			t.Errorf("output %d: %s", i+1, got)
		}
	}
	if got := resp.Output[3].Text(); got != "and text" {
		t.Errorf("text behind the calls: %q", got)
	}
	if want := "turn result"; !strings.Contains(strings.Join(kindNames(records), " "), want) {
		t.Errorf("no %s in %v", want, kinds(records))
	}
}

func kindNames(records []schema.Record) []string {
	var out []string
	for _, k := range kinds(records) {
		out = append(out, string(k))
	}
	return out
}

// A failed tool is a failed item with its error; the model is told and the run goes on.
func TestRun_GoesOnAfterAFailedTool(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__fail", `{}`)), says("sorry")}
	resp, records := s.run(with("x"))
	call := resp.Output[1]
	if call.Status != schema.StatusFailed || string(call.Output) != "null" ||
		string(call.Error) != `{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"it broke"}]}` {
		t.Errorf("call: %+v", call)
	}
	if !strings.Contains(strings.Join(types(records), " "), "mcp_call.failed output_item.done") {
		t.Errorf("events: %v", types(records))
	}
	if got := string(s.model.asked[1].Input[2].Output); got != `"The tool call failed: it broke"` {
		t.Errorf("the model was told %s", got)
	}
}

// Arguments that are not a JSON object are never sent to a tool.
func TestRun_NeverSendsBadArguments(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{"a":`)), says("sorry")}
	resp, _ := s.run(with("x"))
	if len(s.tools.calls) != 0 || resp.Output[1].Status != schema.StatusFailed || resp.Status != schema.StatusCompleted {
		t.Errorf("calls %v, response %+v", s.tools.calls, resp)
	}
}

// At max_tool_calls the tools are withheld, and the model is asked to finish.
func TestRun_WithholdsToolsAtTheLimit(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{"n":1}`), functionCall(1, "x__echo", `{"n":2}`)), says("done")}
	resp, _ := s.run(strings.Replace(with("x"), `"input"`, `"max_tool_calls":1,"input"`, 1))
	if len(s.tools.calls) != 1 || resp.Status != schema.StatusCompleted {
		t.Errorf("calls %v, status %s", s.tools.calls, resp.Status)
	}
	if got := s.model.asked[1]; len(got.Tools) != 0 || got.Input[len(got.Input)-1].Role != "developer" {
		t.Errorf("last turn: %d tools, input %+v", len(got.Tools), got.Input)
	}
}

// A model that never stops asking for tools ends in response.failed at the configured limit.
func TestRun_LimitsTurns(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxTurns = 3
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`))}
	resp, _ := s.run(with("x"))
	if resp.Error == nil || resp.Error.Code != schema.CodeTurns || len(s.model.asked) != 3 {
		t.Errorf("error %+v after %d turns", resp.Error, len(s.model.asked))
	}
}

// A model that is cut in the middle leaves its item incomplete, and the response failed with the cause.
func TestRun_FailsWhenTheModelIsCut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{func(_ context.Context, _ *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		events := message(0, "half a sen")
		for _, e := range events[:len(events)-1] {
			if err := emit(e); err != nil {
				return upstream.Outcome{}, err
			}
		}
		return upstream.Outcome{}, &schema.Error{Status: 502, Code: schema.CodeUpstreamProtocol, Type: schema.TypeUpstream, Message: "cut"}
	}}
	resp, _ := s.run(`{"model":"m","input":"hi"}`)
	if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeUpstreamProtocol ||
		resp.Output[0].Status != schema.StatusIncomplete || resp.Output[0].Text() != "half a sen" {
		t.Errorf("response: %+v", resp)
	}
}

// A function of the client ends the response: the client has to run it.
func TestRun_HandsClientCallsBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "mine", `{"q":1}`))}
	resp, _ := s.run(`{"model":"m","input":"hi","tools":[{"type":"function","name":"mine","parameters":{}}]}`)
	if resp.Status != schema.StatusCompleted || resp.Output[0].Type != schema.KindFunctionCall || *resp.Output[0].Arguments != `{"q":1}` {
		t.Errorf("response: %+v", resp)
	}
}

// wrongKey is a queue whose secrets do not open.
type wrongKey struct{ Queue }

func (q wrongKey) Claim(ctx context.Context) (*broker.Job, error) {
	job, err := q.Queue.Claim(ctx)
	if job != nil {
		job.SecretsErr = errors.New("sealed with another key")
	}
	return job, err
}

// A node whose secret key is not that of the others tells its operator why runs fail; callers are told nothing of keys.
func TestRun_TellsTheOperatorOfAnotherKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	log, _ := s.listen()
	s.config.Queue = wrongKey{s.config.Queue}
	resp, _ := s.run(`{"model":"m","input":"hi"}`)
	if resp.Status != schema.StatusFailed || strings.Contains(resp.Error.Message, "key") {
		t.Errorf("status %s, error %+v", resp.Status, resp.Error)
	}
	if log.count("sealed with another key") != 1 {
		t.Error("the log does not say why")
	}
}

// Errors that were not made for clients stay inside.
func TestFailure_HidesInternals(t *testing.T) {
	t.Parallel()
	if got := failure(errors.New("dial tcp 10.0.0.7:4222: secret")); strings.Contains(got.Message, "10.0.0.7") || got.Code != schema.CodeServer {
		t.Errorf("failure: %+v", got)
	}
}

// A response that grows beyond what one message can hold ends as incomplete, while its terminal event still fits.
func TestRun_EndsBeforeTheTerminalEventCannotFit(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	deltas := make([]string, 100)
	for i := range deltas {
		deltas[i] = strings.Repeat("x", 100<<10)
	}
	s.model.turns = []turnFunc{says(deltas...)}
	defer s.node(t.Context())()
	resp := s.ending(s.create(`{"model":"m","input":"hi"}`))
	if resp.Status != schema.StatusIncomplete || resp.IncompleteDetails.Reason != "max_output_tokens" {
		t.Errorf("status %s, details %+v", resp.Status, resp.IncompleteDetails)
	}
	if n := len(resp.Output[0].Text()); n < 1<<20 || n > schema.MaxPayload {
		t.Errorf("%d bytes of text", n)
	}
}

// A model whose items interleave loses nothing: what had to wait comes whole, when its turn has come.
func TestRun_KeepsInterleavedItemsWhole(t *testing.T) {
	t.Parallel()
	mix := func(a, b []schema.Event) []schema.Event { // added, added, delta, delta, done of the first, the rest of the second
		return []schema.Event{a[0], b[0], a[1], b[1], a[2], b[2], b[3]}
	}
	s := newStage(t)
	s.model.turns = []turnFunc{plays(mix(message(0, "first"), message(1, "sec", "ond")))}
	if resp, _ := s.run(`{"model":"m","input":"hi"}`); len(resp.Output) != 2 || resp.Output[1].Text() != "second" {
		t.Errorf("messages: %+v", resp.Output)
	}
	s = newStage(t)
	s.model.turns = []turnFunc{plays(mix(functionCall(0, "f", `{}`), functionCall(1, "g", `{"a":`, `1}`)))}
	if resp, _ := s.run(`{"model":"m","input":"hi"}`); resp.Status != schema.StatusCompleted || *resp.Output[1].Arguments != `{"a":1}` {
		t.Errorf("calls: %s, %+v, %+v", resp.Status, resp.Error, resp.Output)
	}
}

// Results that must wait for a slow call may be larger together than what a sequencer holds back.
func TestRun_KeepsLargeResultsThatWait(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const calls = 6
	var groups [][]schema.Event
	for i := range calls {
		groups = append(groups, functionCall(i, "x__echo", fmt.Sprintf(`{"n":%d}`, i)))
	}
	s.model.turns = []turnFunc{plays(groups...), says("done")}
	var others sync.WaitGroup
	others.Add(calls - 1)
	s.tools.onCall = func(_ context.Context, _ mcp.Server, _, args string) (mcp.Result, error) {
		if args == `{"n":0}` {
			others.Wait()
		} else {
			defer others.Done()
		}
		return mcp.Result{Output: strings.Repeat("x", 900<<10)}, nil
	}
	defer s.node(t.Context())()
	resp := s.ending(s.create(with("x")))
	if resp.Status != schema.StatusCompleted || len(resp.Output) != calls+2 {
		t.Errorf("%s, error %+v, %d items", resp.Status, resp.Error, len(resp.Output))
	}
}

// Two tools never have one name before the model, however their labels and names are cut.
func TestModelName_IsUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, label := range []string{"a", "a_", "a__b", "_"} {
		for _, tool := range []string{"b", "_b", "__b", "b__c", "c", "x.y", "x_y"} {
			name := modelName(label, tool)
			if other, twice := seen[name]; twice || !schema.ValidToken(name) {
				t.Errorf("%s of %s is called %s, as %s is", tool, label, name, other)
			}
			seen[name] = label + " " + tool
		}
	}
}

// A choice that forces a call does so once; what it allows stays allowed.
func TestLoosen(t *testing.T) {
	t.Parallel()
	for choice, want := range map[string]string{
		`"auto"`: `"auto"`, `"none"`: `"none"`, `"required"`: `"auto"`, `{"type":"function","name":"f"}`: `"auto"`,
		`{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]}`: `{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}`,
	} {
		if got := string(loosen(jsontext.Value(choice))); got != want {
			t.Errorf("%s: %s, want %s", choice, got, want)
		}
	}
}

// An upstream may write a call's arguments in another way when they are done than while they were streamed: what was
// streamed stands, and is called.
func TestRun_CallsWithTheArgumentsThatWereStreamed(t *testing.T) {
	t.Parallel()
	for _, approval := range []string{`"never"`, `"always"`} {
		events := functionCall(0, "x__echo", `{"n": `, `1}`)
		events[len(events)-1].Item.Arguments = new(`{"n":1}`)
		s := newStage(t)
		s.model.turns = []turnFunc{plays(events), says("done")}
		resp, _ := s.run(strings.Replace(with("x"), `"never"`, approval, 1))
		if got := resp.Output[1]; *got.Arguments != `{"n": 1}` || got.Failed() || got.Type == schema.KindApprovalRequest != (approval == `"always"`) {
			t.Errorf("%s: %+v", approval, got)
		}
	}
}

// A panic in the reading of a server's answer fails that list or call; the process, and every other run, goes on.
func TestRun_SurvivesAPanicOfATool(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "wiki__echo", `{}`)), says("done")}
	s.tools.onCall = func(context.Context, mcp.Server, string, string) (mcp.Result, error) { panic("a hostile answer") }
	resp, _ := s.run(with("wiki"))
	if call := resp.Output[1]; call.Status != schema.StatusFailed || strings.Contains(string(call.Error), "hostile") || resp.Status != schema.StatusCompleted {
		t.Errorf("response %s, call: %+v", resp.Status, call)
	}
	s.tools.list = func(context.Context, mcp.Server) ([]mcp.Tool, error) { panic("a hostile list") }
	if resp, _ := s.run(with("wiki")); resp.Status != schema.StatusFailed || strings.Contains(resp.Error.Message, "hostile") {
		t.Errorf("response %s: %+v", resp.Status, resp.Error)
	}
}
