package producers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// A response that other producers feed is relayed: what they send is stored in one order, and the relay makes events of it in
// that order, and decides by nothing else. So the attempt that takes over reads everything again, says again what the log has
// already, event for event, and goes on behind it.
//
// What does decide by something else is how a relay is given up: a producer was silent for too long, the response was
// cancelled, or its time is over. Then all that is open is closed, and the terminal event written, in one record. Where the
// log holds what cannot be made from what was sent, the response fails.

// relay makes one response of what its producers send. calls ends when the response is cancelled or its time is over.
func (r *run) relay(ctx, calls context.Context) error {
	feed, err := r.node.Feeds.Feed(r.ref)
	if err != nil {
		return err
	}
	defer feed.Close()
	if err := r.rewindToStart(); err != nil {
		return err
	}
	steps, leave := r.shift.until(calls)
	defer leave()
	y := &relaying{run: r, feed: feed, merged: schema.NewRelay(r.seq, r.req.Producers()), heard: map[string]time.Time{}}
	cause := y.walk(steps)
	y.tellOverruled()
	switch {
	case cause == nil:
		t, said, _ := y.merged.Outcome()
		return r.finishRelay(ctx, y.merged, t, said)
	case ctx.Err() != nil, r.log.Err() != nil:
		return cause
	case errors.Is(context.Cause(calls), errCancelled):
		r.forgetReplay()
		events, err := r.fold.Cancel(r.seq)
		return r.closeAtOnce(ctx, events, err)
	case errors.Is(context.Cause(calls), errRunExpired):
		return r.failRelay(ctx, y.merged, expired())
	case r.shift.ends():
		return cause
	case errors.Is(cause, schema.ErrOutputFull):
		return r.finishRelay(ctx, y.merged, schema.Incomplete, &schema.Response{
			IncompleteDetails: &schema.IncompleteDetails{Reason: schema.IncompleteTokens},
		})
	}
	r.node.Logger.Warn("relay failed", "run", r.ref.Response(), "error", cause)
	shown := relayFailure(cause)
	r.node.metrics.relay.failed.WithLabelValues(shown.Code).Inc()
	return r.failRelay(ctx, y.merged, shown)
}

// rewindToStart puts the run where the response began, before anything that a producer sent.
func (r *run) rewindToStart() error {
	for at := range r.records {
		if r.records[at].Kind == schema.RecordClaim {
			return r.rewindTo(at)
		}
	}
	return nil // this attempt is the first
}

// forgetReplay puts the run where the log is, whatever of that could be made again.
func (r *run) forgetReplay() {
	if r.replay == nil {
		return
	}
	r.fold, r.seq, r.replay = r.replay.whole, schema.NewSequencer(&r.replay.whole.State), nil
}

// relaying is a relay at work.
type relaying struct {
	run    *run
	feed   *broker.Feed
	merged *schema.Relay
	began  time.Time
	heard  map[string]time.Time // when something came of a producer
}

// silentError says that producers were silent for too long.
type silentError struct {
	producers []string
	limit     time.Duration
}

func (e *silentError) Error() string {
	return fmt.Sprintf("Nothing came from %s for %s, before it had ended.", strings.Join(e.producers, ", "), e.limit)
}

// walk takes batch after batch until the outcome of the response is known. An error says why it is to end before that.
func (y *relaying) walk(ctx context.Context) error {
	y.began = time.Now()
	for {
		if _, _, ended := y.merged.Outcome(); ended && !y.behind() {
			return nil
		}
		sent, err := y.next(ctx)
		if err != nil {
			return err
		}
		if err := y.take(ctx, sent); err != nil {
			return err
		}
	}
}

// tellOverruled tells operators of producers whose texts contradict what they had streamed.
func (y *relaying) tellOverruled() {
	if n := y.run.seq.Overruled(); n > 0 {
		y.run.node.metrics.relay.overruled.Add(float64(n))
		y.run.node.Logger.Warn("whole texts of producers differ from their deltas, which stand", "run", y.run.ref.Response(), "events", n)
	}
}

// behind reports whether the log has more than what was said again by now.
func (y *relaying) behind() bool { return y.run.replay != nil && len(y.run.replay.due) > 0 }

// next returns the next batch. It waits for one, unless the log is ahead: what that was made from is stored.
func (y *relaying) next(ctx context.Context) (*broker.Sent, error) {
	if y.behind() {
		sent, err := y.feed.Stored(ctx)
		if sent == nil && err == nil {
			err = errDiffers
		}
		return sent, err
	}
	silent, until := y.mostSilent()
	waiting, cancel := context.WithDeadlineCause(ctx, until, &silentError{silent, y.run.node.ProducerIdle})
	defer cancel()
	sent, err := y.feed.Next(waiting)
	cause := context.Cause(waiting)
	switch {
	case err == nil || cause == nil:
		return sent, err
	case ctx.Err() != nil:
		return nil, cause
	}
	// Word of a batch may have been lost: nobody is silent before the log has said so.
	if sent, err = y.feed.Stored(ctx); sent == nil && err == nil {
		err = cause
	}
	return sent, err
}

