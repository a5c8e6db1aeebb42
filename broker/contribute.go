package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/midstream-dev/midstream/schema"
)

// contribute adds to its conversation what a response leaves there that this node ends in the place of its owner: behind the
// claim of that attempt, and before the terminal event, as an owner does. What an earlier attempt has added gives way, and
// what that one still tries to add comes too late. A conversation that was deleted, or has no room, takes nothing: the
// response is cancelled all the same.
func (b *Broker) contribute(ctx context.Context, fold *schema.Run, attempt int, ended *schema.Response) error {
	at := fold.Command.Conversation
	if at == nil {
		return nil
	}
	req, err := fold.Command.Parse()
	if err != nil {
		return err
	}
	if !req.Stores() {
		return nil
	}
	items := (&schema.Exchange{Command: fold.Command, Request: req, Response: ended}).Contribution()
	answer := func(c *schema.Conversation) (*schema.Fact, error) { return c.Answer(ended.ID, attempt, items) }
	_, err = b.ChangeConversation(ctx, fold.Command.Tenant, at.ID, answer)
	_, refused := errors.AsType[*schema.Error](err)
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		return nil
	case refused, errors.Is(err, ErrFull), errors.Is(err, errUnreadable):
		b.log.Warn("cancelled response not added to its conversation", "response", ended.ID, "error", err)
		return nil
	}
	return fmt.Errorf("add to conversation %s: %w", at.ID, err)
}
