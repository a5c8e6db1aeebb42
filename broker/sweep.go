package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// The budget of a sweep. It reads no record of the hot log but the first of an orphan: which responses there are, it asks of
// the stream's index, which is in memory. Measured, 120 000 responses in one partition take 0.7 s to list, and a writer waits
// 0.2 s at most meanwhile. Then it asks the archive's leader once for each response that it does not know to be over, and
// rests in between; writers notice nothing of that.
const (
	// sweepRest is the least rest between two questions: no more than 200 of them a second, whatever there is to look at.
	sweepRest = 5 * time.Millisecond
	// sweepShare rests so many times as long as a question took: a server that is slow is asked less.
	sweepShare = 4
)

// sweeper is what one node remembers between its sweeps.
type sweeper struct {
	mu   sync.Mutex // one sweep at a time
	seed maphash.Seed
	done []map[uint64]struct{} // by partition, hashes of the responses in the log that are known to be over
	fed  map[uint64]struct{}   // hashes of those that producers send to and that are known to have been opened
}

func newSweeper(partitions int) *sweeper {
	return &sweeper{seed: maphash.MakeSeed(), done: make([]map[uint64]struct{}, partitions)}
}

// SweepRuns looks through all responses of the hot log for runs that have neither a job nor an archive, and puts each back
// into the queue, from the command in its log. It returns how many those were. It also opens what producers send to and nobody
// has opened. It is slow on purpose, may be called on several nodes at once, and goes on behind what it could not look at: the
// error tells of that, of a *CorruptError too.
func (b *Broker) SweepRuns(ctx context.Context) (found int, err error) {
	b.sweeper.mu.Lock()
	defer b.sweeper.mu.Unlock()
	var errs []error
	for partition := range b.partitions {
		n, err := b.sweepPartition(ctx, partition)
		found += n
		if ctx.Err() != nil {
			return found, fmt.Errorf("sweep runs: %w", ctx.Err())
		}
		errs = append(errs, err)
	}
	errs = append(errs, b.sweepFed(ctx))
	if err := errors.Join(errs...); err != nil {
		return found, fmt.Errorf("sweep runs: %w", err)
	}
	return found, nil
}

func (b *Broker) sweepPartition(ctx context.Context, partition int) (found int, err error) {
	logs, err := b.subjects(ctx, place{partition: partition}.logStream(), logSubjects(partition))
	if err != nil {
		return 0, err
	}
	jobs, err := b.subjects(ctx, runStream, runSubjects) // behind the logs: see orphan.go
	if err != nil {
		return 0, err
	}
	var errs []error
	var look []schema.Ref
	for subject := range logs {
		ref, err := logRef(subject)
		if err != nil {
			errs = append(errs, err)
		} else if _, waits := jobs[runSubject(ref)]; !waits {
			look = append(look, ref)
		}
	}
	err = b.sweeper.lookAtAll(ctx, &b.sweeper.done[partition], look, func(ref schema.Ref) (over bool, err error) {
		prospect, err := b.adopt(ctx, place{ref, partition}, bySweep)
		if prospect == runLost && err == nil {
			found++
		}
		return prospect == runOver, err
	})
	return found, errors.Join(append(errs, err)...)
}

// lookAtAll looks at the responses that are not known to be over, and remembers in known which are; of those that are not among
// them any more nothing is remembered. It goes on behind a log that is damaged, and stops at any other error: then what it has not
// looked at is known as before.
func (s *sweeper) lookAtAll(
	ctx context.Context, known *map[uint64]struct{}, all []schema.Ref, look func(schema.Ref) (over bool, err error),
) error {
	before, now := *known, map[uint64]struct{}{}
	*known = now
	var errs []error
	for _, ref := range all {
		hash := maphash.String(s.seed, ref.String())
		if _, over := before[hash]; over {
			now[hash] = struct{}{}
		}
		if _, over := now[hash]; over {
			continue
		}
		over, err := atLeisure(ctx, func() (bool, error) { return look(ref) })
		if over {
			now[hash] = struct{}{}
		}
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("look at %s: %w", ref, err))
		if _, damaged := errors.AsType[*CorruptError](err); !damaged {
			maps.Copy(now, before)
			break
		}
	}
	return errors.Join(errs...)
}

// atLeisure does something, and rests.
func atLeisure(ctx context.Context, do func() (bool, error)) (bool, error) {
	began := time.Now()
	done, err := do()
	rest := time.NewTimer(max(sweepRest, sweepShare*time.Since(began)))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return done, err
}

// subjects lists what a stream holds, by the leader's index.
func (b *Broker) subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	info, err := insist(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		ctx, cancel := b.conns.outages.try(ctx)
		defer cancel()
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			return nil, err
		}
		return s.Info(ctx, jetstream.WithSubjectFilter(filter))
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", stream, err)
	}
	return info.State.Subjects, nil
}