// mostSilent returns the producers that were silent for longest, and until when they may be.
func (y *relaying) mostSilent() (producers []string, until time.Time) {
	for _, p := range y.merged.Missing() {
		heard, ok := y.heard[p]
		if !ok {
			heard = y.began
		}
		limit := heard.Add(y.run.node.ProducerIdle)
		switch {
		case until.IsZero() || limit.Before(until):
			producers, until = []string{p}, limit
		case limit.Equal(until):
			producers = append(producers, p)
		}
	}
	return producers, until
}

// take appends what a batch brings. A batch that nobody can read counts as far as it can be read.
func (y *relaying) take(ctx context.Context, sent *broker.Sent) error {
	if !y.merged.Heeds(&sent.Batch) {
		return nil
	}
	y.heard[sent.Producer] = time.Now()
	if !y.behind() {
		y.run.node.metrics.relay.took(sent)
	}
	if sent.Err != nil {
		sent.Last = false
	}
	out, err := y.merged.Take(&sent.Batch)
	if appended := y.run.append(ctx, out); appended != nil {
		return appended
	}
	if err == nil && sent.Err != nil {
		err = fmt.Errorf("producer %s, place %d: %w", sent.Producer, sent.Place, sent.Err)
	}
	return err
}

// finishRelay ends the response as its producers said.
func (r *run) finishRelay(ctx context.Context, m *schema.Relay, t schema.EventType, said *schema.Response) error {
	if t == schema.Failed {
		return r.failRelay(ctx, m, said.Error)
	}
	r.forgetReplay()
	r.fold.Usage = m.Usage()
	events, err := r.fold.End(r.seq, t, func(resp *schema.Response) {
		resp.Status, resp.IncompleteDetails = schema.StatusIncomplete, said.IncompleteDetails
		if t == schema.Completed {
			resp.Status, resp.CompletedAt = schema.StatusCompleted, new(r.node.Now().Unix())
		}
	})
	return r.closeAtOnce(ctx, events, err)
}

// failRelay ends the response as failed.
func (r *run) failRelay(ctx context.Context, m *schema.Relay, cause *schema.ResponseError) error {
	r.forgetReplay()
	r.fold.Usage = m.Usage()
	events, err := r.fold.End(r.seq, schema.Failed, func(resp *schema.Response) {
		resp.Status, resp.Error = schema.StatusFailed, cause
	})
	return r.closeAtOnce(ctx, events, err)
}

// maxClosing is how many bytes of frames the record that closes a response may have: it must fit into a message, as one event always
// does.
const maxClosing = schema.MaxPayload / 2

// closeAtOnce appends the last events of a response in one record: half of them could not be made again. What is too large for
// that, since each event that closes a long item repeats it, takes several; an attempt that dies in between them leaves a response
// that the next one can only fail.
func (r *run) closeAtOnce(ctx context.Context, events []schema.Event, err error) error {
	if err != nil {
		return err
	}
	large, err := exceeds(events, maxClosing)
	if err != nil {
		return err
	}
	if !large {
		return r.log.Commit(ctx, schema.RecordEvents, nil, events...)
	}
	if err := r.log.Append(ctx, events...); err != nil {
		return err
	}
	return r.log.Flush(ctx)
}

// exceeds reports whether several events are larger than so many bytes of frames.
func exceeds(events []schema.Event, limit int) (bool, error) {
	if len(events) == 1 {
		return false, nil // the end of a response whose items are done: not worth to be encoded twice
	}
	var frames []byte
	for i := range events {
		var err error
		if frames, err = schema.AppendFrame(frames, &events[i]); err != nil {
			return false, err
		}
	}
	return len(frames) > limit, nil
}

// relayFailure is how a response shows why its producers' events could not be made into it.
func relayFailure(cause error) *schema.ResponseError {
	shown := &schema.ResponseError{Code: schema.CodeOrder, Type: schema.TypeUpstream, Message: cause.Error()}
	if _, ok := errors.AsType[*silentError](cause); ok {
		shown.Code = schema.CodeProducerLost
	}
	if errors.Is(cause, errDiffers) {
		shown.Code, shown.Type = schema.CodeServer, schema.TypeServer
		shown.Message = "What the producers sent does not make up what the response has shown."
	}
	return shown
}
