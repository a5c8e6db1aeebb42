package producers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// entry is an MCP entry of a request, with the members that a test adds.
func entry(label, members string) string {
	return fmt.Sprintf(`{"type":"mcp","server_label":%q,"server_url":"https://%s.example/mcp"%s}`, label, label, members)
}

// body is a create request.
func body(input string, tools ...string) string {
	return fmt.Sprintf(`{"model":"m","input":%s,"tools":[%s]}`, input, strings.Join(tools, ","))
}

// answer is an input item that answers a request for approval.
func answer(request string, approve bool, more string) string {
	return fmt.Sprintf(`{"type":"mcp_approval_response","approval_request_id":%q,"approve":%t%s}`, request, approve, more)
}

// written is an item as a caller sends it back.
func written(items ...schema.Item) string {
	var out []string
	for i := range items {
		raw, err := json.Marshal(&items[i])
		if err != nil {
			return err.Error()
		}
		out = append(out, string(raw))
	}
	return strings.Join(out, ",")
}

// asked runs a response whose model calls x__echo once for each of the arguments, and which then waits for approval.
func (s *stage) asked(args ...string) (schema.Ref, *schema.Response) {
	s.Helper()
	var calls [][]schema.Event
	for i, a := range args {
		calls = append(calls, functionCall(i, "x__echo", a))
	}
	s.model.turns = []turnFunc{plays(calls...)}
	ref := s.create(body(`"hi"`, entry("x", "")))
	resp := s.response(s.records(ref))
	if resp.Status != schema.StatusCompleted || len(resp.Output) != 1+len(args) || len(s.tools.calls) > 0 {
		s.Fatalf("the response that asks: %s, %+v, calls %v", resp.Status, resp.Output, s.tools.calls)
	}
	s.model.turns = []turnFunc{says("done")}
	return ref, resp
}

// told returns what the model was told in its last call, without messages: name or output.
func (s *stage) told() (out []string) {
	s.model.mu.Lock()
	defer s.model.mu.Unlock()
	for _, it := range s.model.asked[len(s.model.asked)-1].Input {
		switch it.Type {
		case schema.KindFunctionCall:
			out = append(out, it.Name+*it.Arguments)
		case schema.KindFunctionOutput:
			out = append(out, string(it.Output))
		}
	}
	return out
}

// A call of a tool that needs approval becomes a request for it, whole from the start, and the response is completed.
func TestApproval_IsAskedFor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(message(0, "may I?"), functionCall(1, "x__echo", `{"a":`, `1}`))}
	resp, records := s.run(body(`"hi"`, entry("x", "")))
	want := []string{
		"created", "in_progress", "output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done",
		"output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
		"output_item.added", "output_item.done", "completed",
	}
	if diff := cmp.Diff(want, types(records)); diff != "" {
		t.Error(diff)
	}
	whole := schema.Item{
		ID: schema.ItemID(resp.ID, schema.KindApprovalRequest, 2), Type: schema.KindApprovalRequest, ServerLabel: "x", Name: "echo",
		Arguments: new(`{"a":1}`),
	}
	if diff := cmp.Diff(whole, resp.Output[2]); diff != "" {
		t.Error(diff)
	}
	all := string(records[len(records)-2].Frames) + string(records[len(records)-1].Frames)
	if strings.Count(all, `"arguments":"{\"a\":1}"`) < 2 {
		t.Errorf("added and done do not both carry the whole item:\n%s", all)
	}
	if len(s.tools.calls) > 0 || resp.Status != schema.StatusCompleted || resp.Usage.TotalTokens != 5 {
		t.Errorf("calls %v, response %+v", s.tools.calls, resp)
	}
}

