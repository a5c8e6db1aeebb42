package producers

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// wreck is a log that an attempt left behind when its node was killed: cut after any event.
type wreck struct {
	*stage
	cmd  *schema.Command
	seq  *schema.Sequencer
	log  *broker.Writer
	left int // events that the dead node still got into the log
}

// everything is a wreck that died behind all that the test writes.
const everything = 1 << 20

// command is a request as a gateway enqueues it.
func (s *stage) command(body string) *schema.Command {
	s.Helper()
	req, refused := schema.ParseCreate([]byte(body))
	if refused != nil {
		s.Fatal(refused)
	}
	raw, err := json.Marshal(req)
	if err != nil {
		s.Fatal(err)
	}
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: "default", Response: "resp_" + strings.ToLower(rand.Text()),
		CreatedAt: time.Now().UnixMilli(), Digest: "d", Request: raw,
	}
}

// wreck begins the log of a request, claimed by a node that will die.
func (s *stage) wreck(body string, left int) *wreck {
	s.Helper()
	return s.wreckOf(s.command(body), left)
}

func (s *stage) wreckOf(cmd *schema.Command, left int) *wreck {
	s.Helper()
	w := &wreck{stage: s, cmd: cmd, left: left}
	rec, err := w.cmd.RequestRecord()
	if err != nil {
		s.Fatal(err)
	}
	if err := s.broker.Begin(s.Context(), rec, w.cmd.Ref()); err != nil {
		s.Fatal(err)
	}
	w.claim()
	return w
}

// claim begins an attempt behind what is there.
func (w *wreck) claim() {
	w.Helper()
	h, err := w.broker.Read(w.Context(), w.cmd.Ref())
	if err != nil {
		w.Fatal(err)
	}
	fold, err := schema.FoldRun(w.cmd.Ref(), h.Records)
	if err != nil {
		w.Fatal(err)
	}
	w.seq = schema.NewSequencer(&fold.State)
	w.log = w.broker.Writer(h, fold.Attempt+1, rand.Text())
	out, err := w.seq.Push(fromGateway, schema.Event{Type: schema.InProgress})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.log.Commit(w.Context(), schema.RecordClaim, []byte(`{"node":"dead"}`), out...); err != nil {
		w.Fatal(err)
	}
}

func (w *wreck) push(producer string, events ...schema.Event) {
	w.Helper()
	for _, e := range events {
		out, err := w.seq.Push(producer, e)
		if err != nil {
			w.Fatal(err)
		}
		for i := range out {
			if w.left--; w.left < 0 {
				return
			}
			if err := w.log.Append(w.Context(), out[i]); err != nil {
				w.Fatal(err)
			}
		}
	}
}

func (w *wreck) turn(t schema.Turn) {
	w.Helper()
	if w.left < 0 {
		return
	}
	body, err := json.Marshal(t)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.log.Commit(w.Context(), schema.RecordTurn, body); err != nil {
		w.Fatal(err)
	}
}

// sink ends the dead node's writing.
func (w *wreck) sink() {
	w.Helper()
	if err := w.log.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.log.Close()
}

// salvage gives the job to the stage's node and returns the response at its end.
func (w *wreck) salvage() *schema.Response {
	w.Helper()
	w.sink()
	if err := w.broker.Enqueue(w.Context(), w.cmd, nil); err != nil {
		w.Fatal(err)
	}
	return w.response(w.records(w.cmd.Ref()))
}

func (w *wreck) list(label string) {
	w.Helper()
	raw := jsontext.Value(`{"name":"echo","input_schema":{"type":"object","properties":{}}}`)
	item := schema.Item{ID: "l", Type: schema.KindListTools, ServerLabel: label, Tools: []jsontext.Value{raw}}
	w.push("mcp", schema.Event{Type: schema.ItemAdded, Item: &schema.Item{ID: "l", Type: schema.KindListTools, ServerLabel: label}},
		schema.Event{Type: schema.ItemDone, Item: &item})
}

func (w *wreck) id(kind string, n int) string { return schema.ItemID(w.cmd.Response, kind, n) }

func toolCall(index int, args string) []schema.Event {
	id := fmt.Sprintf("item_%d", index)
	return []schema.Event{
		{Type: schema.ItemAdded, Item: &schema.Item{ID: id, Type: schema.KindMCPCall, ServerLabel: "x", Name: "echo"}},
		{Type: schema.CallArguments, ItemID: id, Arguments: &args},
	}
}

