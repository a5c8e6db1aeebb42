package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// maxBuffered bounds the bytes that wait in a Writer; then Append waits. It outlasts an election of 10 s at 1 500 events a
// second. One event more than it always fits.
const maxBuffered = 4 << 20

// Writer appends to one log, in the order of its calls: everything that comes while an append is under way forms the next
// record. Append and Commit are for one goroutine at a time; the other methods may be called from any.
//
// The first thing to commit is the attempt's claim. From then on, every append of an earlier attempt fails.
type Writer struct {
	b       *Broker
	place   place
	attempt int
	nonce   string

	mu     sync.Mutex
	queue  queue
	urgent int           // drafts up to this count have somebody waiting for them
	freed  chan struct{} // closed and made anew when there is room again
	last   *draft
	err    error

	kick   chan struct{} // there is something to append, or to append sooner
	dead   chan struct{} // closed with err
	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup
	silent func() // stops listening to the live subject

	// Of the goroutine that appends.
	position uint64
	claimed  atomic.Uint64 // position of this writer's first record; 0 before it
	chain    schema.Digest
	pace     pace
	now      func() time.Time

	kept     *keeper
	archived bool // there is nothing to append to, and nothing to seal
}

// Writer returns the writer of an attempt behind h. Nothing is written until the first call; if somebody has appended behind h
// since, that one fails with ErrFenced. Behind a history from the archive nothing can be written: the writer is dead, with
// ErrGone. The nonce tells apart two workers that count the same attempt. Close it.
func (b *Broker) Writer(h *History, attempt int, nonce string) *Writer {
	ctx, cancel := context.WithCancel(context.Background())
	last := &h.Records[len(h.Records)-1]
	w := &Writer{
		b: b, attempt: attempt, nonce: nonce,
		place: place{h.Ref, partition(h.Ref.Response(), b.partitions)},
		queue: queue{next: last.Last + 1}, freed: make(chan struct{}),
		kick: make(chan struct{}, 1), dead: make(chan struct{}), ctx: ctx, cancel: cancel,
		position: h.position, chain: last.Chain, now: time.Now, kept: newKeeper(h), archived: h.archived,
	}
	b.metrics.writers.Inc()
	w.listen(h.position)
	if h.archived {
		// The log is empty again: an append that expects nothing there would begin it a second time.
		w.fail(ErrGone)
	}
	w.ended.Go(w.run)
	return w
}

// Append queues events for the next record of kind events, and returns before they are durable. It waits while the buffer is
// full. Its errors: ErrOrder for an event that is not the next, an error of the writer once that is dead (see Err), or
// ctx's. What stands before the event at fault in the call is queued.
func (w *Writer) Append(ctx context.Context, events ...schema.Event) error {
	for i := range events {
		if err := w.admit(ctx); err != nil {
			return fmt.Errorf("append to log %s: %w", w.place.ref, err)
		}
		w.mu.Lock()
		err := w.queue.push(&events[i])
		w.mu.Unlock()
		w.wake()
		if err != nil {
			return fmt.Errorf("append to log %s: %w", w.place.ref, err)
		}
	}
	return w.Err()
}

// Commit writes one record of that kind, with a private body and perhaps frames, behind everything that was appended. It
// returns nil once the record is durable, without waiting for others to share it. When ctx ends first it returns ctx's
// error, and the record may still be written.
func (w *Writer) Commit(ctx context.Context, kind schema.Kind, body []byte, events ...schema.Event) error {
	if err := w.admit(ctx); err != nil {
		return fmt.Errorf("commit %s to log %s: %w", kind, w.place.ref, err)
	}
	w.mu.Lock()
	d, err := w.queue.commit(kind, body, events)
	w.mu.Unlock()
	if err == nil {
		err = w.await(ctx, d)
	}
	if err != nil {
		return fmt.Errorf("commit %s to log %s: %w", kind, w.place.ref, err)
	}
	return nil
}

// Flush returns nil once everything that was appended is durable.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	d := w.last
	if n := len(w.queue.drafts); n > 0 {
		d = w.queue.drafts[n-1]
	}
	w.mu.Unlock()
	if d == nil {
		return w.Err()
	}
	if err := w.await(ctx, d); err != nil {
		return fmt.Errorf("flush log %s: %w", w.place.ref, err)
	}
	return nil
}