// An approval leads to the call, whether its request is in an earlier response, in the input, or in the input without the
// list that it was made from.
func TestApproval_IsFollowedOnEveryRoad(t *testing.T) {
	t.Parallel()
	for _, road := range []string{"previous_response_id", "full input", "item_reference"} {
		s := newStage(t)
		stop := s.node(t.Context())
		first, resp := s.asked(`{"a":1}`)
		list, request := resp.Output[0], resp.Output[1]
		yes := answer(request.ID, true, "")
		var second schema.Ref
		switch road {
		case "previous_response_id":
			second = s.goOn(body(`[`+yes+`]`, entry("x", "")), first.Response())
		case "full input":
			second = s.create(body(`[{"role":"user","content":"hi"},`+written(list, request)+`,`+yes+`]`, entry("x", "")))
		case "item_reference":
			second = s.create(body(`[{"role":"user","content":"hi"},`+written(request)+`,`+yes+`]`, entry("x", "")))
		}
		records := s.records(second)
		stop()
		resp = s.response(records)
		n := len(resp.Output) - 2
		if resp.Status != schema.StatusCompleted || n < 0 || s.tools.calls[`echo{"a":1}`] != 1 || s.tools.fresh != 1 {
			t.Fatalf("%s: %s, error %+v, %+v, calls %v, %d fresh lists", road, resp.Status, resp.Error, resp.Output, s.tools.calls, s.tools.fresh)
		}
		call := resp.Output[n]
		if call.Type != schema.KindMCPCall || string(call.ApprovalRequestID) != `"`+request.ID+`"` || string(call.Output) != `"echo of {\"a\":1}"` {
			t.Errorf("%s: call %+v", road, call)
		}
		want := "mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.completed output_item.done"
		if got := strings.Join(types(records), " "); !strings.Contains(got, want) {
			t.Errorf("%s: events %s", road, got)
		}
		if relisted := n == 1; relisted != (road == "item_reference") {
			t.Errorf("%s: the tools were listed again: %t", road, relisted)
		}
		if diff := cmp.Diff([]string{`x__echo{"a":1}`, `"echo of {\"a\":1}"`}, s.told()); diff != "" {
			t.Errorf("%s: what the model was told:\n%s", road, diff)
		}
	}
}

// A call that is denied, or for which no answer came, is not made; the model is told so, and why.
func TestApproval_Withheld(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	first, resp := s.asked(`{"a":1}`, `{"a":2}`)
	no := answer(resp.Output[1].ID, false, `,"reason":"too \"dear\""`)
	after := s.response(s.records(s.goOn(body(`[`+no+`,{"role":"user","content":"well?"}]`, entry("x", "")), first.Response())))
	if after.Status != schema.StatusCompleted || len(after.Output) != 1 || len(s.tools.calls) > 0 {
		t.Errorf("%s, %+v, calls %v", after.Status, after.Output, s.tools.calls)
	}
	want := []string{
		`x__echo{"a":1}`, `"The user denied this call. It was not made. The reason given: too \"dear\""`,
		`x__echo{"a":2}`, `"This call needs the user's approval, which has not been given. It was not made."`,
	}
	if diff := cmp.Diff(want, s.told()); diff != "" {
		t.Errorf("what the model was told:\n%s", diff)
	}
}

