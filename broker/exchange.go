package broker

import (
	"context"
	"fmt"

	"github.com/midstream-dev/midstream/schema"
)

// Exchange returns what a response was asked and what it has said, from its log or its archive. Of a response that was not
// to be stored there is no exchange once it has ended: nobody may go on from it. Its errors are those of [Broker.Read].
func (b *Broker) Exchange(ctx context.Context, ref schema.Ref) (*schema.Exchange, error) {
	h, err := b.Read(ctx, ref)
	if err != nil {
		return nil, err
	}
	x, err := schema.ReadExchange(ref, h.Records)
	if err != nil {
		return nil, err
	}
	if !x.Request.Stores() && x.Response.Ended() {
		return nil, fmt.Errorf("read exchange %s: not stored: %w", ref, ErrNotFound)
	}
	return x, nil
}
