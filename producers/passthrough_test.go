package producers

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// ownList and ownCall are what an upstream tells that lists and calls by itself.
func ownList(index int) []schema.Event {
	item := schema.Item{ID: "l", Type: schema.KindListTools, ServerLabel: "x", Tools: []jsontext.Value{}}
	done := item
	done.Tools = []jsontext.Value{jsontext.Value(`{"name":"roll","input_schema":{"type":"object"}}`)}
	return []schema.Event{
		{Type: schema.ItemAdded, OutputIndex: &index, Item: &item}, {Type: schema.ListInProgress, OutputIndex: &index, ItemID: "l"},
		{Type: schema.ListCompleted, OutputIndex: &index, ItemID: "l"}, {Type: schema.ItemDone, OutputIndex: &index, Item: &done},
	}
}

func ownCall(index int) []schema.Event {
	null := jsontext.Value("null")
	item := schema.Item{ID: "c", Type: schema.KindMCPCall, ServerLabel: "x", Name: "roll", Arguments: new(""), Status: schema.StatusInProgress,
		Output: null, Error: null, ApprovalRequestID: jsontext.Value(`"mcpr_1"`)}
	done := item
	done.Status, done.Arguments, done.Output = schema.StatusCompleted, new(`{"n":1}`), jsontext.Value(`"4"`)
	return []schema.Event{
		{Type: schema.ItemAdded, OutputIndex: &index, Item: &item}, {Type: schema.CallInProgress, OutputIndex: &index, ItemID: "c"},
		{Type: schema.CallDelta, OutputIndex: &index, ItemID: "c", Delta: new(`{"n":1}`)},
		{Type: schema.CallArguments, OutputIndex: &index, ItemID: "c", Arguments: new(`{"n":1}`)},
		{Type: schema.CallCompleted, OutputIndex: &index, ItemID: "c"}, {Type: schema.ItemDone, OutputIndex: &index, Item: &done},
	}
}

func ownRequest(index int) []schema.Event {
	item := schema.Item{ID: "r", Type: schema.KindApprovalRequest, ServerLabel: "x", Name: "roll", Arguments: new(`{}`)}
	done := item
	return []schema.Event{{Type: schema.ItemAdded, OutputIndex: &index, Item: &item}, {Type: schema.ItemDone, OutputIndex: &index, Item: &done}}
}

// An upstream that runs MCP tools itself gets the entries with the caller's credentials, and all MCP items under their ids;
// this node contacts no server, and what the upstream did is in the log like anything else.
func TestPassthrough(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.own = true
	s.tools.list = func(context.Context, mcp.Server) ([]mcp.Tool, error) { panic("listed here") }
	s.model.turns = []turnFunc{plays(ownList(0), ownCall(1), ownRequest(2))}
	request := schema.Item{ID: "mcpr_1", Type: schema.KindApprovalRequest, ServerLabel: "x", Name: "roll", Arguments: new(`{"n":1}`)}
	cut := schema.Item{ID: "mcp_9", Type: schema.KindMCPCall, ServerLabel: "x", Name: "roll", Arguments: new(`{"n"`), Status: schema.StatusIncomplete}
	cmd := s.command(body(`[`+written(request, cut)+`,`+answer("mcpr_1", true, "")+`]`, entry("x", "")))
	if err := s.broker.Enqueue(t.Context(), cmd, []byte(`{"x":{"authorization":"hush"}}`)); err != nil {
		t.Fatal(err)
	}
	stop := s.node(t.Context())
	records := s.records(cmd.Ref())
	stop()
	want := []string{
		"created", "in_progress",
		"output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done",
		"output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done", "mcp_call.completed", "output_item.done",
		"output_item.added", "output_item.done", "completed",
	}
	if diff := cmp.Diff(want, types(records)); diff != "" {
		t.Error(diff)
	}
	asked := s.model.asked[0]
	if got := asked.Tools; len(got) != 1 || got[0].Type != schema.ToolMCP || got[0].Authorization != "hush" || !asked.Passthrough {
		t.Errorf("the upstream was given %+v", got)
	}
	if got := asked.Input; len(got) != 2 || got[0].ID != "mcpr_1" || string(got[1].ApprovalRequestID) != `"mcpr_1"` {
		t.Errorf("the upstream was told %+v", got)
	}
	call := s.response(records).Output[1]
	if string(call.ApprovalRequestID) != `"mcpr_1"` || string(call.Output) != `"4"` || len(s.tools.calls) > 0 {
		t.Errorf("call %+v, calls here %v", call, s.tools.calls)
	}
	for _, r := range records {
		if all := string(r.Body) + string(r.Frames); strings.Contains(all, "hush") {
			t.Errorf("a credential is in the log: %s", all)
		}
	}
}

