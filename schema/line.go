package schema

import "slices"

// line is the events of one item, in its producer's order.
type line struct {
	producer string
	kind     string
	held     []Event
	begun    bool // output_item.added was there
	named    bool // output_item.added can be written: it was there, or all that it says is known
	done     bool // output_item.done was there
	onWire   bool // output_item.added was given out
	closed   bool // output_item.done was given out
	broken   bool // a rule was broken: nothing more is taken of it
	failed   bool // its producer said that the tool failed
	left     bool // its producer has gone: what is there of the item is all
	part     partKey
	explicit bool // the producer itself opened the part that is open
	shut     map[partKey]bool
	counted  bool // among those of its kind
}

// localName is a producer's own name for an item: its id or its index.
type localName struct {
	producer, id string
	index        int
}

// shownKind is a kind of items that a producer has begun.
type shownKind struct{ producer, kind string }

// partKey is a producer's own name for a part of an item. Its index is -1 where the producer gives none.
type partKey struct {
	kind  string
	index int
}

// resumed returns the line of an item that an earlier attempt left open.
func resumed(o *openItem) *line {
	l := &line{kind: o.item.Type, begun: true, named: true, onWire: true}
	if o.part != nil {
		n := len(o.parts)
		if o.part.Type == PartSummaryText {
			n = len(o.summaries)
		}
		l.part = partKey{o.part.Type, n}
	}
	return l
}

// keyOf returns the part that an event speaks of, or the zero key.
func keyOf(e *Event) partKey {
	t := traits[e.Type]
	k := partKey{t.part, indexOf(e.ContentIndex)}
	switch {
	case t.part == PartSummaryText:
		k.index = indexOf(e.SummaryIndex)
	case t.part != "":
	case (t.role == opens || t.role == closes) && e.Part != nil:
		k.kind = e.Part.Type
	default:
		return partKey{}
	}
	return k
}

// same reports whether two keys may name one part. A producer that gives no index means the part that is open.
func (k partKey) same(other partKey) bool {
	return k.kind == other.kind && (k.index == other.index || k.index < 0 || other.index < 0)
}

// find returns the line that an event of the producer belongs to. An id names it better than an index: the bug that
// this project began with sent output_index 0 for everything.
func (q *Sequencer) find(producer string, e *Event) *line {
	id := e.itemID()
	if id != "" {
		if l := q.local[localName{producer: producer, id: id}]; l != nil && !l.past(e) {
			return l
		}
		if l := q.local[localName{id: id}]; l != nil && e.Type != ItemAdded {
			return l // an item that an earlier attempt left open
		}
	}
	l := q.local[localName{producer: producer, index: e.Index() + 1}]
	if l == nil || l.done || !l.suits(e) || id != "" && traits[e.Type].role == works || e.Type == ItemAdded {
		return nil
	}
	return l
}

// past reports whether an event begins another item under an id that this one had: it is done, or of another kind.
func (l *line) past(e *Event) bool { return e.Type == ItemAdded && (l.done || !l.suits(e)) }

func (e *Event) itemID() string {
	if e.ItemID == "" && e.Item != nil {
		return e.Item.ID
	}
	return e.ItemID
}

// suits reports whether an event may belong to the line's item.
func (l *line) suits(e *Event) bool {
	switch owner := traits[e.Type].owner; {
	case l.kind == "":
		return true
	case e.Item != nil:
		return e.Item.Type == l.kind
	default:
		return owner == "" || owner == tabled(l.kind)
	}
}

// kindOf returns the kind of item that an event tells of, or "".
func kindOf(e *Event) string {
	switch {
	case e.Item != nil:
		return e.Item.Type
	case traits[e.Type].owner != "":
		return traits[e.Type].owner
	case e.Part == nil:
		return ""
	case e.Part.Type == PartReasoningText:
		return KindReasoning
	}
	return KindMessage
}

