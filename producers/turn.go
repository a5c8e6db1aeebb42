package producers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/codes"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// turn is one model call: it turns the model's events into the response's. A function call whose name is an offer
// becomes an mcp_call, or a request for approval; everything else passes.
type turn struct {
	run      *run
	producer string
	offers   offers
	first    int               // output_index of its first item
	items    map[int]*turnItem // by the model's output_index
	order    []*turnItem
	asked    []*turnItem   // calls that need approval: they are shown when the turn has ended, for one that was cut is none
	last     *schema.Event // output_item.done of the item before: it goes out when the model goes on, or the turn's record is there
}

// turnItem is one item of a turn.
type turnItem struct {
	local string // its id for the sequencer
	item  schema.Item
	offer offer
	ours  bool // a call that this run makes
	late  bool // a call that needs approval: it is shown when the turn has ended
	asks  bool // and as a request for that, since nothing else speaks against the call
	waits bool // it did not hold the wire when it began: it is shown whole when it is done
	done  bool // its output_item.done is on its way to the wire
	sent  int  // bytes of the arguments that are on the wire
	args  strings.Builder
}

// callModel makes one model call, or goes on with one.
func (r *run) callModel(ctx context.Context) error {
	if r.resumes() {
		return r.resumeModel(ctx)
	}
	return r.streamModel(ctx, nil)
}

// streamModel makes a model call, or takes one up.
func (r *run) streamModel(ctx context.Context, made *schema.ModelCall) error {
	ctx, span := r.span(ctx, "model", "gen_ai.request.model", r.req.Model)
	defer span.End()
	up, err := r.node.Models.Route(r.req.Model)
	if err != nil {
		return fmt.Errorf("route model %s: %w", r.req.Model, err)
	}
	req, names, err := r.turnRequest()
	if err != nil {
		return err
	}
	t := &turn{
		run: r, producer: fmt.Sprintf("model:%d", req.Turn), offers: names,
		first: len(r.seq.State().Items()), items: map[int]*turnItem{},
	}
	req.Tries, req.Failed, req.Resume, req.Called = r.fold.Tries, r.noteTry, made, r.noteCall
	if made == nil {
		r.modelCalls++
	}
	out, err := up.Stream(ctx, req, func(e schema.Event) error { return t.take(ctx, e) })
	if err != nil {
		span.SetStatus(codes.Error, "model call failed")
		if r.resumes() && r.shift.ends() {
			return err // whoever takes the call up says that too
		}
		return errors.Join(fmt.Errorf("call model %s: %w", r.req.Model, err), t.finishLast(ctx))
	}
	return t.end(ctx, out)
}

// noteTry puts a try that has failed into the log, before another is made.
func (r *run) noteTry(ctx context.Context, t schema.Try) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write try: %w", err)
	}
	if err := r.log.Commit(ctx, schema.RecordTry, body); err != nil {
		return fmt.Errorf("note a failed try: %w", err)
	}
	r.fold.FailTry(t)
	return nil
}

// turnRequest builds the model call from what the log holds.
func (r *run) turnRequest() (*upstream.Request, offers, error) {
	req := &upstream.Request{Response: r.ref.Response(), Turn: r.turns(), Create: r.req, Passthrough: r.passes}
	if r.passes {
		req.Input, req.Tools = rawInput(r.past, r.req.Input, r.seq.State().Items()), r.ownTools()
		return req, nil, nil
	}
	said := r.seq.State().Items()
	input, err := modelInput(r.past, r.req.Input, said)
	if err != nil {
		return nil, nil, err
	}
	lists := readLists(said)
	maps.Copy(lists, r.lists)
	shown, names, err := offerTools(r.req.MCP(), lists)
	if err != nil {
		return nil, nil, err
	}
	if r.callsLeft() == 0 && len(shown) > 0 {
		shown, input = nil, append(input, askToFinish()) // a model that calls one nevertheless is told no: names stays
	}
	if req.ToolChoice, err = choose(r.req, shown, names); err != nil {
		return nil, nil, err
	}
	if req.Turn > 0 || r.answers() {
		req.ToolChoice = loosen(req.ToolChoice)
	}
	req.Input, req.Tools = input, shown
	for _, t := range r.req.Tools {
		if t.Type != schema.ToolMCP {
			req.Tools = append(req.Tools, t)
		}
	}
	return req, names, nil
}