// A call that the upstream was making when the node died may have been made: the response ends rather than have it made
// again. What was done by then is told, and the turn is made again.
func TestPassthrough_TakeOverAfterEveryEvent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.own = true
	s.model.turns = []turnFunc{says("the end")}
	defer s.node(t.Context())()
	for n := 0; ; n++ {
		w := s.wreck(body(`"hi"`, entry("x", "")), n)
		w.push("model:0", ownList(0)...)
		w.push("model:0", ownCall(1)...)
		whole := w.left > 0
		resp := w.salvage()
		cut := n > 4 && !whole && n < 10
		if (resp.Status == schema.StatusFailed) != cut {
			t.Errorf("dead after event %d: %s, error %+v, %+v", n, resp.Status, resp.Error, resp.Output)
		}
		if whole {
			return
		}
	}
}

// A turn of such an upstream that ended with a call is shown whole by the next attempt.
func TestPassthrough_TakeOverOfATurnThatEnded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.own = true
	s.model.turns = []turnFunc{says("never")}
	defer s.node(t.Context())()
	events := ownCall(0)
	for open := range events {
		w := s.wreck(body(`"hi"`, entry("x", "")), everything)
		w.push("model:0", events[:open]...)
		done := *events[len(events)-1].Item
		done.ID = w.id(schema.KindMCPCall, 0)
		w.turn(schema.Turn{Number: 1, Held: []schema.Item{done}})
		resp := w.salvage()
		if resp.Status != schema.StatusCompleted || len(resp.Output) != 1 || string(resp.Output[0].Output) != `"4"` || *resp.Output[0].Arguments != `{"n":1}` {
			t.Errorf("with %d events on the wire: %s, error %+v, %+v", open, resp.Status, resp.Error, resp.Output)
		}
	}
	if len(s.model.asked) > 0 {
		t.Errorf("model was asked %d times", len(s.model.asked))
	}
}

// A tool list that the upstream was making when the node died is closed before the turn is made again: what the model says
// then is streamed as it comes, the upstream is not told of the list, and a third attempt does not fail for it.
func TestPassthrough_TakeOverWithinAList(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.own = true
	told := make(chan struct{})
	s.model.turns = []turnFunc{func(ctx context.Context, _ *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		for _, e := range message(0, "the", " end")[:2] {
			if err := emit(e); err != nil {
				return upstream.Outcome{}, err
			}
		}
		close(told)
		<-ctx.Done()
		return upstream.Outcome{}, ctx.Err()
	}}
	w := s.wreck(body(`"hi"`, entry("x", "")), 2)
	w.push("model:0", ownList(0)...)
	w.sink()
	if err := s.broker.Enqueue(t.Context(), w.cmd, nil); err != nil {
		t.Fatal(err)
	}
	stop := s.node(t.Context())
	<-told
	stop()
	h, err := s.broker.Read(t.Context(), w.cmd.Ref())
	if err != nil {
		t.Fatal(err)
	}
	if got := types(h.Records); !slices.Contains(got, "output_text.delta") {
		t.Errorf("nothing of the second attempt was streamed: %v", got)
	}
	s.model.turns = []turnFunc{says("the end")}
	defer s.node(t.Context())()
	resp := s.response(s.records(w.cmd.Ref()))
	if last := resp.Output[len(resp.Output)-1]; resp.Status != schema.StatusCompleted || last.Text() != "the end" {
		t.Errorf("%s, error %+v, said %q", resp.Status, resp.Error, last.Text())
	}
	for _, it := range s.model.asked[len(s.model.asked)-1].Input {
		if it.Type == schema.KindListTools {
			t.Errorf("the upstream was told of %+v", it)
		}
	}
}
