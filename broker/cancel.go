package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// cancelSeal bounds how long a Cancel that has ended a response itself tries to seal it. What is left, the response's job does.
const cancelSeal = time.Second

// Cancel ends a response, whoever works on it. It returns nil once the response's one terminal event is durable: with status
// cancelled, or with whatever it had ended before, and then nothing is written. Nothing stands behind that event.
//
// A response that nobody works on is claimed and ended here, in one record; one that waits in the queue and has no log yet gets
// it here first. Else its owner is asked to end it; one that has
// not within Config.CancelPatience, because it is dead, paused or cut off, loses the log to this call, which then ends the
// response with what the log tells. It goes on until ctx ends. Its errors are ErrNotFound, ErrGone, a *CorruptError, and
// ctx's.
func (b *Broker) Cancel(ctx context.Context, ref schema.Ref) error {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return err
	}
	if err := b.cancel(ctx, p, true); err != nil {
		return fmt.Errorf("cancel %s: %w", ref, err)
	}
	return nil
}

// cancel is Cancel; whoever is about to erase the response does not seal it.
func (b *Broker) cancel(ctx context.Context, p place, seal bool) error {
	if err := b.refuseGone(ctx, p); err != nil {
		return err
	}
	c := &cancellation{b: b, place: p, nonce: rand.Text(), seal: seal}
	for {
		ended, err := c.step(ctx)
		if errors.Is(err, ErrFenced) {
			continue // somebody else has appended: what is there to be done may be another thing now
		}
		if ended || err != nil {
			return err
		}
	}
}

// cancellation is one call of Cancel. Until it has ended the response it knows nothing but the log's last record.
type cancellation struct {
	b     *Broker
	place place
	nonce string
	seal  bool
	asked string // nonce of the owner that had its time; the next one, who may be another Cancel, has its own
}

// step does the next thing that the log's last record asks for, and reports whether the response has ended.
func (c *cancellation) step(ctx context.Context) (ended bool, err error) {
	last, err := c.last(ctx)
	switch {
	case err != nil:
		return false, err
	case last == nil: // aged out, not begun yet, or never there
		return c.begin(ctx)
	case schema.Ends(last.Frames):
		by := "ended"
		if c.asked != "" {
			by = "owner" // it ended while it was being asked
		}
		c.b.metrics.cancels.WithLabelValues(by).Inc()
		return true, nil
	case last.Attempt == 0, last.Kind == schema.RecordRelease, last.Nonce == c.nonce:
		return true, c.end(ctx)
	case last.Nonce != c.asked:
		c.asked = last.Nonce
		return c.ask(ctx), nil
	}
	return false, c.claim(ctx, last)
}

// begin begins the log of a response that is queued, and has none yet: the next step ends it then. It reports whether the
// response is sealed, which is all that is left of one whose log has aged out. The queue is asked before log and archive: a
// job leaves it only when those have the response, so one that is in none of them is not there.
func (c *cancellation) begin(ctx context.Context) (ended bool, err error) {
	cmd, err := c.b.queued(ctx, c.place)
	if err != nil {
		return false, err
	}
	h, err := c.b.Read(ctx, c.place.ref)
	if cmd == nil || !errors.Is(err, ErrNotFound) {
		return err == nil && h.archived, err
	}
	rec, err := cmd.RequestRecord()
	if err != nil {
		return false, fmt.Errorf("begin queued run: %w", err)
	}
	err = c.b.Begin(ctx, rec, c.place.ref)
	if errors.Is(err, ErrExists) { // whoever was faster had another command: that one's log is what there is to end
		err = nil
	}
	return false, err
}

// last returns the log's last record; nil where there is none.
func (c *cancellation) last(ctx context.Context) (*heard, error) {
	s, err := insist(ctx, func(ctx context.Context) (*stored, error) {
		return c.b.last(ctx, c.place.logStream(), c.place.log())
	})
	if err != nil || s == nil {
		return nil, err
	}
	e, err := decode(s.header, s.data)
	if err != nil {
		return nil, &CorruptError{Ref: c.place.ref, Err: err}
	}
	return &heard{entry: e, position: s.position}, nil
}

