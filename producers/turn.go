package producers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.opentelemetry.io/otel/codes"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// turn is one model call: it turns the model's events into the response's. A function call whose name is an offer
// becomes an mcp_call; everything else passes.
type turn struct {
	run      *run
	producer string
	offers   offers
	first    int               // output_index of its first item
	items    map[int]*turnItem // by the model's output_index
	order    []*turnItem
	last     *schema.Event // output_item.done of the item before: it goes out when the model goes on, or the turn's record is there
}

// turnItem is one item of a turn.
type turnItem struct {
	local string // its id for the sequencer
	item  schema.Item
	offer offer
	ours  bool // a call that this run makes
	waits bool // it did not hold the wire when it began: it is shown whole when it is done
	done  bool // its output_item.done is on its way to the wire
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
	t := &turn{
		run: r, producer: fmt.Sprintf("model:%d", req.Turn), offers: names,
		first: len(r.seq.State().Items()), items: map[int]*turnItem{},
	}
	req.Tries, req.Failed = r.fold.Tries, r.noteTry
	r.modelCalls++
	out, err := up.Stream(ctx, req, func(e schema.Event) error { return t.take(ctx, e) })
	if err != nil {
		span.SetStatus(codes.Error, "model call failed")
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
	said := r.seq.State().Items()
	input, err := modelInput(r.past, r.req.Input, said)
	if err != nil {
		return nil, nil, err
	}
	tools, names, err := offerTools(said)
	if err != nil {
		return nil, nil, err
	}
	req := &upstream.Request{Response: r.ref.Response(), Turn: r.turns(), Create: r.req, Input: input, Tools: tools}
	if r.callsLeft() == 0 && len(tools) > 0 {
		req.Tools, req.Input = nil, append(req.Input, askToFinish())
	}
	for _, t := range r.req.Tools {
		if t.Type != schema.ToolMCP {
			req.Tools = append(req.Tools, t)
		}
	}
	if req.Turn > 0 {
		req.ToolChoice = loosen(r.req.ToolChoice)
	}
	return req, names, nil
}

// loosen returns the tool_choice of a later turn: a choice that forces a call was obeyed in the first one, and would
// force calls for ever. What it allows stays allowed.
func loosen(choice jsontext.Value) jsontext.Value {
	var allowed struct {
		Type string         `json:"type"`
		Mode string         `json:"mode"`
		Rest jsontext.Value `json:",embed"`
	}
	switch {
	case len(choice) == 0, string(choice) == `"none"`:
		return choice
	case choice.Kind() == '{' && json.Unmarshal(choice, &allowed) == nil && allowed.Type == "allowed_tools":
		allowed.Mode = "auto"
		if out, err := json.Marshal(allowed); err == nil {
			return out
		}
	}
	return jsontext.Value(`"auto"`)
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
		it.ours, it.offer = true, o
		e.Item = &schema.Item{ID: it.local, Type: schema.KindMCPCall, ServerLabel: o.label, Name: o.name}
	}
	t.items[e.Index()] = it
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
	switch e.Type {
	case schema.FunctionDelta:
		if e.Delta != nil {
			it.args.WriteString(*e.Delta)
		}
		if it.waits {
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

// end settles the turn. Its record is in the log before the end of its last item is, and before any call leaves the
// node: a turn that has ended is never made again.
func (t *turn) end(ctx context.Context, out upstream.Outcome) error {
	ended := schema.Turn{
		Number: t.run.turns() + 1, Usage: out.Usage, Tier: out.ServiceTier, Incomplete: out.Incomplete, Upstream: out.Upstream,
	}
	if out.Incomplete == "" { // else what is open was cut, and must not be run
		ended.Held = t.held()
		t.calls(&ended)
	}
	if err := t.run.endTurn(ctx, ended); err != nil {
		return err
	}
	for n, it := range t.order {
		if it.ours && out.Incomplete == "" {
			t.run.adopt(t.itemID(n), t.producer, it.local)
		}
	}
	return t.finishLast(ctx)
}

// calls notes the calls that this run must make, and whether there are others that the client must.
func (t *turn) calls(ended *schema.Turn) {
	left := t.run.callsLeft()
	for n, it := range t.order {
		switch {
		case it.ours:
			c := schema.Call{ID: t.itemID(n), Label: it.offer.label, Name: it.offer.name, Arguments: it.args.String()}
			if c.Refusal = refusal(&c, left); left > 0 {
				left--
			}
			ended.Calls = append(ended.Calls, c)
		case it.item.Type == schema.KindFunctionCall, it.item.Type == schema.KindCustomCall:
			ended.Hands = true
		}
	}
}

// held returns the turn's items that are not done on the wire, as they will be. A call of ours that holds the wire is
// ended by its result.
func (t *turn) held() []schema.Item {
	var held []schema.Item
	for n, it := range t.order {
		item := it.item
		switch {
		case it.ours && t.onWire(it), it.done && t.onWire(it):
			continue
		case it.ours:
			item = schema.Item{
				Type: schema.KindMCPCall, ServerLabel: it.offer.label, Name: it.offer.name, Arguments: new(it.args.String()),
			}
		}
		item.ID = t.itemID(n)
		if open := t.run.seq.State().Open(); open != nil && open.ID == item.ID && !it.ours {
			item = unsaid(item, open)
		}
		held = append(held, item)
	}
	return held
}

// unsaid leaves out of an item what its deltas have said already, if that is all of it: the log need not hold a long
// answer once more.
func unsaid(item schema.Item, open *schema.Item) schema.Item {
	plain := item.Type == schema.KindMessage && item.Text() == open.Text()
	for _, p := range item.Content {
		plain = plain && p.Type == schema.PartOutputText && len(p.Annotations) == 0
	}
	if plain {
		item.Content = nil
	}
	return item
}

// itemID returns the id that the turn's n-th item has, or will have, on the wire: items go out in the order in which
// the model began them.
func (t *turn) itemID(n int) string {
	kind := t.order[n].item.Type
	if t.order[n].ours {
		kind = schema.KindMCPCall
	}
	return schema.ItemID(t.run.ref.Response(), kind, t.first+n)
}