// Claimed returns when the first record of this writer, its claim, was stored: by the server's clock, which History.Began and
// Job.Queued tell too. Those times can be compared; a clock of our own may be off by any amount. Call it behind that record's
// Commit.
func (w *Writer) Claimed(ctx context.Context) (time.Time, error) {
	first, err := insist(ctx, func(ctx context.Context) (*stored, error) {
		s, err := w.b.ask(ctx, w.place.logStream(), leaderQuery{Seq: w.claimed.Load()})
		if s == nil && err == nil {
			err = errors.New("the leader does not know it yet")
		}
		return s, err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("read claim of %s: %w", w.place.ref, err)
	}
	return first.at, nil
}

// Fenced is closed once the writer can append no more, because another attempt owns the log, or for another reason. Stop
// heartbeat, model and tools at once; Err says why.
func (w *Writer) Fenced() <-chan struct{} { return w.dead }

// Err returns nil while the writer lives, then ErrFenced, ErrGone, ErrClosed or what JetStream refused with.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close stops the writer and waits for it. What is not durable by then may be written or not: call Flush first.
func (w *Writer) Close() {
	w.fail(ErrClosed)
	w.ended.Wait()
	w.silent()
}

// listen hears of foreign claims and of an erasure, so that a worker learns of it while it appends nothing.
func (w *Writer) listen(behind uint64) {
	stop, err := w.b.live.listen(w.place.live(), func(h *heard) {
		if h.gone {
			w.fail(ErrGone)
			return
		}
		if h.Nonce != w.nonce && h.position > behind {
			w.fail(ErrFenced)
		}
	})
	if err != nil {
		// The fence holds without it: the next append finds out.
		w.b.log.Warn("writer does not hear of claims", "response", w.place.ref.Response(), "error", err)
		stop = func() {}
	}
	w.silent = stop
}

// admit waits for room in the buffer.
func (w *Writer) admit(ctx context.Context) error {
	for {
		w.mu.Lock()
		err, room, freed := w.err, w.queue.bytes < maxBuffered, w.freed
		w.mu.Unlock()
		if err != nil || room {
			return err
		}
		select {
		case <-freed:
		case <-w.dead:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await waits until d is durable, and hurries it.
func (w *Writer) await(ctx context.Context, d *draft) error {
	w.mu.Lock()
	w.urgent = len(w.queue.drafts)
	w.mu.Unlock()
	w.wake()
	select {
	case <-d.stored:
		return nil
	case <-w.dead:
		return w.verdict(d)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verdict prefers good news: d may have been stored in the moment in which the writer died.
func (w *Writer) verdict(d *draft) error {
	select {
	case <-d.stored:
		return nil
	default:
		return w.Err()
	}
}

func (w *Writer) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// fail ends the writer with its first error.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = err
	close(w.dead)
	w.cancel()
	w.b.metrics.writers.Dec()
	if !errors.Is(err, ErrClosed) {
		w.b.metrics.lost.WithLabelValues(lostReason(err)).Inc()
	}
}

func lostReason(err error) string {
	switch {
	case errors.Is(err, ErrFenced):
		return "fenced"
	case errors.Is(err, ErrGone):
		return "gone"
	}
	return "refused"
}

// run appends draft after draft: there is never more than one append of a log under way.
func (w *Writer) run() {
	var answered time.Time
	for {
		d := w.take(answered)
		if d == nil {
			return
		}
		if err := w.store(d); err != nil {
			w.fail(err)
			return
		}
		answered = time.Now()
	}
}

// take waits for the next draft and for its time. It returns nil when the writer is dead.
func (w *Writer) take(answered time.Time) *draft {
	for {
		d, wait := w.due(answered)
		if d != nil {
			return d
		}
		timer := time.NewTimer(wait)
		select {
		case <-w.kick:
		case <-timer.C:
		case <-w.dead:
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// due pops the first draft if its time has come; else it returns how long that is off.
func (w *Writer) due(answered time.Time) (*draft, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(w.queue.drafts) == 0 {
		return nil, time.Hour
	}
	wait := w.pace.pause() - time.Since(answered)
	if w.urgent == 0 && len(w.queue.drafts) == 1 && wait > 0 {
		return nil, wait
	}
	w.urgent = max(0, w.urgent-1)
	w.last = w.queue.pop()
	return w.last, 0
}

// store appends d to the log.
func (w *Writer) store(d *draft) error {
	began := w.now()
	e := entry{schema.Record{
		Time: began.UnixMilli(), Kind: d.kind, First: d.first, Last: d.first + int64(d.events) - 1,
		Attempt: w.attempt, Nonce: w.nonce, Body: d.body, Frames: d.frames,
	}}
	e.Seal(w.chain)
	header, payload := e.encode()
	position, err := w.b.append(w.ctx, &message{
		stream: w.place.logStream(), subject: w.place.log(), header: header, data: payload, expect: w.position,
		mine: func(s *stored) bool { return s.isRecord(e.Chain) },
	})
	if errors.Is(err, errTaken) {
		return ErrFenced
	}
	if err != nil {
		return err
	}
	took := w.now().Sub(began)
	w.pace.answered(took)
	w.b.metrics.appended(&e, took)
	w.position, w.chain = position, e.Chain
	w.claimed.CompareAndSwap(0, position)
	w.kept.add(e)
	w.free(d)
	return nil
}

// free gives the room of d back.
func (w *Writer) free(d *draft) {
	close(d.stored)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue.bytes -= d.size()
	close(w.freed)
	w.freed = make(chan struct{})
}
