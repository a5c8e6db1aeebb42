package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// A batched read makes writers of its stream wait until the server has found the batch, so batches are small and few at a
// time.
const (
	replayBatch   = 256
	replayBytes   = 1 << 20
	replaysAtOnce = 2 // of a partition, on this node
)

// gate admits so many replays of a partition at once.
type gate chan struct{}

func newGates(partitions int) []gate {
	gates := make([]gate, partitions)
	for i := range gates {
		gates[i] = make(gate, replaysAtOnce)
	}
	return gates
}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

// replay yields the records behind after, in order, up to upto or the end that a replica knows of: a stale one gives a
// prefix. Where yield finds that a record does not follow, the leader says which one does. yield must not block: another
// replay may wait for this one to end.
func (b *Broker) replay(ctx context.Context, p place, after, upto uint64, yield func(*heard) error) error {
	g := b.gates[p.partition]
	if err := g.enter(ctx); err != nil {
		return fmt.Errorf("replay %s: %w", p.ref, err)
	}
	defer g.leave()
	for after < upto {
		last, err := b.batch(ctx, p, after, upto, yield)
		if doubtful(err) {
			last, err = b.mend(ctx, p, last, err, yield)
		}
		if err != nil {
			return fmt.Errorf("replay %s behind %d: %w", p.ref, after, err)
		}
		if last == after {
			return nil
		}
		after = last
	}
	return nil
}

// batch yields the next records behind after and returns the position of the last.
func (b *Broker) batch(ctx context.Context, p place, after, upto uint64, yield func(*heard) error) (uint64, error) {
	previous := after
	return b.fetch(ctx, p.logStream(), p.log(), after, upto, func(m *jetstream.RawStreamMsg) error {
		h, err := recordOf(m)
		if err != nil {
			return err
		}
		h.previous, previous = previous, m.Sequence
		return yield(h)
	})
}

// fetch yields the next messages of a subject behind after and returns the position of the last.
func (b *Broker) fetch(
	ctx context.Context, stream, subject string, after, upto uint64, yield func(*jetstream.RawStreamMsg) error,
) (uint64, error) {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, b.replays, stream, replayBatch,
		jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchSeq(after+1), jetstreamext.GetBatchMaxBytes(replayBytes))
	if err != nil {
		return after, err
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) || (err == nil && m.Sequence > upto) {
			return after, nil
		}
		if err != nil {
			return after, err
		}
		if err := yield(m); err != nil {
			return after, err
		}
		after = m.Sequence
	}
	return after, ctx.Err() // the batch ends without an error where its time ran out
}

func recordOf(m *jetstream.RawStreamMsg) (*heard, error) {
	e, err := decode(m.Header, m.Data)
	if err != nil {
		return nil, err
	}
	return &heard{entry: e, position: m.Sequence, stored: m.Time}, nil
}
