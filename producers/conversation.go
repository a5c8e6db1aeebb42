package producers

import (
	"context"
	"errors"
	"fmt"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// recallConversation reads the items of the conversation as it was when the request was accepted: every attempt tells the
// model the same. What was removed from it since is told to nobody.
func (r *run) recallConversation(ctx context.Context, at *schema.ConversationPoint) error {
	c, err := r.node.Library.Conversation(ctx, r.ref.Tenant(), at.ID)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		r.cause = lostConversation()
	case err != nil:
		return fmt.Errorf("recall %s: %w", r.ref, err)
	default:
		r.past = c.ItemsAt(at.Version)
	}
	return nil
}

// contribute adds to the conversation what the response, which ends with that event, leaves there. A response whose words find no
// room in its conversation fails, since the next one would go on without them: the event says so then, unless it tells of a
// failure or a cancel already. A conversation that was deleted meanwhile takes nothing, and the response ends as it would
// have.
//
// It comes before the terminal event. An attempt that dies in between leaves items of a response that goes on: the next
// attempt's take their place.
func (r *run) contribute(ctx context.Context, terminal *schema.Event) error {
	at := r.fold.Command.Conversation
	if at == nil || !r.req.Stores() {
		return nil
	}
	items := (&schema.Exchange{Command: r.fold.Command, Request: r.req, Response: terminal.Response}).Contribution()
	_, err := r.node.Library.ChangeConversation(ctx, r.ref.Tenant(), at.ID, func(c *schema.Conversation) (*schema.Fact, error) {
		return c.Answer(r.ref.Response(), r.fold.Attempt+1, items)
	})
	refusal, refused := errors.AsType[*schema.Error](err)
	switch {
	case err == nil, errors.Is(err, broker.ErrNotFound):
		return nil
	case refused:
		failInstead(terminal, failure(refusal))
	case errors.Is(err, broker.ErrFull):
		failInstead(terminal, &schema.ResponseError{
			Code: schema.CodeOverloaded, Type: schema.TypeServer, Message: "There was no room to add the response to its conversation.",
		})
	default:
		return fmt.Errorf("add to conversation %s: %w", at.ID, err)
	}
	r.node.Logger.Warn("response not added to its conversation", "run", r.ref.Response(), "error", err)
	return nil
}

// failInstead makes a terminal event tell of a failure, which the order allows wherever another end is allowed. One that tells
// of a failure of its own, or of a cancel, is left as it is.
func failInstead(terminal *schema.Event, cause *schema.ResponseError) {
	if terminal.Type == schema.Failed {
		return
	}
	terminal.Type = schema.Failed
	resp := terminal.Response
	resp.Status, resp.Error, resp.CompletedAt, resp.IncompleteDetails = schema.StatusFailed, cause, nil, nil
}
