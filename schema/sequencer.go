package schema

import (
	"fmt"
	"slices"
)

// Sequencer takes the events of several producers, each in its own order, and gives out one legal sequence. It owns
// item ids, output_index and sequence_number; what producers write there only tells their own items apart.
//
// What comes before the response has begun is held, not dropped. Items do not interleave: an item's events are held
// until every item added before it is done. What a producer leaves out, but the table can derive, is written for it. A
// producer's own response.created, terminal and numbering never leak: there is one lifecycle, and [Sequencer.Finish]
// ends it.
type Sequencer struct {
	state *State
	early []early
	lines []*line // in output order; the first holds the wire
	local map[localName]*line
	held  map[string]*load
}

// line is the events of one item, in its producer's order.
type line struct {
	producer string
	kind     string
	held     []Event
	named    bool // output_item.added was there, or can be derived
	done     bool // output_item.done was there
	onWire   bool
}

// localName is a producer's own name for an item: its id or its index.
type localName struct {
	producer, id string
	index        int
}

type early struct {
	producer string
	event    Event
}

// load is what is held back for one producer.
type load struct{ events, bytes int }

// HeldError says that a producer ran too far ahead of its turn: the bound on what is held for it is reached.
type HeldError struct{ Producer string }

func (e *HeldError) Error() string {
	return fmt.Sprintf("producer %s: more than %d events or %d bytes ahead of its turn", e.Producer, MaxHeldEvents, MaxHeldBytes)
}

// NewSequencer goes on from a state: an empty one, or the fold of a log that another attempt wrote. An item that is
// still open there is continued under its own id.
func NewSequencer(s *State) *Sequencer {
	q := &Sequencer{state: s, local: map[localName]*line{}, held: map[string]*load{}}
	if s.open != nil {
		l := &line{kind: s.open.item.Type, named: true, onWire: true}
		q.lines = append(q.lines, l)
		q.local[localName{id: s.open.item.ID}] = l
	}
	return q
}

// State returns the fold of everything that was given out.
func (q *Sequencer) State() *State { return q.state }

// Push takes the next event of a producer and returns the events that may go out now, in order. An event that breaks a
// rule beyond repair is a *[Violation]; a producer too far ahead gets a *[HeldError]. The events returned beside an
// error are legal and are part of the sequence.
func (q *Sequencer) Push(producer string, e Event) ([]Event, error) {
	switch {
	case q.state.Ended():
		return nil, refuse(&e, "terminal-last", "after the terminal event")
	case e.Type.Lifecycle():
		return q.lifecycle(e)
	case !q.state.Running():
		if err := q.hold(producer, &e); err != nil {
			return nil, err
		}
		q.early = append(q.early, early{producer, e})
		return nil, nil
	}
	return q.pushItem(producer, e)
}

