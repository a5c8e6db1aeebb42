package schema

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

var null = jsontext.Value("null")

// emit gives out the next event of the line that holds the wire, behind whatever is missing in front of it.
func (b *burst) emit(l *line, e Event) {
	if b.attempt(l.producer, func() { b.give(l, e) }) {
		return
	}
	l.broken, l.done = true, false
	for i := range l.held {
		b.q.release(l.producer, &l.held[i])
	}
	l.held = nil
}

func (b *burst) give(l *line, e Event) {
	if !b.q.weight.fits(&e) {
		b.fail(ErrOutputFull)
		return
	}
	b.open(l, &e)
	if e.Type == ItemAdded || b.err != nil || b.needless(l, &e) {
		return
	}
	b.makePlace(l, &e)
	switch traits[e.Type].role {
	case finishes:
		b.settle(l, &e)
	case settles, closes:
		b.settleText(&e)
	case opens:
		e.Part = emptied(e.Type, e.Part)
	case succeeds, fails:
		if it := l.final(); it != nil && streamsArguments(it.Type) {
			b.arguments(it.Arguments)
		}
	}
	if o := b.q.state.open; traits[e.Type].role != streams || len(o.text) == 0 { // what streams on has its place already
		b.fill(&e)
	}
	b.apply(e)
	l.mark(&e, b.q.state.open)
}

// apply gives an event its number and its item's real names, and folds it. After a refusal it does nothing.
func (b *burst) apply(e Event) {
	if b.err != nil {
		return
	}
	s := b.q.state
	e.SequenceNumber = s.due
	if o := s.open; o != nil && !e.Type.Lifecycle() && e.Type != ItemAdded {
		o.name(&e)
	}
	if b.err = s.Apply(&e); b.err == nil {
		b.q.weight.add(&e)
		b.out = append(b.out, e)
	}
}

// name writes the open item's id and indexes over whatever the producer called them.
func (o *openItem) name(e *Event) {
	if e.free() {
		return
	}
	e.OutputIndex = &o.index
	if e.Item != nil {
		it := *e.Item
		it.ID = o.item.ID
		e.Item = &it
	}
	if t := traits[e.Type]; e.ItemID != "" || t.tabled && t.role != finishes {
		e.ItemID = o.item.ID
	}
	switch t := traits[e.Type]; {
	case t.part == PartSummaryText:
		e.SummaryIndex = new(len(o.summaries))
	case t.part != "", t.role == opens, t.role == closes:
		e.ContentIndex = new(len(o.parts))
	}
	switch {
	case e.Type == TextAnnotation && o.part != nil:
		e.AnnotationIndex = new(len(o.part.Annotations))
	case (e.Type == TextDelta || e.Type == TextDone) && e.Logprobs == nil:
		e.Logprobs = noValues
	}
}

// noValues is the list that the API shows where there is nothing. Nobody appends to it: it has no room.
var noValues = []jsontext.Value{}

// open gives out output_item.added when the line has not begun on the wire: the producer's own, or the one that follows
// from what is known of the item.
func (b *burst) open(l *line, e *Event) {
	if l.onWire {
		return
	}
	added := Event{Type: ItemAdded, Item: l.firstItem(e)}
	if e.Type == ItemAdded {
		added.Rest = e.Rest
	}
	s := b.q.state
	n := len(s.items)
	it := *added.Item
	it.ID = ItemID(s.resp.ID, it.Type, n)
	empty(&it)
	dress(&it)
	added.Item, added.OutputIndex = &it, &n
	b.apply(added)
	l.onWire = b.err == nil
}

// firstItem returns the first that the line says of its item, if it names it.
func (l *line) firstItem(e *Event) *Item {
	first := e.Item
	for i := 0; i < len(l.held) && (first == nil || !names(&Event{Type: ItemAdded, Item: first})); i++ {
		if l.held[i].Item != nil {
			first = l.held[i].Item
		}
	}
	if first == nil {
		return &Item{Type: l.kind}
	}
	return first
}

