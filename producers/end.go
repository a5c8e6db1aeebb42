package producers

import (
	"context"

	"github.com/midstream-dev/midstream/schema"
)

// finish ends a response whose model has answered.
func (r *run) finish(ctx context.Context) error {
	reason := ""
	switch {
	case r.full:
		reason = schema.IncompleteTokens
	case r.fold.Turn != nil:
		reason = r.fold.Turn.Incomplete
	}
	if reason == "" {
		return r.end(ctx, schema.Completed, func(resp *schema.Response) {
			resp.Status, resp.CompletedAt = schema.StatusCompleted, new(r.node.Now().Unix())
		})
	}
	return r.end(ctx, schema.Incomplete, func(resp *schema.Response) {
		resp.Status = schema.StatusIncomplete
		resp.IncompleteDetails = &schema.IncompleteDetails{Reason: reason}
	})
}

// fail ends a response that cannot go on.
func (r *run) fail(ctx context.Context, cause *schema.ResponseError) error {
	return r.end(ctx, schema.Failed, func(resp *schema.Response) {
		resp.Status, resp.Error = schema.StatusFailed, cause
	})
}

// cancelled ends a response that somebody has cancelled.
func (r *run) cancelled(ctx context.Context) error {
	events, err := r.fold.Cancel(r.seq)
	return r.close(ctx, events, err)
}

// end closes what is open and appends the terminal event. It returns when that is durable.
func (r *run) end(ctx context.Context, t schema.EventType, set func(*schema.Response)) error {
	events, err := r.fold.End(r.seq, t, set)
	return r.close(ctx, events, err)
}

// close adds to the conversation, if there is one, what the response leaves there, and then appends its last events: whoever
// sees the terminal event finds the items in the conversation.
func (r *run) close(ctx context.Context, events []schema.Event, err error) error {
	if err != nil {
		return err
	}
	if err := r.contribute(ctx, &events[len(events)-1]); err != nil {
		return err
	}
	if err := r.append(ctx, events); err != nil {
		return err
	}
	if err := r.log.Flush(ctx); err != nil {
		return err
	}
	r.abandonOpen()
	return nil
}

// abandonOpen ends the model call that a response which has ended has left.
func (r *run) abandonOpen() {
	if r.fold.Call != nil {
		r.abandon(*r.fold.Call)
	}
}
