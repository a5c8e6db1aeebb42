package producers

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// Five moments at which a node may die around a tool call, the call being one of two that run in parallel.
var moments = []string{"before the intent", "behind the intent", "in the call", "behind the result", "behind the commit"}

// A tool that nobody calls idempotent is called once at most, wherever its node dies; where it may have been called and nobody
// knows, the response says so. One that is idempotent is called until its result is known. Calls that the caller has approved are
// no different.
func TestOnce_AtFiveMoments(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		for _, approved := range []bool{false, true} {
			s := newStage(t, brief)
			for n, moment := range moments {
				name := fmt.Sprintf("%s, idempotent %v, approved %v", moment, idempotent, approved)
				s.dieAt(name, n, idempotent, approved)
			}
		}
	}
}

// dieAt lets the first owner of a run die at a moment, and looks at what the next one makes of it.
func (s *stage) dieAt(name string, moment int, idempotent, approved bool) {
	s.Helper()
	s.config.Idempotent = func(string, string) bool { return idempotent }
	s.tools.calls = map[string]int{}
	body := with("x")
	s.model.turns = []turnFunc{callsOf(2), says("done")}
	if approved {
		body, s.model.turns = approvedCalls, []turnFunc{says("done")}
	}
	w := s.wreckAt(body, moment, approved)
	maps.Copy(s.tools.calls, w.made)
	s.tools.onCall = func(_ context.Context, _ mcp.Server, _, args string) (mcp.Result, error) {
		return mcp.Result{Output: "result of " + args}, nil
	}
	stop := s.node(s.Context())
	resp := s.whole(w.end())
	stop()
	s.judgeOnce(name, resp, w, idempotent)
}

// judgeOnce holds a response to what its wreck allows.
func (s *stage) judgeOnce(name string, resp *schema.Response, w *onceWreck, idempotent bool) {
	s.Helper()
	unknown := 0
	for _, it := range resp.Output {
		if it.Type == schema.KindMCPCall && strings.Contains(string(it.Error), "outcome unknown") {
			unknown++
		}
	}
	want := w.doubts
	if idempotent {
		want = 0
	}
	if unknown != want || resp.Status != schema.StatusCompleted {
		s.Errorf("%s: %d outcomes unknown, want %d; %s, error %+v", name, unknown, want, resp.Status, resp.Error)
	}
	for call, n := range s.tools.calls {
		if n > 1 && !idempotent || n > 2 {
			s.Errorf("%s: %s was called %d times", name, call, n)
		}
	}
	if idempotent && len(s.tools.calls) != 2 {
		s.Errorf("%s: %d of 2 calls were made: %v", name, len(s.tools.calls), s.tools.calls)
	}
}

// approvedCalls is a request whose caller has approved two calls.
const approvedCalls = `{"model":"m","input":[
	{"type":"mcp_list_tools","id":"mcpl_1","server_label":"x","tools":[
		{"name":"echo","description":"Says it again.","input_schema":{"type":"object","properties":{}}}]},
	{"type":"mcp_approval_request","id":"mcpr_1","server_label":"x","name":"echo","arguments":"{\"n\":0}"},
	{"type":"mcp_approval_request","id":"mcpr_2","server_label":"x","name":"echo","arguments":"{\"n\":1}"},
	{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true},
	{"type":"mcp_approval_response","approval_request_id":"mcpr_2","approve":true}],
	"tools":[{"type":"mcp","server_label":"x","server_url":"https://x.example/mcp"}]}`

// onceWreck is a wreck around two parallel tool calls.
type onceWreck struct {
	*wreck
	made   map[string]int // calls that the dead node had made
	doubts int            // calls that it had noted, and of whose result it did not
}

// wreckAt is what a node leaves that died at a moment.
func (s *stage) wreckAt(body string, moment int, approved bool) *onceWreck {
	s.Helper()
	w := &onceWreck{wreck: s.wreck(body, everything), made: map[string]int{}}
	first := 0
	if !approved { // else the list is in the context
		w.list("x")
		first = 1
	}
	items := []schema.Item{}
	var turn schema.Turn
	for n := range 2 {
		args := fmt.Sprintf(`{"n":%d}`, n)
		c := schema.Call{ID: w.id(schema.KindMCPCall, first+n), Label: "x", Name: "echo", Arguments: args}
		if approved {
			c.Approval = fmt.Sprintf("mcpr_%d", n+1)
		} else {
			turn.Number = 1
		}
		turn.Calls, items = append(turn.Calls, c), append(items, callItem(&c))
	}
	turn.Held = items
	switch moments[moment] {
	case "before the intent":
		return w
	case "in the call", "behind the result": // the result is in the dead node's memory only
		w.made[`echo{"n":0}`], w.made[`echo{"n":1}`] = 1, 1
	case "behind the commit":
		w.made[`echo{"n":0}`], w.made[`echo{"n":1}`] = 1, 1
		defer func() { w.result(turn.Calls[0].ID); w.result(turn.Calls[1].ID); w.doubts = 0 }()
	}
	w.turn(turn)
	w.doubts = 2
	return w
}

// result notes what a call gave.
func (w *onceWreck) result(id string) {
	w.Helper()
	if err := w.log.Commit(w.Context(), schema.RecordResult, fmt.Appendf(nil, `{"id":%q,"output":"known"}`, id)); err != nil {
		w.Fatal(err)
	}
}

// end gives the job to the stage's node and returns the log at its end.
func (w *onceWreck) end() []schema.Record {
	w.Helper()
	w.sink()
	if err := w.broker.Enqueue(w.Context(), w.cmd, nil); err != nil {
		w.Fatal(err)
	}
	return w.records(w.cmd.Ref())
}
