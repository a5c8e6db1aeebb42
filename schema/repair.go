package schema

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

var null = jsontext.Value("null")

// emit numbers an event and applies it, behind whatever the table derives in front of it. l is nil for an event that
// speaks of no item.
func (q *Sequencer) emit(l *line, e Event) (out []Event, err error) {
	if l == nil {
		return q.apply(out, e)
	}
	if !l.onWire {
		if e.Type != ItemAdded {
			if out, err = q.apply(out, q.added(l.firstItem(&e))); err != nil {
				return out, err
			}
		} else {
			e = q.added(*e.Item)
		}
		l.onWire = true
	}
	if e.Type == ItemDone {
		if out, err = q.settle(out, &e); err != nil {
			return out, err
		}
	}
	if out, err = q.fill(out, &e); err != nil {
		return out, err
	}
	return q.apply(out, e)
}

// apply gives an event its number and its item's real names, and folds it.
func (q *Sequencer) apply(out []Event, e Event) ([]Event, error) {
	e.SequenceNumber = q.state.due
	if o := q.state.open; o != nil && !e.Type.Lifecycle() && e.Type != ItemAdded {
		o.name(&e)
	}
	if err := q.state.Apply(&e); err != nil {
		return out, err
	}
	return append(out, e), nil
}

// name writes the open item's id and indexes over whatever the producer called them.
func (o *openItem) name(e *Event) {
	if e.free() {
		return
	}
	e.OutputIndex = new(o.index)
	switch {
	case e.Item != nil:
		e.Item.ID = o.item.ID
	case e.ItemID != "" || known[e.Type] != "" || e.Part != nil:
		e.ItemID = o.item.ID
	}
	switch {
	case o.part == nil && e.Type != PartAdded && e.Type != SummaryAdded:
	case e.Type == SummaryAdded, o.part != nil && o.part.Type == PartSummaryText:
		e.SummaryIndex = new(len(o.summaries))
	default:
		e.ContentIndex = new(len(o.parts))
	}
	if (e.Type == TextDelta || e.Type == TextDone) && e.Logprobs == nil {
		e.Logprobs = []jsontext.Value{}
	}
}

// added returns the event that opens an item: with its minted id, its zero values, and every member that a client
// requires of its kind.
func (q *Sequencer) added(it Item) Event {
	n := len(q.state.items)
	it.ID = ItemID(q.state.resp.ID, it.Type, n)
	blank(&it)
	dress(&it)
	return Event{Type: ItemAdded, OutputIndex: &n, Item: &it}
}

// firstItem returns what output_item.added would have said, for a line that has none: the item that its
// output_item.done brings, blank.
func (l *line) firstItem(e *Event) Item {
	if e.Item != nil {
		return *e.Item
	}
	for i := range l.held {
		if l.held[i].Item != nil {
			return *l.held[i].Item
		}
	}
	return Item{Type: l.kind}
}

// blank takes out of an item what its events will bring. An approval request has none between added and done.
func blank(it *Item) {
	if tabled(it.Type) == anyKind || it.Type == KindApprovalRequest {
		return
	}
	it.Content, it.Summary, it.Tools, it.Output, it.Error, it.EncryptedContent = nil, nil, nil, nil, nil, nil
	if it.Type != KindListTools {
		it.Status = StatusInProgress
	}
	if streamsArguments(it.Type) {
		setArguments(it, "")
	}
}

// dress adds the members that clients require of a kind, and takes out those that they refuse as null.
func dress(it *Item) {
	switch it.Type {
	case KindMessage:
		it.Role = "assistant"
		if it.Content == nil {
			it.Content = Content{}
		}
	case KindReasoning:
		if it.Summary == nil {
			it.Summary = []Part{}
		}
	case KindApprovalRequest:
		it.Status = ""
	case KindListTools:
		it.Status = ""
		if it.Tools == nil {
			it.Tools = []jsontext.Value{}
		}
		if string(it.Error) == "null" {
			it.Error = nil
		}
	case KindMCPCall:
		for _, v := range []*jsontext.Value{&it.Output, &it.Error, &it.ApprovalRequestID} {
			if *v == nil {
				*v = null
			}
		}
	case KindFunctionCall, KindCustomCall:
		if it.CallID == "" {
			it.CallID = "call_" + it.ID
		}
	}
}

// fill writes the derivable events that stand between the open item's place and the event.
func (q *Sequencer) fill(out []Event, e *Event) ([]Event, error) {
	o := q.state.open
	if o == nil || e.Type == ItemAdded {
		return out, nil
	}
	failed := e.Type == ItemDone && e.Item.Failed()
	way, ok := path(o.rules, o.place, step(e), func(r Rule) bool {
		return r.On == Step(ListFailed) && !failed || r.On == Step(CallFailed) && !failed ||
			r.On == Step(ListCompleted) && failed || r.On == Step(CallCompleted) && failed
	})
	if !ok {
		return out, nil // State says which rule is broken
	}
	for _, r := range way {
		var err error
		if out, err = q.apply(out, o.derive(r.On, e)); err != nil {
			return out, err
		}
	}
	return out, nil
}

