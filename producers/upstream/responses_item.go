package upstream

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// transit gives the items of a responses upstream local ids and indexes. Upstreams are not consistent in theirs: some
// give every item index 0, some give the events of one item different ids, some give neither.
type transit struct {
	items   *items
	name    string // of the upstream
	all     []*passing
	byID    map[string]*passing
	byIndex map[int]*passing
}

// passing is an item on its way through.
type passing struct {
	index  int    // local
	id     string // local
	kind   string
	done   bool
	joiner joiner
	last   schema.Event // the delta that the joiner holds the rest of
}

func (t *transit) pass(e *schema.Event, delta jsontext.Value) error {
	p := t.find(e)
	switch {
	case e.Item == nil && (e.Type == schema.ItemAdded || e.Type == schema.ItemDone):
		return broken(nil, "upstream %s sent %s without an item", t.name, e.Type)
	case p == nil && e.Type == schema.ItemAdded:
		p = t.open(e)
	case p == nil && e.Type == schema.ItemDone:
		return t.retell(e.Item)
	case p == nil:
		return broken(nil, "upstream %s spoke of an item that it had not begun", t.name)
	case p.done:
		return broken(nil, "upstream %s went on with an item that was done", t.name)
	}
	p.localize(e)
	if err := t.flush(p, e); err != nil {
		return err
	}
	switch {
	case delta.Kind() == '"':
		p.last = *e
		text := p.joiner.add(delta)
		if e.Delta = &text; text == "" {
			return nil
		}
	case e.Type == schema.ItemDone:
		p.finish(e.Item)
	}
	return t.items.emit(*e)
}

// find returns the item that an event speaks of, nil if it is new. An id that is known counts more than an index.
func (t *transit) find(e *schema.Event) *passing {
	if e.Type == schema.ItemAdded {
		return nil
	}
	if p := t.byID[upstreamID(e)]; p != nil {
		return p
	}
	if p := t.byIndex[e.Index()]; p != nil && !p.done && (e.Item == nil || e.Item.Type == p.kind) {
		return p
	}
	return nil
}

func upstreamID(e *schema.Event) string {
	if e.Item != nil && e.Item.ID != "" {
		return e.Item.ID
	}
	return e.ItemID
}

// open begins the item of an output_item.added.
func (t *transit) open(e *schema.Event) *passing {
	p := &passing{kind: e.Item.Type}
	p.index, p.id = t.items.claim()
	if id := upstreamID(e); id != "" {
		t.byID[id] = p
	}
	t.byIndex[e.Index()] = p
	t.all = append(t.all, p)
	return p
}

func (p *passing) localize(e *schema.Event) {
	e.SequenceNumber = 0
	e.OutputIndex = &p.index
	if e.ItemID != "" {
		e.ItemID = p.id
	}
	if e.Item != nil {
		e.Item.ID = p.id
	}
	complete(e)
}

// complete adds the empty lists that the API shows and some servers leave out.
func complete(e *schema.Event) {
	if e.Type == schema.TextDelta || e.Type == schema.TextDone {
		orEmpty(&e.Logprobs)
	}
	if e.Part != nil {
		completePart(e.Part)
	}
	if e.Item != nil {
		for i := range e.Item.Content {
			completePart(&e.Item.Content[i])
		}
	}
}

func completePart(p *schema.Part) {
	if p.Type == schema.PartOutputText {
		orEmpty(&p.Annotations)
		orEmpty(&p.Logprobs)
	}
}

func orEmpty(list *[]jsontext.Value) {
	if *list == nil {
		*list = []jsontext.Value{}
	}
}

// flush tells what the last delta has left unfinished, unless e goes on with it.
func (t *transit) flush(p *passing, e *schema.Event) error {
	if e.Type == p.last.Type && same(e.ContentIndex, p.last.ContentIndex) && same(e.SummaryIndex, p.last.SummaryIndex) {
		return nil
	}
	rest := p.joiner.rest()
	if rest == "" {
		return nil
	}
	last := p.last
	last.Delta = &rest
	return t.items.emit(last)
}

func same(a, b *int) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func (p *passing) finish(it *schema.Item) {
	p.done = true
	if it.Status == "" && (it.Type == schema.KindMessage || it.Type == schema.KindFunctionCall) {
		it.Status = schema.StatusCompleted
	}
}

// settle takes the i-th item of the final output: one that was not finished in the stream, or never began there, is
// told now. For one that was, the stream counts.
func (t *transit) settle(i int, it *schema.Item) error {
	p := t.byID[it.ID]
	if it.ID == "" || p == nil {
		p = nil
		if i < len(t.all) {
			p = t.all[i]
		}
	}
	switch {
	case p == nil:
		return t.retell(it)
	case p.done:
		return nil
	}
	return t.pass(&schema.Event{Type: schema.ItemDone, OutputIndex: &i, Item: it}, nil)
}

// retell streams an item that was only given whole: clients take text from deltas.
func (t *transit) retell(it *schema.Item) error {
	events := append([]schema.Event{{Type: schema.ItemAdded, Item: begun(it)}}, deltas(it)...)
	events = append(events, schema.Event{Type: schema.ItemDone, Item: it})
	p := t.open(&events[0])
	p.finish(it)
	for i := range events {
		p.localize(&events[i])
		if events[i].Item == nil {
			events[i].ItemID = p.id
		}
		if err := t.items.emit(events[i]); err != nil {
			return err
		}
	}
	return nil
}

// begun is an item as it was before anything was said in it.
func begun(it *schema.Item) *schema.Item {
	b := *it
	b.Status = schema.StatusInProgress
	switch it.Type {
	case schema.KindMessage:
		b.Content = schema.Content{}
	case schema.KindReasoning:
		b.Content, b.Summary, b.EncryptedContent = nil, []schema.Part{}, nil
	case schema.KindFunctionCall, schema.KindCustomCall:
		setCallText(&b, "")
	default:
		b.Status = it.Status
	}
	return &b
}

// deltas says what is in an item, one delta a part.
func deltas(it *schema.Item) (events []schema.Event) {
	switch it.Type {
	case schema.KindFunctionCall:
		return []schema.Event{{Type: schema.FunctionDelta, Delta: it.Arguments}}
	case schema.KindCustomCall:
		return []schema.Event{{Type: schema.CustomDelta, Delta: it.Input}}
	case schema.KindMessage, schema.KindReasoning:
		for n, p := range it.Summary {
			events = append(events, partDelta(schema.SummaryAdded, &p, n)...)
		}
		for n, p := range it.Content {
			events = append(events, partDelta(schema.PartAdded, &p, n)...)
		}
	}
	return events
}

func partDelta(added schema.EventType, p *schema.Part, n int) []schema.Event {
	voice, known := voices[p.Type]
	if !known {
		return nil
	}
	empty, said := schema.NewPart(p.Type, ""), deref(p.Text)+deref(p.Refusal)
	events := []schema.Event{{Type: added, Part: &empty}, {Type: voice.delta, Delta: &said}}
	if p.Type == schema.PartOutputText {
		events[1].Logprobs = append([]jsontext.Value{}, p.Logprobs...)
	}
	for i := range events {
		if added == schema.SummaryAdded {
			events[i].SummaryIndex = &n
		} else {
			events[i].ContentIndex = &n
		}
	}
	return events
}

// allDone reports an item that the upstream left open when it said that its answer was complete.
func (t *transit) allDone() error {
	var kinds []string
	for _, p := range t.all {
		if !p.done {
			kinds = append(kinds, orWord(word(p.kind), "unknown"))
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	return broken(nil, "upstream %s left items open: %s", t.name, strings.Join(kinds, ", "))
}
