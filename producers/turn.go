package producers

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// turn is one model call: it turns the model's events into the response's. A function call whose name is an offer
// becomes an mcp_call; everything else passes.
type turn struct {
	run      *run
	producer string
	offers   offers
	items    map[int]*turnItem // by the model's output_index
	order    []*turnItem
}

// turnItem is one item of a turn.
type turnItem struct {
	local string // its id for the sequencer
	item  schema.Item
	offer offer
	ours  bool // a call that this run makes
	sent  int  // bytes of the arguments that are on the wire
	args  strings.Builder
}

// callModel makes one model call.
func (r *run) callModel(ctx context.Context) error {
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
	t := &turn{run: r, producer: fmt.Sprintf("model:%d", req.Turn), offers: names, items: map[int]*turnItem{}}
	r.modelCalls++
	out, err := up.Stream(ctx, req, func(e schema.Event) error { return t.take(ctx, e) })
	if err != nil {
		return fmt.Errorf("call model %s: %w", r.req.Model, err)
	}
	return t.end(ctx, out)
}

// turnRequest builds the model call from what the log holds.
func (r *run) turnRequest() (*upstream.Request, offers, error) {
	said := r.seq.State().Items()
	input, err := modelInput(r.req.Input, said)
	if err != nil {
		return nil, nil, err
	}
	tools, names, err := offerTools(said)
	if err != nil {
		return nil, nil, err
	}
	req := &upstream.Request{Response: r.ref.Response(), Turn: r.turns, Create: r.req, Input: input}
	if r.callsLeft() == 0 && len(tools) > 0 {
		req.Input = append(req.Input, askToFinish())
		return req, offers{}, nil
	}
	req.Tools = tools
	for _, t := range r.req.Tools {
		if t.Type != schema.ToolMCP {
			req.Tools = append(req.Tools, t)
		}
	}
	if r.turns > 0 {
		req.ToolChoice = loosen(r.req.ToolChoice)
	}
	return req, names, nil
}

// loosen returns the tool_choice of a later turn: a choice that forces a call was obeyed in the first one, and would
// force calls for ever.
func loosen(choice jsontext.Value) jsontext.Value {
	if len(choice) == 0 || string(choice) == `"none"` {
		return choice
	}
	return jsontext.Value(`"auto"`)
}

// take takes one event of the model.
func (t *turn) take(ctx context.Context, e schema.Event) error {
	if e.Type == schema.ItemAdded && e.Item != nil {
		return t.begin(ctx, e)
	}
	it := t.items[e.Index()]
	switch {
	case it == nil:
		return t.run.push(ctx, t.producer, e)
	case it.ours:
		return t.takeCall(ctx, it, e)
	case e.Type == schema.ItemDone && e.Item != nil:
		it.item = *e.Item
	case e.Delta != nil && !t.onWire(it):
		return nil // an item that must wait brings its text when it is done: no need to hold every delta
	}
	return t.run.push(ctx, t.producer, e)
}

func (t *turn) begin(ctx context.Context, e schema.Event) error {
	it := &turnItem{local: e.Item.ID, item: *e.Item}
	if o, ok := t.offers[e.Item.Name]; ok && e.Item.Type == schema.KindFunctionCall {
		it.ours, it.offer = true, o
		e.Item = &schema.Item{ID: it.local, Type: schema.KindMCPCall, ServerLabel: o.label, Name: o.name}
	}
	t.items[e.Index()] = it
	t.order = append(t.order, it)
	if err := t.run.push(ctx, t.producer, e); err != nil || !it.ours {
		return err
	}
	return t.run.push(ctx, t.producer, schema.Event{Type: schema.CallInProgress, ItemID: it.local})
}

func (t *turn) onWire(it *turnItem) bool { return t.run.seq.OnWire(t.producer, it.local) }

// takeCall takes an event of a call that this run makes: its arguments stream on, its end waits for the tool.
func (t *turn) takeCall(ctx context.Context, it *turnItem, e schema.Event) error {
	switch e.Type {
	case schema.FunctionDelta:
		if e.Delta != nil {
			it.args.WriteString(*e.Delta)
		}
		if !t.onWire(it) {
			return nil
		}
		return t.sendArguments(ctx, it)
	case schema.ItemDone:
		return t.endCall(ctx, it, e.Item)
	}
	return nil
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

// endCall settles the arguments. Where the finished item differs from what was streamed, what was streamed stands.
func (t *turn) endCall(ctx context.Context, it *turnItem, done *schema.Item) error {
	if done != nil {
		it.item.Status = done.Status
		if done.Arguments != nil {
			if more, ok := strings.CutPrefix(*done.Arguments, it.args.String()); ok {
				it.args.WriteString(more)
			}
		}
	}
	if err := t.sendArguments(ctx, it); err != nil {
		return err
	}
	return t.run.push(ctx, t.producer, schema.Event{Type: schema.CallArguments, ItemID: it.local, Arguments: new(it.args.String())})
}

// end settles the turn: calls of ours are announced, calls of the client's end the response, and so does an answer.
func (t *turn) end(ctx context.Context, out upstream.Outcome) error {
	r := t.run
	r.usage, r.tier = r.usage.Add(out.Usage), out.ServiceTier
	r.incomplete, r.answered = out.Incomplete, true
	if out.Incomplete != "" {
		return nil // what is open is cut: it must not be run
	}
	calls, hands := t.calls()
	if len(calls) == 0 {
		return nil
	}
	r.turns++
	r.answered, r.pending = hands, calls
	return r.announce(ctx, schema.Intent{Turn: r.turns, Usage: out.Usage, Hands: hands, Held: t.held()})
}

// calls returns the calls that this run must make, and whether there are others that the client must.
func (t *turn) calls() (calls []*call, hands bool) {
	for n, it := range t.order {
		switch {
		case it.ours:
			calls = append(calls, &call{
				producer: t.producer, local: it.local,
				Call: schema.Call{ID: t.itemID(n), Label: it.offer.label, Name: it.offer.name, Arguments: it.args.String()},
			})
		case it.item.Type == schema.KindFunctionCall, it.item.Type == schema.KindCustomCall:
			hands = true
		}
	}
	return calls, hands
}

// held returns the turn's items that still wait for the wire, as they will be.
func (t *turn) held() []schema.Item {
	var held []schema.Item
	for n, it := range t.order {
		if t.onWire(it) {
			continue
		}
		item := it.item
		if it.ours {
			item = schema.Item{
				Type: schema.KindMCPCall, ServerLabel: it.offer.label, Name: it.offer.name, Arguments: new(it.args.String()),
			}
		}
		item.ID = t.itemID(n)
		held = append(held, item)
	}
	return held
}

// itemID returns the id that the turn's n-th item has, or will have, on the wire: items go out in the order in which
// the model began them.
func (t *turn) itemID(n int) string {
	state := t.run.seq.State()
	first := len(state.Items()) - t.finished()
	kind := t.order[n].item.Type
	if t.order[n].ours {
		kind = schema.KindMCPCall
	}
	return schema.ItemID(t.run.ref.Response(), kind, first+n)
}

// finished counts the turn's items that are done on the wire.
func (t *turn) finished() int {
	n := 0
	for _, it := range t.order {
		if t.onWire(it) {
			n++
		}
	}
	if t.run.seq.State().Open() != nil {
		n-- // one that is on the wire is still open
	}
	return n
}
