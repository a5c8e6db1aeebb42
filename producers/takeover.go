package producers

import (
	"context"
	"fmt"

	"github.com/midstream-dev/midstream/schema"
)

// fromLog is the producer of items that an earlier attempt announced and this one brings to the wire.
const fromLog = "log"

// takeOver puts the run where the log says that earlier attempts have left it. For a first attempt there is nothing to do.
func (r *run) takeOver(ctx context.Context) error {
	switch {
	case r.idle >= r.node.MaxAttempts:
		r.cause = &schema.ResponseError{
			Code: schema.CodeAttempts, Type: schema.TypeServer,
			Message: fmt.Sprintf("The response was tried %d times without getting on.", r.idle),
		}
		return nil
	case r.fold.Attempt == 0:
		return nil
	}
	if err := r.takeOverTurn(ctx); err != nil {
		return err
	}
	return r.closeOpen(ctx)
}

// takeOverTurn brings back the calls that were announced and are not done, and the items behind them that had to wait.
func (r *run) takeOverTurn(ctx context.Context) error {
	done := map[string]bool{}
	for _, it := range r.seq.State().Items() {
		done[it.ID] = true
	}
	in := r.fold.Intent
	for _, c := range in.Calls {
		if done[c.ID] {
			continue
		}
		k := &call{Call: c, producer: fromLog, local: c.ID}
		if _, known := r.fold.Results[c.ID]; !known && !r.node.Idempotent(c.Label, c.Name) {
			k.refusal = httpFailure("outcome unknown: the gateway was interrupted during the call")
		}
		r.pending = append(r.pending, k)
	}
	open := r.seq.State().Open()
	for i := range in.Held {
		it := in.Held[i]
		if done[it.ID] || open != nil && open.ID == it.ID {
			continue
		}
		if err := r.bringBack(ctx, it); err != nil {
			return err
		}
	}
	r.answered = in.Hands
	return nil
}

// bringBack puts an item that had to wait in line again: a call as far as its arguments, any other whole.
func (r *run) bringBack(ctx context.Context, it schema.Item) error {
	added := it
	events := []schema.Event{{Type: schema.ItemAdded, Item: &added}}
	if it.Type == schema.KindMCPCall {
		events = append(events, schema.Event{Type: schema.CallDelta, ItemID: it.ID, Delta: it.Arguments},
			schema.Event{Type: schema.CallArguments, ItemID: it.ID, Arguments: it.Arguments})
	} else {
		events = append(events, schema.Event{Type: schema.ItemDone, Item: &it})
	}
	for _, e := range events {
		if err := r.push(ctx, fromLog, e); err != nil {
			return err
		}
	}
	return nil
}

// closeOpen deals with an item that an earlier attempt left open: a model call cannot be taken up in its middle. A
// message or a reasoning is closed as incomplete, and the turn is made again with what was said; a call that the client
// would execute ends the response, for a truncated command must never be run.
func (r *run) closeOpen(ctx context.Context) error {
	open := r.seq.State().Open()
	if open == nil || open.Type == schema.KindListTools {
		return nil
	}
	for _, c := range r.pending {
		if c.ID == open.ID {
			return nil // announced: its result closes it
		}
	}
	if open.Type == schema.KindFunctionCall || open.Type == schema.KindCustomCall {
		r.cause = &schema.ResponseError{
			Code: schema.CodeServer, Type: schema.TypeServer, Message: "The response was interrupted in the middle of a tool call.",
		}
		return nil
	}
	closing, err := r.seq.Abort()
	if err != nil {
		return err
	}
	return r.append(ctx, closing)
}