// Of one turn's calls those that need no approval are run, one that does is asked for, and one of the client's goes back to
// it; then the response is completed. The next one brings what is missing.
func TestApproval_BesideOtherCalls(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	mine := `{"type":"function","name":"mine","parameters":{}}`
	x := entry("x", `,"require_approval":{"never":{"tool_names":["fail"]}}`)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`), functionCall(1, "mine", `{}`), functionCall(2, "x__fail", `{}`))}
	first := s.create(body(`"hi"`, x, mine))
	resp := s.response(s.records(first))
	var got []string
	for _, it := range resp.Output {
		got = append(got, it.Type)
	}
	if diff := cmp.Diff([]string{schema.KindListTools, schema.KindFunctionCall, schema.KindMCPCall, schema.KindApprovalRequest}, got); diff != "" {
		t.Fatal(diff)
	}
	if resp.Status != schema.StatusCompleted || s.tools.calls["fail{}"] != 1 || len(s.tools.calls) != 1 {
		t.Errorf("%s, calls %v", resp.Status, s.tools.calls)
	}
	s.model.turns = []turnFunc{says("done")}
	output := fmt.Sprintf(`{"type":"function_call_output","call_id":%q,"output":"mine too"}`, resp.Output[1].CallID)
	s.records(s.goOn(body(`[`+answer(resp.Output[3].ID, true, "")+`,`+output+`]`, x, mine), first.Response()))
	want := []string{
		`mine{}`, `x__fail{}`, `"mine too"`, `"The tool call failed: it broke"`, `x__echo{}`, `"echo of {}"`,
	}
	if diff := cmp.Diff(want, s.told()); diff != "" {
		t.Errorf("what the model was told:\n%s", diff)
	}
}

// Approved calls run side by side, and max_tool_calls counts them.
func TestApproval_OfSeveralCalls(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	first, resp := s.asked(`{"a":1}`, `{"a":2}`, `{"a":3}`)
	var both sync.WaitGroup
	both.Add(2)
	s.tools.onCall = func(_ context.Context, _ mcp.Server, _, args string) (mcp.Result, error) {
		both.Done()
		both.Wait() // neither ends before both have begun
		return mcp.Result{Output: args}, nil
	}
	input := `[` + answer(resp.Output[1].ID, true, "") + `,` + answer(resp.Output[2].ID, true, "") + `,` + answer(resp.Output[3].ID, true, "") + `]`
	req := strings.Replace(body(input, entry("x", "")), `"input"`, `"max_tool_calls":2,"input"`, 1)
	after := s.response(s.records(s.goOn(req, first.Response())))
	if len(after.Output) != 4 || len(s.tools.calls) != 2 || s.tools.fresh != 1 {
		t.Fatalf("%+v, calls %v, %d fresh lists", after.Output, s.tools.calls, s.tools.fresh)
	}
	if !strings.Contains(string(after.Output[2].Error), "max_tool_calls") || string(after.Output[1].Output) != `"{\"a\":2}"` {
		t.Errorf("calls: %+v", after.Output)
	}
}

// A tool that is not what it was when its call was approved is not called, and neither is one of which nobody can tell.
func TestApproval_HoldsForTheToolAsItWas(t *testing.T) {
	t.Parallel()
	input := jsontext.Value(`{"properties":{},"type":"object"}`) // the same value, written in another way
	forged := schema.Item{ID: "mcpr_forged", Type: schema.KindApprovalRequest, ServerLabel: "x", Name: "echo", Arguments: new(`{}`)}
	for name, c := range map[string]struct {
		now   []mcp.Tool
		err   error
		entry string
		want  string // in the error; "" for none
	}{
		"the same":         {now: []mcp.Tool{{Name: "echo", Description: "Says it again.", InputSchema: input}}},
		"another text":     {now: []mcp.Tool{{Name: "echo", Description: "Sends it on.", InputSchema: input}}, want: "definition has changed"},
		"another schema":   {now: []mcp.Tool{{Name: "echo", Description: "Says it again.", InputSchema: jsontext.Value(`{"type":"object"}`)}}, want: "definition has changed"},
		"gone":             {now: []mcp.Tool{{Name: "fail", InputSchema: input}}, want: "does not offer it"},
		"not allowed":      {now: tools(), entry: `,"allowed_tools":["fail"]`, want: "does not allow it"},
		"no answer":        {err: &mcp.Error{Kind: mcp.KindHTTP, Code: 503, Message: "down"}, want: "http_error"},
		"known to nobody":  {now: tools(), want: "when the call was approved"},
		"of another label": {now: tools(), want: "when the call was approved"},
	} {
		s := newStage(t)
		stop := s.node(t.Context())
		first, resp := s.asked(`{}`)
		s.tools.list = func(context.Context, mcp.Server) ([]mcp.Tool, error) { return c.now, c.err }
		second := s.goOn
		req := body(`[`+answer(resp.Output[1].ID, true, "")+`]`, entry("x", c.entry))
		switch name {
		case "known to nobody":
			req = body(`[`+written(forged)+`,`+answer(forged.ID, true, "")+`]`, entry("x", ""))
			second = func(body string, _ ...string) schema.Ref { return s.create(body) }
		case "of another label":
			req = body(`[`+written(schema.Item{ID: resp.Output[1].ID, Type: schema.KindApprovalRequest, ServerLabel: "y", Name: "echo"})+`,`+
				answer(resp.Output[1].ID, true, "")+`]`, entry("y", ""))
			second = func(body string, _ ...string) schema.Ref { return s.create(body) }
		}
		after := s.response(s.records(second(req, first.Response())))
		stop()
		call := after.Output[len(after.Output)-2]
		if after.Status != schema.StatusCompleted || !strings.Contains(string(call.Error), c.want) {
			t.Errorf("%s: %s, call %+v", name, after.Status, call)
		}
		if made := len(s.tools.calls) > 0; made != (c.want == "") {
			t.Errorf("%s: the tool was called: %t", name, made)
		}
	}
}

// What cannot be made is not asked for: the model is told. What was cut off is not asked for either.
func TestApproval_IsNotAskedInVain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{"a":`), functionCall(1, "x__echo", `[]`)), says("sorry")}
	resp, _ := s.run(body(`"hi"`, entry("x", "")))
	if len(resp.Output) != 4 || resp.Output[1].Status != schema.StatusFailed || resp.Output[2].Status != schema.StatusFailed {
		t.Errorf("arguments that are none: %+v", resp.Output)
	}
	s = newStage(t)
	whole := plays(functionCall(0, "x__echo", `{}`))
	s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		out, err := whole(ctx, req, emit)
		out.Incomplete = "max_output_tokens"
		return out, err
	}}
	if resp, _ := s.run(body(`"hi"`, entry("x", ""))); len(resp.Output) != 1 || resp.Status != schema.StatusIncomplete {
		t.Errorf("a turn that was cut: %s, %+v", resp.Status, resp.Output)
	}
}

