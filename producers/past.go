package producers

import (
	"context"
	"errors"
	"fmt"

	"github.com/midstream-dev/midstream/broker"
)

// recallWithin recalls as long as the response is wanted and has time left, and leaves it to walk to end one that is not or has
// none. A node that is to stop leaves all of it to another attempt.
func (r *run) recallWithin(ctx, calls context.Context) error {
	within, leave := r.shift.until(calls)
	defer leave()
	err := r.recall(within)
	if err != nil && calls.Err() != nil && ctx.Err() == nil && r.log.Err() == nil {
		r.settleError(err, context.Cause(calls))
		return nil
	}
	return err
}

// recall reads what the response goes on from: its conversation, or the items of its thread, oldest first. A response of the
// thread, or a conversation, that was deleted since the request was accepted ends the run: its answer would be another one
// without it; so does a thread that holds too much.
func (r *run) recall(ctx context.Context) error {
	if at := r.fold.Command.Conversation; at != nil {
		return r.recallConversation(ctx, at)
	}
	past, err := r.node.Library.Past(ctx, r.ref.Tenant(), r.fold.Command.Thread)
	switch {
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, broker.ErrGone):
		r.cause = forgotten()
		return nil
	case errors.Is(err, broker.ErrTooLong):
		r.cause = tooLongAThread()
		return nil
	case err != nil:
		return fmt.Errorf("recall %s: %w", r.ref, err)
	}
	r.past = past
	return nil
}
