package schema

import (
	"errors"
	"slices"
)

// Sequencer takes the events of several producers, each in its own order, and gives out one legal sequence. It owns
// item ids, output_index and sequence_number; what producers write there only tells their own items apart.
//
// What comes before the response has begun is held, not dropped. Items do not interleave: an item's events are held
// until every item added before it is done. What a producer leaves out, but the table can derive, is written for it. A
// producer's own response.created, terminal, keepalives and numbering never leak: there is one lifecycle, and
// [Sequencer.Finish] ends it.
//
// What nobody can mend is refused: an error event (it becomes response.failed, by [Sequencer.Finish]), an event of an
// item that never was or is done, arguments that differ from their deltas. An item whose producer broke a rule takes
// nothing more: it keeps its place until [Sequencer.Abort].
type Sequencer struct {
	state     *State
	early     []early
	lines     []*line // in output order; the first holds the wire
	local     map[localName]*line
	shown     map[shownKind]int
	held      map[string]*load
	weight    weight
	overruled int
}

type early struct {
	producer string
	event    Event
}

// NewSequencer goes on from a state: an empty one, or the fold of a log that another attempt wrote. An item that is
// still open there is continued under its own id.
func NewSequencer(s *State) *Sequencer {
	q := &Sequencer{state: s, local: map[localName]*line{}, shown: map[shownKind]int{}, held: map[string]*load{}, weight: weigh(s)}
	if s.open != nil {
		l := resumed(s.open)
		q.lines = append(q.lines, l)
		q.local[localName{id: s.open.item.ID}] = l
	}
	return q
}

// State returns the fold of everything that was given out.
func (q *Sequencer) State() *State { return q.state }

// Overruled returns how many events, of those that were given out, said of a text another whole than its deltas. What was
// streamed stood: the client has seen it.
func (q *Sequencer) Overruled() int { return q.overruled }

// Push takes the next event of a producer and returns the events that may go out now, in order. It fails with a
// *[Violation] for an event that breaks a rule beyond repair, with a *[HeldError] for a producer too far ahead, and with
// [ErrOutputFull] when the response can hold no more. The events returned beside an error are legal and are part of the
// sequence; the error may speak of another producer's event, which waited until now.
func (q *Sequencer) Push(producer string, e Event) ([]Event, error) {
	var err error
	b := burst{q: q}
	switch {
	case q.state.Ended():
		err = refuse(&e, lawLast, "after the terminal event")
	case !e.Type.legal():
		err = refuse(&Event{}, lawType, "not an event type: %.40q", e.Type)
	case e.Type == ErrorEvent, e.hasError():
		err = refuse(&e, lawError, "clients end the stream on it")
	case e.Type == Keepalive: // the log's own readers are kept awake by comments
	case e.Type.Lifecycle():
		q.lifecycle(&b, e)
	case !q.state.Running():
		err = q.pushEarly(producer, e)
	default:
		err = q.pushItem(&b, producer, e)
	}
	return b.result(blame(err, producer))
}

// lifecycle lets the one response begin. Later beginnings, those of another response, and every producer's own end, are
// not the response's.
func (q *Sequencer) lifecycle(b *burst, e Event) {
	_, due := next(kindResponse, q.state.place, &e)
	foreign := e.Response != nil && q.state.Begun() && e.Response.ID != q.state.resp.ID
	if !due || foreign || e.Type.Terminal() {
		return
	}
	if e.Response == nil && q.state.Begun() {
		r := *q.state.Response()
		r.Output, r.Status = []Item{}, lifecycleStatus[e.Type][0]
		e.Response = &r
	}
	b.apply(e)
	if !q.state.Running() {
		return
	}
	waiting := q.early
	q.early = nil
	for _, w := range waiting {
		q.release(w.producer, &w.event)
		b.fail(blame(q.pushItem(b, w.producer, w.event), w.producer))
	}
}

// pushEarly holds what comes before the response has begun.
func (q *Sequencer) pushEarly(producer string, e Event) error {
	if err := q.hold(producer, &e); err != nil {
		q.release(producer, &e)
		return err
	}
	q.early = append(q.early, early{producer, e})
	return nil
}

// pushItem takes an event while items may come.
func (q *Sequencer) pushItem(b *burst, producer string, e Event) error {
	if e.Item != nil && e.Item.Type == KindMessage {
		e.Item = spoken(e.Item)
	}
	if (e.Type == ItemAdded || e.Type == ItemDone) && (e.Item == nil || e.Item.Type == "") {
		return refuse(&e, lawAdded, "no item in it")
	}
	l := q.find(producer, &e)
	if l == nil && e.free() {
		b.attempt(producer, func() { b.apply(e) })
		return nil
	}
	if l == nil {
		l = q.begin(producer, &e)
	}
	switch {
	case l == nil:
		return refuse(&e, lawInItem, "item %q was never added", e.ItemID)
	case l.broken:
		return refuse(&e, lawGrammar, "its %s broke a rule before", l.kind)
	case l.done:
		return refuse(&e, lawGrammar, "its %s is done", l.kind)
	case e.Type == ItemAdded && (l.begun || l.onWire):
		return refuse(&e, lawIDs, "its %s was added before", l.kind)
	case !l.suits(&e):
		return refuse(&e, lawGrammar, "of a %s", l.kind)
	}
	if q.flows(l, &e) {
		b.emit(l, e)
	} else if err := q.keep(l, e); err != nil {
		return err
	}
	q.note(l, &e)
	q.drain(b)
	return nil
}