// A run checks the answers again: its gateway may be of another version.
func TestApproval_UnknownFailsTheRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("never")}
	resp, _ := s.run(body(`[`+answer("mcpr_nowhere", true, "")+`]`, entry("x", "")))
	if resp.Error == nil || resp.Error.Param != "input[0].approval_request_id" || len(s.model.asked) > 0 {
		t.Errorf("error %+v, model asked %d times", resp.Error, len(s.model.asked))
	}
}

// Wherever a node stops that follows approvals, the next one goes on: no call is made twice, and none is begun twice.
func TestApproval_TakeOverAtEveryStep(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	stop := s.node(t.Context())
	first, resp := s.asked(`{"a":1}`, `{"a":2}`)
	stop()
	turns := []turnFunc{plays(message(0, "so"), functionCall(1, "x__echo", `{"a":3}`))}
	req := body(`[`+answer(resp.Output[1].ID, true, "")+`,`+answer(resp.Output[2].ID, true, "")+`]`, entry("x", ""))
	for n := 1; ; n++ {
		s.tools.calls = map[string]int{}
		ctx, kill := context.WithCancel(t.Context())
		s.arm(&bomb{left: n, kill: kill}, turns)
		stop := s.node(ctx)
		ref := s.goOn(req, first.Response())
		if !s.killed(ctx, ref) {
			stop()
			kill()
			return
		}
		stop()
		s.arm(&bomb{left: 1 << 30, kill: func() {}}, turns)
		stop = s.node(t.Context())
		records := s.records(ref)
		stop()
		s.checkTakeOver(n, records)
		output := s.response(records).Output
		if begun := count(output, schema.KindMCPCall); begun != 2 || output[len(output)-1].Type != schema.KindApprovalRequest {
			t.Errorf("killed at step %d: %d calls begun, the last item is %+v", n, begun, output[len(output)-1])
		}
	}
}

func count(items []schema.Item, kind string) int {
	return len(items) - len(slices.DeleteFunc(slices.Clone(items), func(it schema.Item) bool { return it.Type == kind }))
}