// lifecycle lets the one response begin. Later beginnings, and every producer's own end, are not the response's.
func (q *Sequencer) lifecycle(e Event) ([]Event, error) {
	if _, due := next(kindResponse, q.state.place, &e); !due || e.Type.Terminal() {
		return nil, nil
	}
	if e.Response == nil {
		e.Response = q.state.Response()
	}
	out, err := q.emit(nil, e)
	if err != nil || !q.state.Running() {
		return out, err
	}
	waiting := q.early
	q.early = nil
	for _, w := range waiting {
		q.release(w.producer, &w.event)
		more, err := q.pushItem(w.producer, w.event)
		if out = append(out, more...); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (q *Sequencer) pushItem(producer string, e Event) ([]Event, error) {
	l := q.find(producer, &e)
	if l == nil {
		if e.free() {
			return q.emit(nil, e)
		}
		if l = q.begin(producer, &e); l == nil {
			return nil, refuse(&e, "within-an-item", "item %q was never added", e.ItemID)
		}
	}
	if l.done {
		return nil, refuse(&e, "item-grammar", "a %s that is done", l.kind)
	}
	if err := q.hold(producer, &e); err != nil {
		return nil, err
	}
	l.held = append(l.held, e)
	l.done = e.Type == ItemDone
	l.named = l.named || e.Type == ItemAdded || l.done
	return q.drain()
}

// find returns the line that an event of the producer belongs to. An id names it better than an index: the bug that
// this project began with sent output_index 0 for everything.
func (q *Sequencer) find(producer string, e *Event) *line {
	if e.Type == ItemAdded {
		return nil
	}
	id := e.ItemID
	if id == "" && e.Item != nil {
		id = e.Item.ID
	}
	if id != "" {
		if l := q.local[localName{producer: producer, id: id}]; l != nil {
			return l
		}
		if l := q.local[localName{id: id}]; l != nil {
			return l // an item that an earlier attempt left open
		}
	}
	if l := q.local[localName{producer: producer, index: e.Index() + 1}]; l != nil && !l.done && suits(l.kind, e) {
		return l
	}
	return nil
}

// suits reports whether an event may belong to an item of that kind.
func suits(kind string, e *Event) bool {
	if e.Item != nil {
		return e.Item.Type == kind
	}
	owner := known[e.Type]
	return owner == "" || owner == tabled(kind)
}

// begin opens a line for an item that is new here. Without output_item.added the kind must follow from the event, and
// the line waits for output_item.done to say what was added.
func (q *Sequencer) begin(producer string, e *Event) *line {
	l := &line{producer: producer, kind: known[e.Type], named: e.Type == ItemAdded}
	id := e.ItemID
	if e.Item != nil {
		l.kind, id = e.Item.Type, e.Item.ID
	}
	if l.kind == "" || l.kind == kindResponse {
		return nil
	}
	if id != "" {
		q.local[localName{producer: producer, id: id}] = l
	}
	if i := e.Index(); i >= 0 {
		q.local[localName{producer: producer, index: i + 1}] = l
	}
	q.lines = slices.Insert(q.lines, q.place(l), l)
	return l
}

// place returns where a new line stands: tool lists before everything that is not on the wire yet, others behind.
func (q *Sequencer) place(l *line) int {
	if l.kind != KindListTools {
		return len(q.lines)
	}
	for i, other := range q.lines {
		if !other.onWire && other.kind != KindListTools {
			return i
		}
	}
	return len(q.lines)
}

// drain gives out the events of the line that holds the wire, and of the next one when it is done.
func (q *Sequencer) drain() (out []Event, err error) {
	for len(q.lines) > 0 && q.lines[0].named {
		l := q.lines[0]
		for len(l.held) > 0 {
			e := l.held[0]
			l.held = l.held[1:]
			q.release(l.producer, &e)
			more, err := q.emit(l, e)
			if out = append(out, more...); err != nil {
				return out, err
			}
		}
		if !l.done {
			return out, nil
		}
		q.lines = q.lines[1:]
	}
	return out, nil
}

// OnWire reports whether an item of the producer, by its local id, has begun to be given out.
func (q *Sequencer) OnWire(producer, id string) bool {
	l := q.local[localName{producer: producer, id: id}]
	return l != nil && l.onWire
}

// Abort ends every item that is not done, in order, with what is there of it: open ones become incomplete.
func (q *Sequencer) Abort() (out []Event, err error) {
	for len(q.lines) > 0 {
		l := q.lines[0]
		if !l.named {
			q.lines = q.lines[1:] // nobody can say what it was
			continue
		}
		more, err := q.drain()
		if out = append(out, more...); err != nil {
			return out, err
		}
		if l.done {
			continue
		}
		more, err = q.emit(l, Event{Type: ItemDone, Item: cut(q.state.open)})
		if out = append(out, more...); err != nil {
			return out, err
		}
		q.lines = q.lines[1:]
	}
	return out, nil
}

// Finish gives out the terminal event. The response's output is what was streamed; end sets the rest of it. An item
// that is not done is an error: finish it, or Abort.
func (q *Sequencer) Finish(t EventType, end func(*Response)) ([]Event, error) {
	if len(q.lines) > 0 {
		return nil, refuse(&Event{Type: t, SequenceNumber: q.state.due}, "items-closed", "%d items are not done", len(q.lines))
	}
	r := *q.state.Response()
	r.Output = slices.Clone(q.state.items)
	if r.Output == nil {
		r.Output = []Item{}
	}
	end(&r)
	return q.emit(nil, Event{Type: t, Response: &r})
}

func (q *Sequencer) hold(producer string, e *Event) error {
	h := q.held[producer]
	if h == nil {
		h = &load{}
		q.held[producer] = h
	}
	if h.events >= MaxHeldEvents || h.bytes >= MaxHeldBytes {
		return &HeldError{producer}
	}
	h.events++
	h.bytes += size(e)
	return nil
}

func (q *Sequencer) release(producer string, e *Event) {
	if h := q.held[producer]; h != nil {
		h.events--
		h.bytes -= size(e)
	}
}

// size weighs an event: the text in it, and a constant for the rest.
func size(e *Event) int {
	n := 128 + len(e.content()) + len(e.Rest)
	if e.Item != nil {
		n += len(e.Item.Output) + len(itemArguments(e.Item)) + len(e.Item.Text())
		for _, t := range e.Item.Tools {
			n += len(t)
		}
	}
	return n
}
