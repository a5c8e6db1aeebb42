package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

// A producer that speaks to NATS alone opens its response by its first message. Every producer node listens for what comes, in
// one queue group, so one of them looks whether the response is there, and opens it if it is not: it enqueues the command that the
// message asks for. Word of a message is sent at most once, so the sweep looks too. A response is there if it has a log, a job or
// an archive, asked for in the order of orphan.go, and for its reason: no healthy response is ever taken for one that is not there.

const (
	openers   = "openers" // the queue group
	maxOpened = 16384     // responses that a node knows to be open
	// openPatience bounds one look. What was not looked at by then, the sweep does.
	openPatience = 10 * time.Second
)

// OpenFed opens the responses whose producers say so over NATS, until ctx ends: then it returns nil. It fails with ErrClosed when
// the broker is closed. One call serves a node.
func (b *Broker) OpenFed(ctx context.Context) error {
	sub, err := b.conns.live.QueueSubscribeSync(allFed, openers)
	if err != nil {
		return fmt.Errorf("listen for producers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed by now
	known, err := lru.New[schema.Ref, struct{}](maxOpened)
	if err != nil {
		return fmt.Errorf("listen for producers: %w", err)
	}
	for ctx.Err() == nil {
		msg, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case closed(err):
			return fmt.Errorf("listen for producers: %w", ErrClosed)
		case err != nil: // some words were lost: the sweep makes up for it
			b.log.Warn("listen for producers", "error", err)
			continue
		}
		b.hearProducer(ctx, msg, known)
	}
	return nil
}

func (b *Broker) hearProducer(ctx context.Context, msg *nats.Msg, known *lru.Cache[schema.Ref, struct{}]) {
	ref, err := fedRef(msg.Subject)
	if err != nil || known.Contains(ref) {
		return // whatever else is there, it is no response
	}
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	p, err := locate(ref, b.partitions)
	if err == nil {
		err = b.openIfMissing(ctx, p, byWord)
	}
	if err != nil {
		b.log.Warn("response of a producer not opened yet", "response", ref.Response(), "error", err)
		return
	}
	known.Add(ref, struct{}{})
}

// openIfMissing opens a response that producers have sent something for, unless it is there, or was.
func (b *Broker) openIfMissing(ctx context.Context, p place, by string) error {
	log, err := b.first(ctx, p.logStream(), p.log())
	if log != nil || err != nil {
		return err
	}
	if found, err := b.prospect(ctx, p); found != runLost || err != nil {
		return err
	}
	first, err := b.NextSent(ctx, p.ref, "", 0)
	if first == nil || err != nil {
		return err
	}
	if !schema.OwnID(p.ref.Response()) {
		b.metrics.strange.Inc()
		b.log.Debug("a producer sends to a response that is not there and must not have this id", "response", p.ref.Response())
		return nil
	}
	cmd, err := schema.Opened(p.ref, first.Producer, first.Events, first.Stored)
	if err != nil {
		return err
	}
	err = b.Enqueue(ctx, cmd, nil)
	if errors.Is(err, ErrExists) {
		return nil // another node was quicker
	}
	if err == nil {
		b.metrics.opened.WithLabelValues(by).Inc()
		b.log.Info("response opened by its producer", "response", p.ref.Response(), "producer", first.Producer, "found_by", by)
	}
	return err
}

// sweepFed looks for responses that nobody has opened though producers send to them.
func (b *Broker) sweepFed(ctx context.Context) error {
	sent, err := b.subjects(ctx, ingestStream, ingestSubjects)
	if err != nil {
		return err
	}
	var look []schema.Ref
	for subject := range sent {
		if ref, err := fedRef(subject); err == nil { // else no response can have this id
			look = append(look, ref)
		}
	}
	return b.sweeper.lookAtAll(ctx, &b.sweeper.fed, look, func(ref schema.Ref) (opened bool, err error) {
		err = b.openIfMissing(ctx, place{ref, partition(ref.Response(), b.partitions)}, bySweep)
		return err == nil, err
	})
}