// ownTools returns the request's tools as the caller gave them, credentials included.
func (r *run) ownTools() []schema.Tool {
	tools := slices.Clone(r.req.Tools)
	for i := range tools {
		if tools[i].Type == schema.ToolMCP {
			secret := r.secrets[tools[i].ServerLabel]
			tools[i].Authorization, tools[i].Headers = secret.Authorization, secret.Headers
		}
	}
	return tools
}

// take takes one event of the model.
func (t *turn) take(ctx context.Context, e schema.Event) error {
	if err := t.finishLast(ctx); err != nil {
		return err
	}
	if e.Type == schema.ItemAdded && e.Item != nil {
		return t.begin(ctx, e)
	}
	it := t.items[e.Index()]
	switch {
	case it == nil:
		return t.run.push(ctx, t.producer, e)
	case it.late:
		it.take(&e)
		return nil
	case it.ours:
		return t.takeCall(ctx, it, e)
	case e.Type == schema.ItemDone && e.Item != nil:
		it.item, t.last = *e.Item, &e
		return nil
	case e.Delta != nil && it.waits:
		return nil // its text comes whole when it is done: no need to hold every delta
	}
	return t.run.push(ctx, t.producer, e)
}

// finishLast gives out the end of the item before.
func (t *turn) finishLast(ctx context.Context) error {
	if t.last == nil {
		return nil
	}
	e := *t.last
	t.last = nil
	t.items[e.Index()].done = true
	return t.run.push(ctx, t.producer, e)
}

func (t *turn) begin(ctx context.Context, e schema.Event) error {
	it := &turnItem{local: e.Item.ID, item: *e.Item}
	if o, ok := t.offers[e.Item.Name]; ok && e.Item.Type == schema.KindFunctionCall {
		it.ours, it.late, it.offer = true, o.asks, o
	}
	t.items[e.Index()] = it
	if it.late {
		t.asked = append(t.asked, it)
		return nil
	}
	if o := it.offer; it.ours {
		e.Item = &schema.Item{ID: it.local, Type: schema.KindMCPCall, ServerLabel: o.label, Name: o.name}
	}
	t.order = append(t.order, it)
	if err := t.run.push(ctx, t.producer, e); err != nil {
		return err
	}
	it.waits = !t.onWire(it)
	if !it.ours {
		return nil
	}
	return t.run.push(ctx, t.producer, schema.Event{Type: schema.CallInProgress, ItemID: it.local})
}

func (t *turn) onWire(it *turnItem) bool { return t.run.seq.OnWire(t.producer, it.local) }

// takeCall takes an event of a call that this run makes: its arguments stream on, its end waits for the tool.
func (t *turn) takeCall(ctx context.Context, it *turnItem, e schema.Event) error {
	it.take(&e)
	switch {
	case e.Type == schema.FunctionDelta && !it.waits:
		return t.sendArguments(ctx, it)
	case e.Type == schema.ItemDone:
		return t.endCall(ctx, it)
	}
	return nil
}

// take collects the arguments of a call of ours. Where the finished item differs from what was streamed, what was streamed
// stands.
func (it *turnItem) take(e *schema.Event) {
	switch {
	case e.Type == schema.FunctionDelta && e.Delta != nil:
		it.args.WriteString(*e.Delta)
	case e.Type == schema.ItemDone && e.Item != nil:
		it.item.Status = e.Item.Status
		if e.Item.Arguments == nil {
			return
		}
		if more, ok := strings.CutPrefix(*e.Item.Arguments, it.args.String()); ok {
			it.args.WriteString(more)
		}
	}
}

// sendArguments streams what has come of the arguments since the last time.
func (t *turn) sendArguments(ctx context.Context, it *turnItem) error {
	more := it.args.String()[it.sent:]
	if more == "" {
		return nil
	}
	it.sent += len(more)
	return t.run.push(ctx, t.producer, schema.Event{Type: schema.CallDelta, ItemID: it.local, Delta: &more})
}

// endCall settles the arguments.
func (t *turn) endCall(ctx context.Context, it *turnItem) error {
	if err := t.sendArguments(ctx, it); err != nil {
		return err
	}
	return t.run.push(ctx, t.producer, schema.Event{Type: schema.CallArguments, ItemID: it.local, Arguments: new(it.args.String())})
}