func toolResult(index int, args string) schema.Event {
	return schema.Event{Type: schema.ItemDone, Item: &schema.Item{
		ID: fmt.Sprintf("item_%d", index), Type: schema.KindMCPCall, ServerLabel: "x", Name: "echo", Arguments: &args,
		Status: schema.StatusCompleted, Output: jsontext.Value(`"ok"`), Error: jsontext.Value("null"),
	}}
}

// A turn has a call, a message behind it, and another call behind that. Whichever of their events the dead node wrote
// last, the next attempt ends the response, with the message whole and told once.
func TestTakeOver_AfterEveryEventOfAHeldTurn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("again"), says("the end")}
	defer s.node(t.Context())()
	for n := 0; ; n++ {
		w := s.wreck(with("x"), n)
		w.list("x")
		w.push("model:0", toolCall(0, `{"n":0}`)...)
		w.push("model:0", message(1, "behind")...)
		w.push("model:0", toolCall(2, `{"n":2}`)...)
		second := schema.Item{ID: w.id(schema.KindMCPCall, 3), Type: schema.KindMCPCall, ServerLabel: "x", Name: "echo", Arguments: new(`{"n":2}`)}
		text := schema.Item{
			ID: w.id(schema.KindMessage, 2), Type: schema.KindMessage,
			Content: schema.Content{schema.NewPart(schema.PartOutputText, "behind")},
		}
		w.turn(schema.Turn{Number: 1, Held: []schema.Item{text, second}, Calls: []schema.Call{
			{ID: w.id(schema.KindMCPCall, 1), Label: "x", Name: "echo", Arguments: `{"n":0}`},
			{ID: second.ID, Label: "x", Name: "echo", Arguments: `{"n":2}`},
		}})
		w.push("model:0", toolResult(0, `{"n":0}`), toolResult(2, `{"n":2}`))
		whole := w.left > 0
		resp := w.salvage()
		var said string
		for i := range resp.Output {
			said += resp.Output[i].Text() + " "
		}
		if resp.Status != schema.StatusCompleted || strings.Count(said, "behind") > 1 {
			t.Errorf("dead after event %d: %s, error %+v, said %q", n, resp.Status, resp.Error, said)
		}
		if whole {
			return
		}
	}
}

// A turn whose record is in the log is not made again, whatever of its last item is on the wire.
func TestTakeOver_DoesNotRepeatATurnThatEnded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("again")}
	defer s.node(t.Context())()
	for n := range 8 {
		w := s.wreck(`{"model":"m","input":"hi"}`, everything)
		events := message(0, "one", " answer")
		w.push("model:0", events[:len(events)-1]...)
		w.turn(schema.Turn{Number: 1, Held: []schema.Item{{
			ID: w.id(schema.KindMessage, 0), Type: schema.KindMessage,
			Content: schema.Content{schema.NewPart(schema.PartOutputText, "one answer")},
		}}})
		w.left = n
		w.push("model:0", events[len(events)-1])
		resp := w.salvage()
		if resp.Status != schema.StatusCompleted || len(resp.Output) != 1 || resp.Output[0].Text() != "one answer" {
			t.Errorf("dead %d events behind the turn's record: %s, %+v", n, resp.Status, resp.Output)
		}
	}
	if len(s.model.asked) > 0 {
		t.Errorf("model was asked %d times", len(s.model.asked))
	}
}

// A tool list that failed fails the response, also when the node died before it could say so.
func TestTakeOver_RemembersAFailedList(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("fine")}
	defer s.node(t.Context())()
	w := s.wreck(with("x"), everything)
	w.push("mcp", schema.Event{Type: schema.ItemAdded, Item: &schema.Item{ID: "l", Type: schema.KindListTools, ServerLabel: "x"}},
		schema.Event{Type: schema.ItemDone, Item: &schema.Item{ID: "l", Type: schema.KindListTools, ServerLabel: "x", Error: jsontext.Value(`"down"`)}})
	if resp := w.salvage(); resp.Status != schema.StatusFailed || resp.Error.Type != schema.TypeConnector {
		t.Errorf("status %s, error %+v", resp.Status, resp.Error)
	}
}

