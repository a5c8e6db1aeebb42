package schema

import "slices"

// FromLog is the producer of items that an earlier attempt announced, and that a later one brings to the wire.
const FromLog = "log"

// End returns the events that end a response: every item that is not done is closed, as incomplete where it is not whole,
// and the terminal event t comes last. set says how the response ended; its output is what was streamed, its usage and
// service tier are those of the turns that have ended; a usage that nobody has told is null. q must be the sequencer of r's State.
func (r *Run) End(q *Sequencer, t EventType, set func(*Response)) ([]Event, error) {
	closing, err := q.Abort()
	if err != nil {
		return nil, err
	}
	last, err := q.Finish(t, func(resp *Response) {
		set(resp)
		if resp.Usage = r.Usage; resp.Usage == nil && t == Completed && r.Turn == nil && !r.relays {
			resp.Usage = &Usage{} // no model was asked; in all other cases nobody has counted, and that is not nothing
		}
		if r.Turn != nil && r.Turn.Tier != "" {
			resp.ServiceTier = &r.Turn.Tier
		}
	})
	if err != nil {
		return nil, err
	}
	return append(closing, last...), nil
}

// Cancel returns the events that end a response because somebody does not want the rest of it: a call without a result is
// incomplete, as everything else that is not whole, and nothing failed.
func (r *Run) Cancel(q *Sequencer) ([]Event, error) {
	return r.End(q, Failed, func(resp *Response) { resp.Status = StatusCancelled })
}

// CancelFromLog is Cancel for whoever knows no more of the run than its log: a new sequencer, into which the last turn's
// items come first. One that cannot be brought back is left out.
func (r *Run) CancelFromLog() ([]Event, error) {
	q := NewSequencer(&r.State)
	back, _ := r.Restore(q)
	end, err := r.Cancel(q)
	return append(back, end...), err
}

// Restore puts the items of the last turn that the wire has not shown whole in line again: a call as far as its arguments,
// any other whole. One that was open goes on where it was. The sequencer must be new, and knows the items as those of
// [FromLog]. The events returned beside an error are legal and are part of the sequence.
func (r *Run) Restore(q *Sequencer) ([]Event, error) {
	if r.Turn == nil {
		return nil, nil
	}
	done := map[string]bool{}
	for _, it := range r.State.Items() {
		done[it.ID] = true
	}
	open := r.State.Open()
	var out []Event
	for _, it := range r.Turn.Held {
		if done[it.ID] {
			continue
		}
		more, err := r.BringBack(q, it, open != nil && open.ID == it.ID)
		if out = append(out, more...); err != nil {
			return out, err
		}
	}
	return out, nil
}

// BringBack puts an item of the last turn in line again: a call that the run makes as far as its arguments, any other whole.
// One that was open goes on where it was; if it is such a call, its result brings what of the arguments is not on the wire.
func (r *Run) BringBack(q *Sequencer, it Item, open bool) (out []Event, err error) {
	var events []Event
	ours := slices.ContainsFunc(r.Turn.Calls, func(c Call) bool { return c.ID == it.ID })
	producer := FromLog
	if open {
		producer = "" // an item that was open before belongs to nobody
	} else {
		events = append(events, Event{Type: ItemAdded, Item: new(it)})
	}
	switch {
	case !ours:
		events = append(events, Event{Type: ItemDone, Item: &it})
	case !open:
		events = append(events, Event{Type: CallArguments, ItemID: it.ID, Arguments: it.Arguments})
	}
	for _, e := range events {
		more, err := q.Push(producer, e)
		if out = append(out, more...); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Ends reports whether the last of some frames is a terminal event.
func Ends(frames []byte) bool {
	last, err := lastFrame(frames)
	if err != nil || last == nil {
		return false
	}
	f, _, err := CutFrame(last)
	return err == nil && f.Type.Terminal()
}
