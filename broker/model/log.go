package model

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// Log holds the logs of all responses. Safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	logs map[schema.Ref][]schema.Record
	gone map[schema.Ref]bool
}

// New returns an empty Log.
func New() *Log {
	return &Log{logs: make(map[schema.Ref][]schema.Record), gone: make(map[schema.Ref]bool)}
}

// Begin appends the first record, as broker.Broker.Begin does.
func (l *Log) Begin(_ context.Context, rec schema.Record, ref schema.Ref) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.logs[ref]
	if len(log) == 0 {
		l.logs[ref] = []schema.Record{rec}
		return nil
	}
	if log[0].Chain != rec.Chain {
		return broker.ErrExists
	}
	return nil
}

// Read returns every record.
func (l *Log) Read(_ context.Context, ref schema.Ref) ([]schema.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.lookUp(ref); err != nil {
		return nil, err
	}
	return slices.Clone(l.logs[ref]), nil
}

func (l *Log) lookUp(ref schema.Ref) error {
	switch {
	case l.gone[ref]:
		return broker.ErrGone
	case len(l.logs[ref]) == 0:
		return broker.ErrNotFound
	}
	return nil
}

// Cancel ends a response. Nobody has to be asked: no owner comes in between here.
func (l *Log) Cancel(_ context.Context, ref schema.Ref) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.lookUp(ref); err != nil {
		return err
	}
	run, err := schema.FoldRun(ref, l.logs[ref])
	if err != nil || run.State.Ended() {
		return err
	}
	first := run.State.Next()
	events, err := run.CancelFromLog()
	rec := schema.Record{Kind: schema.RecordClaim, First: first, Last: run.State.Next() - 1, Attempt: run.Attempt + 1, Nonce: "cancel"}
	for i := 0; err == nil && i < len(events); i++ {
		rec.Frames, err = schema.AppendFrame(rec.Frames, &events[i])
	}
	if err == nil {
		rec.Seal(run.Chain)
		l.logs[ref] = append(l.logs[ref], rec)
	}
	return err
}

// Delete ends a response and hides it for ever.
func (l *Log) Delete(ctx context.Context, ref schema.Ref) error {
	if err := l.Cancel(ctx, ref); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone[ref] = true
	return nil
}

// Writer returns a writer behind what is in the log now.
func (l *Log) Writer(_ context.Context, ref schema.Ref, attempt int, nonce string) (*Writer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.lookUp(ref); err != nil {
		return nil, err
	}
	log := l.logs[ref]
	return &Writer{log: l, ref: ref, attempt: attempt, nonce: nonce, known: len(log), next: log[len(log)-1].Last + 1}, nil
}

// Writer appends behind the records that it knows of.
type Writer struct {
	log     *Log
	ref     schema.Ref
	attempt int
	nonce   string

	known int   // records
	next  int64 // sequence number
	err   error
}

// Append writes each event at once.
func (w *Writer) Append(ctx context.Context, events ...schema.Event) error {
	for i := range events {
		if err := w.Commit(ctx, schema.RecordEvents, nil, events[i]); err != nil {
			return err
		}
	}
	return w.Err()
}

// Commit writes one record, if nobody else has written since.
func (w *Writer) Commit(_ context.Context, kind schema.Kind, body []byte, events ...schema.Event) error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	rec := schema.Record{Kind: kind, First: w.next, Last: w.next - 1, Attempt: w.attempt, Nonce: w.nonce, Body: body}
	for i := range events {
		if rec.Last++; events[i].SequenceNumber != rec.Last {
			return fmt.Errorf("%w: %d", broker.ErrOrder, events[i].SequenceNumber)
		}
		frames, err := schema.AppendFrame(rec.Frames, &events[i])
		if err != nil {
			return err
		}
		rec.Frames = frames
	}
	log := w.log.logs[w.ref]
	if len(log) != w.known {
		w.err = broker.ErrFenced
		return w.err
	}
	rec.Seal(log[len(log)-1].Chain)
	w.log.logs[w.ref] = append(log, rec)
	w.known, w.next = w.known+1, rec.Last+1
	return nil
}

// Flush has nothing to wait for.
func (w *Writer) Flush(context.Context) error { return w.Err() }

// Seal changes nothing: what was sealed is the log.
func (w *Writer) Seal(context.Context, bool) error { return w.Err() }

// Err says why the writer is dead.
func (w *Writer) Err() error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.err
}

// Close kills the writer.
func (w *Writer) Close() {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.err == nil {
		w.err = broker.ErrClosed
	}
}