// A call that was refused stays refused.
func TestTakeOver_KeepsRefusals(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.Idempotent = func(string, string) bool { return true }
	s.model.turns = []turnFunc{says("a"), says("the end")}
	defer s.node(t.Context())()
	w := s.wreck(strings.Replace(with("x"), `"input"`, `"max_tool_calls":1,"input"`, 1), everything)
	w.list("x")
	w.push("model:0", toolCall(0, `{"n":0}`)...)
	w.push("model:0", toolCall(1, `{"n":1}`)...)
	second := schema.Item{ID: w.id(schema.KindMCPCall, 2), Type: schema.KindMCPCall, ServerLabel: "x", Name: "echo", Arguments: new(`{"n":1}`)}
	w.turn(schema.Turn{Number: 1, Held: []schema.Item{second}, Calls: []schema.Call{
		{ID: w.id(schema.KindMCPCall, 1), Label: "x", Name: "echo", Arguments: `{"n":0}`},
		{ID: second.ID, Label: "x", Name: "echo", Arguments: `{"n":1}`, Refusal: httpFailure("max_tool_calls was reached")},
	}})
	if w.salvage(); len(s.tools.calls) != 1 {
		t.Errorf("max_tool_calls 1, made %v", s.tools.calls)
	}
}

// Arguments that were cut with their turn are not shown to the model, and the call does not count.
func TestTakeOver_HidesCutArguments(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("done")}
	defer s.node(t.Context())()
	w := s.wreck(with("x"), everything)
	w.list("x")
	w.push("model:0", schema.Event{Type: schema.ItemAdded, Item: &schema.Item{ID: "i", Type: schema.KindMCPCall, ServerLabel: "x", Name: "echo"}},
		schema.Event{Type: schema.CallDelta, ItemID: "i", Delta: new(`{"n":`)})
	w.salvage()
	for _, it := range s.model.asked[0].Input {
		if it.Type != schema.KindMessage {
			t.Errorf("model is shown %+v", it)
		}
	}
}

// A run that no attempt gets on with ends in response.failed instead of going round for ever.
func TestTakeOver_GivesUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxAttempts = 3
	s.model.turns = []turnFunc{says("never asked")}
	w := s.wreck(`{"model":"m","input":"hi"}`, everything)
	for range 2 {
		w.sink()
		w.claim()
	}
	defer s.node(t.Context())()
	if resp := w.salvage(); resp.Error == nil || resp.Error.Code != schema.CodeAttempts {
		t.Errorf("response: %+v", resp)
	}
}

// Hand-overs that are planned do not count: a cluster may be rolled as often as it likes.
func TestTakeOver_PlannedHandOversDoNotCount(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxAttempts = 2
	asked := make(chan struct{})
	s.model.turns = []turnFunc{func(ctx context.Context, _ *upstream.Request, _ func(schema.Event) error) (upstream.Outcome, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return upstream.Outcome{}, context.Cause(ctx)
	}}
	ref := s.create(`{"model":"m","input":"hi"}`)
	for range 3 {
		stop := s.node(t.Context())
		<-asked
		stop()
	}
	s.model.turns = []turnFunc{says("hello")}
	defer s.node(t.Context())()
	if resp := s.response(s.records(ref)); resp.Status != schema.StatusCompleted {
		t.Errorf("after 3 planned hand-overs: %+v", resp.Error)
	}
}

// What a dead log cannot say is not made up: a response that was sealed is not made again when its log has aged out.
func TestAttempt_DoesNotRunASealedResponseAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *broker.Config) { c.LogAge = time.Second })
	s.model.turns = []turnFunc{says("once")}
	stop := s.node(t.Context())
	cmd := s.command(`{"model":"m","input":"hi"}`)
	if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
		t.Fatal(err)
	}
	s.records(cmd.Ref())
	stop()
	s.until(func() bool { // the log has aged out: its records come from the archive
		h, err := s.broker.Read(t.Context(), cmd.Ref())
		if err != nil {
			return false
		}
		w := s.broker.Writer(h, 9, "probe")
		defer w.Close()
		return w.Err() != nil
	})
	if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil { // as if the ack had been lost
		t.Fatal(err)
	}
	defer s.node(t.Context())()
	s.until(func() bool { // until the queue is empty again
		err := s.broker.Enqueue(t.Context(), cmd, nil)
		return err == nil
	})
	if len(s.model.asked) != 1 {
		t.Errorf("model was asked %d times for one response", len(s.model.asked))
	}
}

// history returns the log as it is now.
func (w *wreck) history() []schema.Record {
	w.Helper()
	if err := w.log.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
	h, err := w.broker.Read(w.Context(), w.cmd.Ref())
	if err != nil {
		w.Fatal(err)
	}
	return h.Records
}

// sealed reports whether the archive has the response.
func (s *stage) sealed(cmd *schema.Command) bool {
	s.Helper()
	found, err := s.broker.SweepRuns(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return found == 0 && s.broker.Enqueue(s.Context(), cmd, nil) == nil
}