// ask sends the owner word, and reports whether the response ended within the owner's time. It listens first, then sends,
// then looks: an end that comes in between is not missed.
func (c *cancellation) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.b.cfg.CancelPatience)
	defer cancel()
	over := make(chan struct{}, 1)
	stop, err := c.b.live.listen(c.place.live(), func(h *heard) {
		if h.gone || schema.Ends(h.Frames) {
			select {
			case over <- struct{}{}:
			default:
			}
		}
	})
	if err == nil {
		defer stop()
		err = c.b.askOwner(ctx, c.place)
	}
	if err != nil {
		c.b.log.Warn("owner not asked to cancel", "response", c.place.ref.Response(), "error", err)
		return false
	}
	if last, err := c.last(ctx); err == nil && (last == nil || schema.Ends(last.Frames)) {
		return false // the next step says what it means
	}
	select {
	case <-over:
		c.b.metrics.cancels.WithLabelValues("owner").Inc()
		return true
	case <-ctx.Done():
		return false
	}
}

// claim takes the log away from an owner that does not answer. It needs the last record only: an owner that appends all the
// time would be ahead of whoever reads the whole log first.
func (c *cancellation) claim(ctx context.Context, last *heard) error {
	rec := schema.Record{
		Kind: schema.RecordClaim, Time: time.Now().UnixMilli(), First: last.Last + 1, Last: last.Last,
		Attempt: last.Attempt + 1, Nonce: c.nonce, Body: cancelClaim,
	}
	rec.Seal(last.Chain)
	e := entry{rec}
	header, payload := e.encode()
	_, err := c.b.append(ctx, &message{
		stream: c.place.logStream(), subject: c.place.log(), header: header, data: payload, expect: last.position,
		mine: func(s *stored) bool { return s.isRecord(rec.Chain) },
	})
	if errors.Is(err, errTaken) {
		return ErrFenced
	}
	if err == nil {
		c.b.metrics.cancels.WithLabelValues("fence").Inc()
	}
	return err
}

// cancelClaim is the body of the claim by which a Cancel takes a log: a [schema.Claim]. Who takes the run over from a Cancel
// that died behind it ends the response, and does not go on with it.
var cancelClaim = []byte(`{"node":"","cancel":true}`)

// end ends the response of a log that nobody owns, or that is ours.
func (c *cancellation) end(ctx context.Context) error {
	h, err := c.b.Read(ctx, c.place.ref)
	if err != nil {
		return err
	}
	fold, err := schema.FoldRun(h.Ref, h.Records)
	if err != nil {
		return err
	}
	if fold.State.Ended() {
		return nil
	}
	w := c.writer(h, fold)
	defer w.Close()
	if err := c.write(ctx, w, fold); err != nil {
		return err
	}
	if c.seal {
		c.sealWith(ctx, w, fold.State.Response().Store)
	}
	return nil
}

func (c *cancellation) writer(h *History, fold *schema.Run) *Writer {
	if fold.Nonce == c.nonce {
		return c.b.Writer(h, fold.Attempt, c.nonce)
	}
	return c.b.Writer(h, fold.Attempt+1, c.nonce)
}

// write appends the end. That of a run which nobody has begun to work at is small, and goes into the claim's own record; but
// what a response leaves in a conversation stands there behind the claim, and before the end.
func (c *cancellation) write(ctx context.Context, w *Writer, fold *schema.Run) error {
	ours := fold.Nonce == c.nonce
	together := fold.Attempt == 0 && fold.Command.Conversation == nil
	events, err := fold.CancelFromLog()
	switch {
	case err != nil:
		return err
	case together:
		err = w.Commit(ctx, schema.RecordClaim, cancelClaim, events...)
	case !ours:
		err = w.Commit(ctx, schema.RecordClaim, cancelClaim)
	}
	if !ours && err == nil {
		c.b.metrics.cancels.WithLabelValues("nobody").Inc()
	}
	if together || err != nil {
		return err
	}
	if err := c.b.contribute(ctx, fold, w.attempt, events[len(events)-1].Response); err != nil {
		return err
	}
	if err := w.Append(ctx, events...); err != nil {
		return err
	}
	return w.Flush(ctx)
}

func (c *cancellation) sealWith(ctx context.Context, w *Writer, keep bool) {
	ctx, cancel := context.WithTimeout(ctx, cancelSeal)
	defer cancel()
	if err := w.Seal(ctx, keep); err != nil && !errors.Is(err, ErrGone) {
		c.b.log.Warn("cancelled response not sealed yet", "response", c.place.ref.Response(), "error", err)
	}
}