// needless reports whether an event says what the wire has said, or what output_item.done contradicts.
func (b *burst) needless(l *line, e *Event) bool {
	o := b.q.state.open
	switch traits[e.Type].role {
	case works: // captured once more in the middle of a call: tolerated, not sent
		return o.place != inItem
	case succeeds, fails:
		l.failed = l.failed || traits[e.Type].role == fails
		it := l.final()
		return o.place == called || o.place == callFailed || o.place == listed || o.place == listFailed ||
			it != nil && (traits[e.Type].role == fails) != (l.failed || it.Failed())
	}
	return false
}

// makePlace closes the open part when the event speaks of another one. Its final form is the one that the item's has,
// where that is known already.
func (b *burst) makePlace(l *line, e *Event) {
	o := b.q.state.open
	k := keyOf(e)
	if k.kind == "" {
		return
	}
	if l.shut[k] && traits[e.Type].role != opens && (o.part == nil || k != l.part) {
		b.fail(refuse(e, lawGrammar, "its part %d is closed", k.index))
		return
	}
	if o.part != nil && (traits[e.Type].role == opens || !k.same(l.part)) {
		b.closePart(o.finalPart(l.final()))
		l.shutPart(l.part)
	}
}

// mark keeps which of the producer's parts is open, and which are closed.
func (l *line) mark(e *Event, o *openItem) {
	k, role := keyOf(e), traits[e.Type].role
	if k.kind == "" {
		k = l.part
	}
	switch {
	case role == finishes:
		l.closed = o == nil
	case o == nil:
	case role == closes && o.part == nil:
		l.shutPart(k)
	case o.part != nil && (l.part.kind == "" || role == opens):
		l.part, l.explicit = k, role == opens
		delete(l.shut, k)
	}
}

// shutPart closes the part that is open, which the producer may call k.
func (l *line) shutPart(k partKey) {
	if l.shut == nil {
		l.shut = map[partKey]bool{}
	}
	if l.part.kind != "" {
		k = l.part
	}
	l.shut[k] = k.index >= 0
	l.part, l.explicit = partKey{}, false
}

// fill writes the derivable events that stand between the open item's place and the event.
func (b *burst) fill(e *Event) {
	o := b.q.state.open
	if b.err != nil || o == nil {
		return
	}
	if _, ok := next(o.rules, o.place, e); ok {
		return
	}
	failed := e.Type == ItemDone && e.Item.Failed()
	way, _ := path(o.rules, o.place, step(e), func(r Rule) bool {
		t, _ := r.On.split()
		switch traits[t].role {
		case succeeds:
			return failed
		case fails:
			return !failed
		}
		return traits[t].role == closes // who closes a part knows its final form
	})
	for _, r := range way { // without a way State says which rule is broken
		b.apply(o.derive(r.On))
	}
}

// derive returns the event that a fillable rule stands for: all that it says follows from the open item.
func (o *openItem) derive(on Step) Event {
	t, kind := on.split()
	d := Event{Type: t}
	text := string(o.text)
	switch traits[t].role {
	case opens:
		d.Part = emptied(t, &Part{Type: kind})
	case settles:
		*d.wholeText() = &text
	case closes:
		d.Part = o.wholePart(*o.part)
	}
	return d
}

// emptied returns the part that an opening event shows: nothing is in it yet.
func emptied(t EventType, p *Part) *Part {
	switch {
	case t == SummaryAdded:
		return new(NewPart(PartSummaryText, ""))
	case p == nil || !textual(p.Type):
		return p
	}
	return new(NewPart(p.Type, ""))
}

// wholePart returns the final form of the open part: p, holding the text and the annotations that were streamed.
func (o *openItem) wholePart(p Part) *Part {
	streamed := o.part.Annotations
	if p.Annotations = slices.Clone(p.Annotations); len(p.Annotations) < len(streamed) {
		p.Annotations = slices.Clone(streamed)
	}
	copy(p.Annotations, streamed)
	if p.Logprobs == nil {
		p.Logprobs = o.part.Logprobs
	}
	if p.Type == PartOutputText {
		p.Annotations, p.Logprobs = orList(p.Annotations), orList(p.Logprobs)
	}
	if textual(p.Type) {
		p.setContent(string(o.text))
	}
	return &p
}

func orList(v []jsontext.Value) []jsontext.Value {
	if v == nil {
		return noValues
	}
	return v
}