// begin opens a line for an item that is new here. Without output_item.added its kind follows from the event, or from
// output_item.done; an event of an unknown type, or an annotation, begins no item that it does not name.
func (q *Sequencer) begin(producer string, e *Event) *line {
	l := &line{producer: producer, kind: kindOf(e)}
	id := e.itemID()
	if id == "" && (l.kind == "" || traits[e.Type].role == notes) {
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

// unshown returns the items of a terminal event's output that the producer has not shown, and, if all is to be done, those that it has
// not brought to their end. An item is known by its id; under another one it is taken for the nth of its kind, since producers
// mint ids anew for what they have streamed.
func (q *Sequencer) unshown(producer string, output []Item, allDone bool) (items []Item) {
	nth := map[string]int{}
	for i := range output {
		it := &output[i]
		nth[it.Type]++
		l := q.local[localName{producer: producer, id: it.ID}]
		known := it.ID != "" && l != nil && l.kind == it.Type
		if known && allDone && !l.done || !known && nth[it.Type] > q.shown[shownKind{producer, it.Type}] {
			items = append(items, *it)
		}
	}
	return items
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

// names reports whether all that output_item.added says is known from an event. A message and reasoning have nothing
// to say beside their kind; a call without its name, or a list without its server, must wait for output_item.done.
func names(e *Event) bool {
	switch kind := kindOf(e); {
	case kind == KindMessage, kind == KindReasoning:
		return true
	case e.Item == nil, kind == "":
		return false
	case kind == KindFunctionCall, kind == KindCustomCall, kind == KindMCPCall:
		return e.Item.Name != "" || e.Type == ItemDone
	case kind == KindListTools:
		return e.Item.ServerLabel != "" || e.Type == ItemDone
	}
	return true
}

// note keeps what a line must remember of an event that was taken.
func (q *Sequencer) note(l *line, e *Event) {
	if l.kind == "" {
		l.kind = kindOf(e)
	}
	if !l.counted && l.kind != "" {
		l.counted = true
		q.shown[shownKind{l.producer, l.kind}]++
	}
	l.begun = l.begun || e.Type == ItemAdded
	l.named = l.named || names(e)
	l.done = l.done || e.Type == ItemDone && !l.broken
}

// take holds an event back. An output_item.added that comes late goes in front.
func (l *line) take(e Event) {
	if e.Type == ItemAdded {
		l.held = slices.Insert(l.held, 0, e)
		return
	}
	l.held = append(l.held, e)
}

// ready returns which of the held events may go out now, or -1. Parts do not interleave: while a part is open that its
// producer opened itself, the events of other parts wait until it is closed, or the item is done, or the bound is
// reached.
func (l *line) ready(q *Sequencer) int {
	switch {
	case len(l.held) == 0, l.awaitsDone():
		return -1
	case !l.mustWait(q, &l.held[0]):
		return 0
	}
	for i := range l.held {
		if k := keyOf(&l.held[i]); k.kind != "" && k.same(l.part) {
			return i
		}
	}
	if l.done || q.full(l.producer) {
		return 0
	}
	return -1
}

// awaitsDone reports whether the next event tells how a tool's work ended, and what it gave is not there yet: the two
// have to agree.
func (l *line) awaitsDone() bool { return len(l.held) > 0 && !l.done && outcome(&l.held[0]) }

func outcome(e *Event) bool {
	r := traits[e.Type].role
	return r == succeeds || r == fails
}

// mustWait reports whether an event must wait although its item holds the wire.
func (l *line) mustWait(q *Sequencer, e *Event) bool {
	switch {
	case outcome(e):
		return !l.done
	case !l.explicit, q.state.open == nil, q.state.open.part == nil:
		return false
	}
	k := keyOf(e)
	return k.kind != "" && !k.same(l.part)
}

// final returns the item as its output_item.done brings it, if that is there.
func (l *line) final() *Item {
	if !l.done || len(l.held) == 0 {
		return nil
	}
	return l.held[len(l.held)-1].Item
}