// Whichever event of approved calls a dead node wrote last, each of them has one item in the end, with its arguments whole.
func TestApproval_TakeOverAfterEveryEvent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("the end")}
	defer s.node(t.Context())()
	requests := []schema.Item{
		{ID: "mcpr_1", Type: schema.KindApprovalRequest, ServerLabel: "x", Name: "echo", Arguments: new(`{"n":0}`)},
		{ID: "mcpr_2", Type: schema.KindApprovalRequest, ServerLabel: "x", Name: "echo", Arguments: new(`{"n":1}`)},
	}
	input := `[` + written(requests...) + `,` + answer("mcpr_1", true, "") + `,` + answer("mcpr_2", true, "") + `]`
	for n := 0; ; n++ {
		w := s.wreck(body(input, entry("x", "")), n)
		w.list("x")
		var turn schema.Turn
		for i, request := range requests {
			c := schema.Call{ID: w.id(schema.KindMCPCall, i+1), Label: "x", Name: "echo", Arguments: *request.Arguments, Approval: request.ID}
			turn.Calls, turn.Held = append(turn.Calls, c), append(turn.Held, callItem(&c))
		}
		w.turn(turn)
		for i := range turn.Held {
			w.push(schema.FromLog, schema.Event{Type: schema.ItemAdded, Item: &turn.Held[i]}, schema.Event{Type: schema.CallInProgress, ItemID: turn.Held[i].ID})
			for _, half := range []string{`{"n":`, fmt.Sprint(i) + `}`} {
				w.push(schema.FromLog, schema.Event{Type: schema.CallDelta, ItemID: turn.Held[i].ID, Delta: &half})
			}
			w.push(schema.FromLog, schema.Event{Type: schema.CallArguments, ItemID: turn.Held[i].ID, Arguments: turn.Held[i].Arguments})
		}
		for i, it := range turn.Held {
			it.Status, it.Output, it.Error = schema.StatusCompleted, jsontext.Value(`"ok"`), jsontext.Value("null")
			w.push(schema.FromLog, schema.Event{Type: schema.CallCompleted, ItemID: turn.Held[i].ID}, schema.Event{Type: schema.ItemDone, Item: &it})
		}
		whole := w.left > 0
		resp := w.salvage()
		if resp.Status != schema.StatusCompleted || count(resp.Output, schema.KindMCPCall) != 2 {
			t.Fatalf("dead after event %d: %s, error %+v, %+v", n, resp.Status, resp.Error, resp.Output)
		}
		for i, request := range requests {
			call := resp.Output[1+i]
			if *call.Arguments != *request.Arguments || string(call.ApprovalRequestID) != `"`+request.ID+`"` {
				t.Errorf("dead after event %d: call %+v", n, call)
			}
		}
		if whole {
			return
		}
	}
}

// Whichever event of a turn that asks a dead node wrote last, what it asked is asked once.
func TestApproval_TakeOverOfATurnThatAsks(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(message(0, "may I?"), functionCall(1, "x__echo", `{}`), functionCall(2, "x__echo", `{"n":1}`))}
	defer s.node(t.Context())()
	for n := 0; ; n++ {
		w := s.wreck(body(`"hi"`, entry("x", "")), n)
		w.list("x")
		events := message(0, "may I?")
		w.push("model:0", events[:len(events)-1]...)
		turn := schema.Turn{Number: 1, Hands: true, Held: []schema.Item{*events[len(events)-1].Item}}
		turn.Held[0].ID = w.id(schema.KindMessage, 1)
		for i, args := range []string{`{}`, `{"n":1}`} {
			turn.Held = append(turn.Held, requestItem(&schema.Call{Label: "x", Name: "echo", Arguments: args}, w.id(schema.KindApprovalRequest, 2+i)))
		}
		w.turn(turn)
		w.push("model:0", events[len(events)-1])
		for i := range turn.Held[1:] {
			w.push(schema.FromLog, schema.Event{Type: schema.ItemAdded, Item: &turn.Held[1+i]}, schema.Event{Type: schema.ItemDone, Item: &turn.Held[1+i]})
		}
		whole := w.left > 0
		resp := w.salvage()
		if resp.Status != schema.StatusCompleted || count(resp.Output, schema.KindApprovalRequest) != 2 || len(s.tools.calls) > 0 {
			t.Errorf("dead after event %d: %s, error %+v, %+v", n, resp.Status, resp.Error, resp.Output)
		}
		if whole {
			return
		}
	}
}
