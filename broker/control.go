package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

const (
	// controlBack is how far back a follower of the control stream begins: what was asked for while it was being set up, or by
	// a server whose clock is behind, is not missed. Who is told twice, or of a response that it does not have, does nothing.
	controlBack = time.Minute
	// controlBatch is how many messages one pull takes at most.
	controlBatch = 256
	// controlIdle is how long the server keeps the consumer of a follower that has gone.
	controlIdle = time.Minute
)

// errControlGap says that a message of the control stream did not arrive.
var errControlGap = errors.New("a control message is missing")

// askOwner leaves word that the response is to be cancelled. Word stays until its age has come: ids are not used twice.
func (b *Broker) askOwner(ctx context.Context, p place) error {
	_, err := insist(ctx, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := b.conns.outages.try(ctx)
		defer cancel()
		_, err := b.js.PublishMsg(ctx, nats.NewMsg(p.control()), jetstream.WithRetryAttempts(0))
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("ask owner of %s: %w", p.ref, err)
	}
	return nil
}

// CancelAsked reports whether somebody has asked to cancel the response, by the word of the stream leader. Who takes a run
// over asks behind its claim: from then on [Broker.Cancels] tells.
func (b *Broker) CancelAsked(ctx context.Context, ref schema.Ref) (bool, error) {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return false, err
	}
	word, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.last(ctx, controlStream, p.control()) })
	if err != nil {
		return false, fmt.Errorf("ask whether %s was cancelled: %w", ref, err)
	}
	return word != nil, nil
}

// Cancels calls cancelled for every response that somebody asks to cancel, in the whole cluster, perhaps more than once, and
// for those of the last minute. It returns nil when ctx ends, and ErrClosed when the broker is closed. It outlasts outages:
// what was asked for meanwhile comes afterwards. One call serves a node.
func (b *Broker) Cancels(ctx context.Context, cancelled func(schema.Ref)) error {
	f := &controls{
		broker: b, js: mustJetStream(b.conns.queue), tell: cancelled,
		start: jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: new(b.serverTime(ctx).Add(-controlBack)),
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: controlIdle,
		},
	}
	var wait backoff
	for ctx.Err() == nil {
		err := f.follow(ctx, &wait)
		switch {
		case ctx.Err() != nil:
		case closed(err):
			return fmt.Errorf("follow cancels: %w", ErrClosed)
		default:
			b.log.Warn("follow cancels", "error", err)
			_ = wait.wait(ctx) // the loop sees ctx's end
		}
	}
	return nil
}

// serverTime is the time by the server's clock, or by ours where it does not answer: then more, or less, is told of what was
// before, which the fence makes up for.
func (b *Broker) serverTime(ctx context.Context) time.Time {
	try, cancel := b.conns.outages.try(ctx)
	defer cancel()
	s, err := b.js.Stream(try, controlStream)
	if err != nil {
		return time.Now()
	}
	return s.CachedInfo().TimeStamp
}

// controls follows the control stream in order: where a consumer has lost its way, another one begins behind what was seen.
type controls struct {
	broker *Broker
	js     jetstream.JetStream
	tell   func(schema.Ref)
	start  jetstream.ConsumerConfig
}

// follow makes a consumer and reads until that fails or ctx ends.
func (f *controls) follow(ctx context.Context, wait *backoff) error {
	try, cancel := f.broker.conns.outages.try(ctx)
	consumer, err := f.js.CreateConsumer(try, controlStream, f.start)
	cancel()
	if err != nil {
		return err
	}
	defer f.drop(ctx, consumer)
	*wait = backoff{}
	for due := uint64(1); ctx.Err() == nil; {
		if due, err = f.pull(ctx, consumer, due); err != nil {
			return err
		}
	}
	return nil
}

// pull takes messages for as long as one try lasts. due is the consumer's number of the next one.
func (f *controls) pull(ctx context.Context, consumer jetstream.Consumer, due uint64) (uint64, error) {
	try, cancel := f.broker.conns.outages.try(ctx)
	defer cancel()
	batch, err := consumer.Fetch(controlBatch, jetstream.FetchContext(try))
	if err != nil {
		return due, err
	}
	for msg := range batch.Messages() {
		if err := f.take(msg, due); err != nil {
			return due, err
		}
		due++
	}
	return due, batch.Error()
}

func (f *controls) take(msg jetstream.Msg, due uint64) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	if meta.Sequence.Consumer != due {
		return errControlGap
	}
	f.start.DeliverPolicy, f.start.OptStartTime = jetstream.DeliverByStartSequencePolicy, nil
	f.start.OptStartSeq = meta.Sequence.Stream + 1
	f.pass(msg.Subject())
	return nil
}

func (f *controls) pass(subject string) {
	ref, err := controlRef(subject)
	if err != nil {
		f.broker.log.Error("control message without a response", "error", err)
		return
	}
	f.tell(ref)
}

// drop takes the consumer away at once where that is possible; else the server does after controlIdle.
func (f *controls) drop(ctx context.Context, consumer jetstream.Consumer) {
	try, cancel := f.broker.conns.outages.try(context.WithoutCancel(ctx))
	defer cancel()
	if err := f.js.DeleteConsumer(try, controlStream, consumer.CachedInfo().Name); err != nil {
		f.broker.log.Debug("consumer of cancels not deleted", "error", err)
	}
}
