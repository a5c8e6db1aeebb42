package producers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// A model call that its upstream goes on with by itself is taken up behind a takeover. The upstream gives all of its events again,
// and they go through a turn and a sequencer that begin where the call began: what comes out first is what the log has already,
// event for event, and is dropped; what comes behind that is new. So the run goes on in the middle of an item, as if nothing
// had happened, and whatever a turn remembers of its call is as it was.

// replay is the part of a call that the log has and that is not said again yet.
type replay struct {
	whole *schema.Run // the run by the whole log
	due   []schema.Event
}

// errDiffers says that an upstream tells something else of a call than it did.
var errDiffers = errors.New("the upstream tells the call otherwise than the log has it")

// resumes reports whether the last model call is one to be taken up.
func (r *run) resumes() bool {
	return r.fold.Call != nil && r.fold.Call.Turn == r.turns()+1 && r.cause == nil
}

// resumeModel takes up the call that an earlier attempt has made. Where that cannot be, the run goes on as it does behind a call
// that was lost: what is open is closed, and the call made again.
func (r *run) resumeModel(ctx context.Context) error {
	made := *r.fold.Call
	err := r.rewind()
	if err == nil {
		err = r.streamModel(ctx, &made)
	}
	if r.replay == nil {
		return err // something new was said: this is the turn now, however it ended
	}
	r.fold, r.seq, r.replay = r.replay.whole, schema.NewSequencer(&r.replay.whole.State), nil
	if ctx.Err() != nil || r.log.Err() != nil {
		return err
	}
	r.node.Logger.Warn("model call not taken up", "run", r.ref.Response(), "upstream", made.Upstream, "error", err)
	if !errors.Is(err, upstream.ErrForgotten) {
		r.abandon(made)
	}
	if err := r.noteCall(ctx, schema.ModelCall{Turn: made.Turn}); err != nil {
		return err
	}
	return r.closeOpen(ctx)
}

// rewind puts the run where it was when the call began.
func (r *run) rewind() error {
	at := len(r.records) - 1
	for ; at >= 0 && r.records[at].Kind != schema.RecordCall; at-- {
	}
	if at < 0 {
		r.replay = &replay{whole: r.fold}
		return upstream.ErrForgotten
	}
	return r.rewindTo(at)
}

// rewindTo puts the run where it was behind a record. What the log has behind that is to be said again.
func (r *run) rewindTo(at int) error {
	back := &replay{whole: r.fold}
	r.replay = back
	for _, rec := range r.records[at+1:] {
		for rest := rec.Frames; len(rest) > 0; {
			f, more, err := schema.CutFrame(rest)
			if err != nil {
				return err
			}
			e, err := schema.ParseEvent(f.Data)
			if err != nil {
				return err
			}
			back.due, rest = append(back.due, e), more
		}
	}
	base, err := schema.FoldRun(r.ref, r.records[:at+1])
	if err != nil {
		return err
	}
	base.Attempt, base.Nonce, base.Idle = r.fold.Attempt, r.fold.Nonce, r.fold.Idle
	r.fold, r.seq = base, schema.NewSequencer(&base.State)
	return nil
}

// unsaid returns the events that the log does not have yet.
func (r *run) unsaid(events []schema.Event) ([]schema.Event, error) {
	if r.replay == nil {
		return events, nil
	}
	for len(events) > 0 && len(r.replay.due) > 0 {
		if !sameEvent(&events[0], &r.replay.due[0]) {
			return nil, errDiffers
		}
		events, r.replay.due = events[1:], r.replay.due[1:]
	}
	if len(events) > 0 {
		r.replay = nil
	}
	return events, nil
}

// caughtUp ends the replay of a call that has ended, and fails where it has said less than it did.
func (r *run) caughtUp() error {
	if r.replay != nil && len(r.replay.due) > 0 {
		return errDiffers
	}
	r.replay = nil
	return nil
}

// sameEvent compares what decides what a client has seen. Padding is random, and all that repeats deltas follows from them.
func sameEvent(a, b *schema.Event) bool {
	return a.Type == b.Type && a.SequenceNumber == b.SequenceNumber && a.ItemID == b.ItemID && a.Index() == b.Index() &&
		text(a.Delta) == text(b.Delta) && kindOf(a.Item) == kindOf(b.Item)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func kindOf(it *schema.Item) string {
	if it == nil {
		return ""
	}
	return it.Type + " " + it.ID + " " + it.Status
}

// noteCall puts the id of a call into the log, before anything that it says.
func (r *run) noteCall(ctx context.Context, c schema.ModelCall) error {
	if r.replay != nil {
		return nil // it is there
	}
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write call: %w", err)
	}
	if err := r.log.Commit(ctx, schema.RecordCall, body); err != nil {
		return fmt.Errorf("note a model call: %w", err)
	}
	r.fold.MakeCall(c)
	return nil
}

// abandonPatience bounds how long a run that has ended tries to end its model call too.
const abandonPatience = 2 * time.Second

// abandon ends a call that nobody will take up: closing its connection would not.
func (r *run) abandon(c schema.ModelCall) {
	up, err := r.node.Models.Route(r.req.Model)
	if err != nil {
		return
	}
	a, ok := up.(upstream.Abandoner)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.shift.closing, abandonPatience)
	defer cancel()
	if err := a.Abandon(ctx, c); err != nil {
		r.node.Logger.Warn("model call not cancelled", "run", r.ref.Response(), "upstream", c.Upstream, "error", err)
	}
}
