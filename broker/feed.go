package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

// How often a feed that hears nothing asks: word of a batch is sent at most once.
const (
	feedAsksMin = time.Second
	feedAsksMax = 15 * time.Second
)

// Feed gives what the producers of one response send, in the order in which it is stored: the same for whoever reads it. It
// is for one goroutine. Close it.
type Feed struct {
	b        *Broker
	ref      schema.Ref
	position uint64
	word     chan struct{} // something was stored
	sub      *nats.Subscription
}

// Feed begins before the first batch of a response.
func (b *Broker) Feed(ref schema.Ref) (*Feed, error) {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return nil, err
	}
	f := &Feed{b: b, ref: ref, word: make(chan struct{}, 1)}
	f.sub, err = b.conns.live.Subscribe(p.fed(), func(*nats.Msg) {
		select {
		case f.word <- struct{}{}:
		default: // somebody has said so already
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to producers of %s: %w", ref, err)
	}
	b.live.settle()
	return f, nil
}

// Stored returns the next batch, or nil where no more is stored by now.
func (f *Feed) Stored(ctx context.Context) (*Sent, error) {
	sent, err := f.b.NextSent(ctx, f.ref, "", f.position)
	if sent != nil {
		f.position = sent.Position
	}
	return sent, err
}

// Next waits for the next batch. It fails with ctx's error, or when the broker is closed.
func (f *Feed) Next(ctx context.Context) (*Sent, error) {
	for pause := feedAsksMin; ; pause = min(2*pause, feedAsksMax) {
		sent, err := f.Stored(ctx)
		if sent != nil || err != nil {
			return sent, err
		}
		if err := f.wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// wait waits for word of a batch, for a while.
func (f *Feed) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-f.word:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Close ends the feed.
func (f *Feed) Close() {
	if err := f.sub.Unsubscribe(); err != nil && !closed(err) {
		f.b.log.Warn("unsubscribe from producers", "response", f.ref.Response(), "error", err)
	}
}
