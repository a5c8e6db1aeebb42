package producers

import (
	"context"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// end settles the turn. Its record is in the log before the end of its last item is, and before any call leaves the
// node: a turn that has ended is never made again. Behind that, the requests for approval are shown.
func (t *turn) end(ctx context.Context, out upstream.Outcome) error {
	ended := schema.Turn{
		Number: t.run.turns() + 1, Usage: out.Usage, Tier: out.ServiceTier, Incomplete: out.Incomplete, Upstream: out.Upstream,
	}
	if out.Incomplete == "" { // else what is open was cut, and must not be run
		t.order = append(t.order, t.asked...)
		t.calls(&ended)
		ended.Held = t.held()
	}
	if err := t.run.endTurn(ended); err != nil {
		return err
	}
	if out.Incomplete != "" {
		return t.finishLast(ctx)
	}
	for n, it := range t.order {
		switch {
		case it.late:
			t.run.adopt(t.itemID(n), schema.FromLog, t.itemID(n))
		case it.ours:
			t.run.adopt(t.itemID(n), t.producer, it.local)
		}
	}
	if err := t.finishLast(ctx); err != nil {
		return err
	}
	return t.showAsked(ctx)
}

// showAsked shows the calls that need approval, which are the last of the turn's items.
func (t *turn) showAsked(ctx context.Context) error {
	held := t.run.fold.Turn.Held
	for _, it := range held[len(held)-len(t.asked):] {
		if err := t.run.bringBack(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// calls notes the calls that this run must make, and whether the response ends behind them: because the client must make
// others, or must be asked. Nobody is asked for a call that could not be made anyway: it is refused, and the model told.
func (t *turn) calls(ended *schema.Turn) {
	left := t.run.callsLeft()
	for n, it := range t.order {
		switch {
		case it.ours:
			c := it.call("")
			c.Refusal = refusal(&c, left)
			if it.asks = it.late && c.Refusal == nil; it.asks {
				ended.Hands = true
				continue
			}
			c.ID = t.itemID(n)
			if left > 0 {
				left--
			}
			ended.Calls = append(ended.Calls, c)
		case it.item.Type == schema.KindFunctionCall, it.item.Type == schema.KindCustomCall:
			ended.Hands = true
		}
	}
}

// call is an item of ours as the call that it is.
func (it *turnItem) call(id string) schema.Call {
	return schema.Call{ID: id, Label: it.offer.label, Name: it.offer.name, Arguments: it.args.String()}
}

// held returns the turn's items that are not done on the wire, as they will be. A call of ours that holds the wire is
// ended by its result.
func (t *turn) held() []schema.Item {
	var held []schema.Item
	for n, it := range t.order {
		item, id := it.item, t.itemID(n)
		c := it.call(id)
		switch {
		case it.ours && t.onWire(it), it.done && t.onWire(it):
			continue
		case it.asks:
			item = requestItem(&c, id)
		case it.ours:
			item = callItem(&c)
		}
		item.ID = id
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
// the model began them, those that need approval behind the others.
func (t *turn) itemID(n int) string {
	kind := t.order[n].item.Type
	switch it := t.order[n]; {
	case it.asks:
		kind = schema.KindApprovalRequest
	case it.ours:
		kind = schema.KindMCPCall
	}
	return schema.ItemID(t.run.ref.Response(), kind, t.first+n)
}
