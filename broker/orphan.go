package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// An orphan is a run that nobody will go on with: its log is there, and has neither a job in the queue nor an archive. A job is
// there before its log begins and is acked behind the seal, so a healthy run never looks like one, if the log is looked at
// first, then the queue, then the archive. What comes of a stale answer, or of several nodes that look at once, is harmless:
// where a job is, no second one can be put, and a job of a run that was sealed is acked by whoever takes it.

// Who found an orphan, or a response that is to be opened, in the metrics.
const (
	bySweep  = "sweep"
	byReader = "reader"
	byWord   = "word" // that a producer has sent something
)

// prospect is what will become of a run.
type prospect int

const (
	runWaits prospect = iota // it has a job
	runOver                  // it is sealed, erased, or has aged out
	runLost                  // it has neither
)

// adopt puts an orphan back into the queue: runLost says that it was one. The command is the log's own; its secrets are lost with
// the job.
func (b *Broker) adopt(ctx context.Context, p place, by string) (prospect, error) {
	found, err := b.prospect(ctx, p)
	if found != runLost || err != nil {
		return found, err
	}
	cmd, err := b.commandOf(ctx, p)
	if cmd == nil || err != nil {
		return runOver, err
	}
	err = b.enqueue(ctx, p, cmd, nil)
	if errors.Is(err, ErrExists) {
		return runWaits, nil // another node was quicker
	}
	if err != nil {
		return runWaits, err
	}
	b.metrics.orphans.WithLabelValues(by).Inc()
	b.log.Warn("run had neither a job nor an archive: put back into the queue", "response", p.ref.Response(), "found_by", by)
	return runLost, nil
}

// prospect asks the leaders of queue and archive, in this order.
func (b *Broker) prospect(ctx context.Context, p place) (prospect, error) {
	job, err := b.last(ctx, runStream, p.run())
	if job != nil || err != nil {
		return runWaits, err
	}
	for _, subject := range []string{p.part(0), p.gone()} {
		sealed, err := b.last(ctx, p.archiveStream(), subject)
		if sealed != nil || err != nil {
			return runOver, err
		}
	}
	return runLost, nil
}

// commandOf reads the command out of a log's first record; nil where the log has aged out.
func (b *Broker) commandOf(ctx context.Context, p place) (*schema.Command, error) {
	first, err := b.first(ctx, p.logStream(), p.log())
	if first == nil || err != nil {
		return nil, err
	}
	e, err := decode(first.header, first.data)
	if err != nil {
		return nil, &CorruptError{Ref: p.ref, Err: err}
	}
	r := newReader(p.ref)
	if err := r.verify(&e.Record); err != nil {
		return nil, &CorruptError{Ref: p.ref, Err: err}
	}
	cmd, err := schema.ParseCommand(e.Body)
	if err == nil && cmd.Ref() != p.ref {
		err = fmt.Errorf("its command is that of %s", cmd.Ref())
	}
	if err != nil {
		return nil, &CorruptError{Ref: p.ref, Err: err}
	}
	return cmd, nil
}

// lookTime bounds one look for a reader: his hub waits for it, and looks again.
const lookTime = 5 * time.Second

// lookFor is for a response that somebody reads and that has been silent: it asks whether anybody is to go on with it.
func (b *Broker) lookFor(ctx context.Context, ref schema.Ref) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	p, err := locate(ref, b.partitions)
	if err == nil {
		_, err = b.adopt(ctx, p, byReader)
	}
	if err != nil && ctx.Err() == nil {
		b.log.Warn("silent response not looked after", "response", ref.Response(), "error", err)
	}
}