// keep holds an event back in its line. What the line on the wire holds goes out before the bound is broken, unless it
// waits for the end of its tool.
func (q *Sequencer) keep(l *line, e Event) error {
	err := q.hold(l.producer, &e)
	flowing := q.lines[0] == l && (e.Type == ItemDone || l.named && !l.awaitsDone())
	if err == nil || flowing {
		l.take(e)
		return nil
	}
	q.release(l.producer, &e)
	l.broken = true
	if !l.onWire && len(l.held) == 0 {
		q.drop(l)
	}
	return err
}

// drop takes a line out. What comes for it later is refused.
func (q *Sequencer) drop(l *line) {
	l.broken = true
	for i := range l.held {
		q.release(l.producer, &l.held[i])
	}
	l.held = nil
	q.lines = slices.DeleteFunc(q.lines, func(other *line) bool { return other == l })
}

// flows reports whether an event may go out at once, with nothing held in front of it.
func (q *Sequencer) flows(l *line, e *Event) bool {
	return len(q.lines) > 0 && q.lines[0] == l && len(l.held) == 0 && (l.named || names(e)) && !l.mustWait(q, e)
}

// drain gives out the events of the line that holds the wire, and of the next one when it is done.
func (q *Sequencer) drain(b *burst) {
	for len(q.lines) > 0 && (q.lines[0].named || q.lines[0].left) {
		l := q.lines[0]
		for i := l.ready(q); i >= 0; i = l.ready(q) {
			e := l.held[i]
			l.held = slices.Delete(l.held, i, i+1)
			q.release(l.producer, &e)
			b.emit(l, e)
		}
		switch {
		case l.closed:
			q.lines = q.lines[1:]
		case l.left:
			q.cutOff(b, l)
		default:
			return
		}
	}
}

// cutOff takes the line that holds the wire out, ended with what is there of it.
func (q *Sequencer) cutOff(b *burst, l *line) {
	if l.named {
		b.cut(l)
	}
	q.drop(l)
}

// Unfinished returns the items of a producer that are not done, each by the producer's own name or its kind.
func (q *Sequencer) Unfinished(producer string) (items []string) {
	for _, l := range q.lines {
		if l.producer == producer && !l.done {
			items = append(items, q.nameOf(l))
		}
	}
	return items
}

func (q *Sequencer) nameOf(l *line) string {
	for name, other := range q.local {
		if other == l && name.id != "" {
			return name.id
		}
	}
	return "of kind " + l.kind
}

// Leave says that nothing more comes from a producer. An item of it that is not done ends with what is there of it, when its
// turn on the wire comes: as incomplete. An item of which nobody can say what it was is dropped.
func (q *Sequencer) Leave(producer string) ([]Event, error) {
	b := burst{q: q}
	for _, l := range q.lines {
		if l.producer == producer && !l.done {
			l.left = true
		}
	}
	q.drain(&b)
	return b.result(nil)
}

// OnWire reports whether an item of the producer, by its local id, has begun to be given out.
func (q *Sequencer) OnWire(producer, id string) bool {
	l := q.local[localName{producer: producer, id: id}]
	return l != nil && l.onWire
}

// Abort ends every item that is not done, in order, with what is there of it: open ones become incomplete. Held events
// that break a rule are dropped. An item of which nobody can say what it was is dropped too.
func (q *Sequencer) Abort() ([]Event, error) {
	b := burst{q: q}
	for i := range q.early {
		q.release(q.early[i].producer, &q.early[i].event)
	}
	q.early = nil
	for len(q.lines) > 0 {
		q.drain(&b)
		b.err = nil // held events that break a rule are cut off here
		if len(q.lines) == 0 {
			break
		}
		l := q.lines[0]
		q.cutOff(&b, l)
		if b.err != nil && l.onWire {
			return b.result(nil)
		}
		b.err = nil // nobody has seen it, and nobody can be shown it
	}
	return b.result(nil)
}

// Finish gives out the terminal event. The response's output is what was streamed, its status what t says; end sets the
// rest of it. An item that is not done is an error: finish it, or Abort.
func (q *Sequencer) Finish(t EventType, end func(*Response)) ([]Event, error) {
	at := &Event{Type: t, SequenceNumber: q.state.due}
	switch {
	case !t.Terminal():
		return nil, refuse(at, lawTerminal, "not a terminal event")
	case !q.state.Begun():
		return nil, refuse(at, lawFirst, "before response.created")
	case len(q.lines) > 0:
		return nil, refuse(at, lawClosed, "%d items are not done", len(q.lines))
	}
	r := *q.state.Response()
	r.Status = lifecycleStatus[t][0]
	r.Output = append([]Item{}, q.state.items...)
	end(&r)
	b := burst{q: q}
	b.apply(Event{Type: t, Response: &r})
	return b.result(nil)
}

// burst is what one call gives out, and what was refused meanwhile.
type burst struct {
	q   *Sequencer
	out []Event
	err error
}

// attempt runs steps of which the first refused one skips the rest, and reports whether none was. Errors of earlier
// attempts are kept, and do not stop it.
func (b *burst) attempt(producer string, steps func()) bool {
	before := b.err
	b.err = nil
	steps()
	failed := blame(b.err, producer)
	b.err = before
	b.fail(failed)
	return failed == nil
}

func (b *burst) fail(err error) {
	if b.err == nil {
		b.err = err
	} else if err != nil {
		b.err = errors.Join(b.err, err)
	}
}

func (b *burst) result(err error) ([]Event, error) {
	b.fail(err)
	return b.out, b.err
}

// blame writes the producer into a violation.
func blame(err error, producer string) error {
	var v *Violation
	if errors.As(err, &v) && v.Producer == "" {
		v.Producer = producer
	}
	return err
}