// derive returns the event that a fillable rule stands for: all that it says follows from the open item, and, for the
// annotations of a part, from the finished item that is about to close it.
func (o *openItem) derive(on Step, e *Event) Event {
	name, kind, _ := strings.Cut(strings.TrimSuffix(string(on), ")"), "(")
	d := Event{Type: EventType(name)}
	text := string(o.text)
	switch d.Type {
	case PartAdded:
		d.Part = new(NewPart(kind, ""))
	case SummaryAdded:
		d.Part = new(NewPart(PartSummaryText, ""))
	case TextDone, ReasoningDone, SummaryTextDone:
		d.Text = &text
	case RefusalDone:
		d.Refusal = &text
	case FunctionDone, CallArguments:
		d.Arguments = &text
	case CustomDone:
		d.Input = &text
	case PartDone, SummaryDone:
		d.Part = o.wholePart(text, e)
	}
	return d
}

func (o *openItem) wholePart(text string, e *Event) *Part {
	p := *o.part
	if e.Type == ItemDone && len(e.Item.Content) > len(o.parts) && e.Item.Content[len(o.parts)].Type == p.Type {
		p = e.Item.Content[len(o.parts)]
	}
	if p.Type == PartOutputText {
		p.Annotations, p.Logprobs = orList(p.Annotations), orList(p.Logprobs)
	}
	p.setContent(text)
	return &p
}

func orList(v []jsontext.Value) []jsontext.Value {
	if v == nil {
		return []jsontext.Value{}
	}
	return v
}

// settle streams what the finished item holds and its events did not bring, and makes the item say what was streamed:
// the client has seen it, so it is the truth.
func (q *Sequencer) settle(out []Event, e *Event) (_ []Event, err error) {
	o := q.state.open
	it := *e.Item
	e.Item = &it
	switch {
	case o.rules == KindMessage, o.rules == KindReasoning:
		if out, err = q.settleParts(out, it.Summary, len(o.summaries), SummaryAdded); err != nil {
			return out, err
		}
		if out, err = q.settleParts(out, it.Content, len(o.parts), PartAdded); err != nil {
			return out, err
		}
		if out, err = q.closePart(out, e); err != nil {
			return out, err
		}
		if o.rules == KindReasoning {
			it.Summary = o.summaries
		}
		it.Content = o.parts
	case streamsArguments(o.rules):
		if out, err = q.rest(out, itemArguments(&it)); err != nil {
			return out, err
		}
		setArguments(&it, string(o.text))
	}
	settleStatus(&it)
	dress(&it)
	return out, nil
}

// settleStatus gives a finished item a final status: an error makes it failed, whatever its producer called it.
func settleStatus(it *Item) {
	if tabled(it.Type) == anyKind || it.Status == StatusIncomplete || it.Status == StatusFailed {
		return
	}
	it.Status = StatusCompleted
	if it.Failed() {
		it.Status = StatusFailed
	}
}

// closePart closes the part that is open, if any.
func (q *Sequencer) closePart(out []Event, e *Event) ([]Event, error) {
	if q.state.open.part == nil {
		return out, nil
	}
	return q.fill(out, e)
}

// settleParts streams the parts from the n-th on, the first of them as far as it is missing.
func (q *Sequencer) settleParts(out []Event, parts []Part, n int, open EventType) (_ []Event, err error) {
	o := q.state.open
	for i := n; i < len(parts); i++ {
		if o.part == nil || o.part.Type != parts[i].Type || i > n {
			added := Event{Type: open, Part: new(NewPart(parts[i].Type, ""))}
			if out, err = q.fill(out, &added); err != nil {
				return out, err
			}
			if out, err = q.apply(out, added); err != nil {
				return out, err
			}
		}
		if out, err = q.rest(out, parts[i].content()); err != nil {
			return out, err
		}
	}
	return out, nil
}

// rest streams what of whole has not been streamed yet. Where the two differ, what was streamed stands.
func (q *Sequencer) rest(out []Event, whole string) ([]Event, error) {
	o := q.state.open
	missing, ok := strings.CutPrefix(whole, string(o.text))
	if !ok || missing == "" {
		return out, nil
	}
	delta := Event{Type: o.deltaType(), Delta: &missing}
	out, err := q.fill(out, &delta)
	if err != nil {
		return out, err
	}
	return q.apply(out, delta)
}

func (o *openItem) deltaType() EventType {
	if o.part != nil {
		return map[string]EventType{
			PartOutputText: TextDelta, PartRefusal: RefusalDelta, PartReasoningText: ReasoningDelta, PartSummaryText: SummaryDelta,
		}[o.part.Type]
	}
	return map[string]EventType{
		KindFunctionCall: FunctionDelta, KindMCPCall: CallDelta, KindCustomCall: CustomDelta,
	}[o.rules]
}

// cut returns an open item as it is when nothing more will come of it.
func cut(o *openItem) *Item {
	it := o.snapshot()
	switch it.Type {
	case KindListTools:
		it.Error = jsontext.Value(`"the tool list was cut off"`)
	case KindApprovalRequest:
	default:
		it.Status = StatusIncomplete
	}
	return &it
}
