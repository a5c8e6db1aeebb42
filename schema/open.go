package schema

import "slices"

// What kinds of events carry text: deltas add to it, settled ones repeat it whole.
var (
	deltas = map[EventType]bool{
		TextDelta: true, RefusalDelta: true, ReasoningDelta: true, SummaryDelta: true,
		FunctionDelta: true, CustomDelta: true, CallDelta: true,
	}
	settled = map[EventType]bool{
		TextDone: true, RefusalDone: true, ReasoningDone: true, SummaryTextDone: true,
		FunctionDone: true, CustomDone: true, CallArguments: true,
	}
)

// fold takes an event that the rules allow, and holds it to the text streamed so far.
func (o *openItem) fold(e *Event) error {
	switch {
	case deltas[e.Type]:
		if e.Delta == nil {
			return refuse(e, "text-equals-deltas", "no delta in it")
		}
		if err := o.samePart(e); err != nil {
			return err
		}
		o.text = append(o.text, *e.Delta...)
	case settled[e.Type]:
		if e.content() != string(o.text) {
			return refuse(e, "text-equals-deltas", "differs from its deltas")
		}
		return o.samePart(e)
	case e.Type == PartAdded || e.Type == SummaryAdded:
		return o.openPart(e)
	case e.Type == PartDone || e.Type == SummaryDone:
		return o.closePart(e)
	case e.Type == TextAnnotation:
		o.part.Annotations = append(slices.Clone(o.part.Annotations), e.Annotation)
	case e.Type == ItemDone:
		return o.checkDone(e)
	}
	return nil
}

func (o *openItem) openPart(e *Event) error {
	if e.Part == nil || e.Part.content() != "" {
		return refuse(e, "part-added", "not an empty part")
	}
	p := *e.Part
	o.part, o.text = &p, nil
	return o.samePart(e)
}

// samePart holds the indexes of an event to the part that is open: they go up by one from 0.
func (o *openItem) samePart(e *Event) error {
	switch {
	case o.part == nil:
		return nil
	case o.part.Type == PartSummaryText && indexOf(e.SummaryIndex) != len(o.summaries):
		return refuse(e, "dense-indexes", "summary_index %d, %d is open", indexOf(e.SummaryIndex), len(o.summaries))
	case o.part.Type != PartSummaryText && indexOf(e.ContentIndex) != len(o.parts):
		return refuse(e, "dense-indexes", "content_index %d, %d is open", indexOf(e.ContentIndex), len(o.parts))
	}
	return nil
}

func (o *openItem) closePart(e *Event) error {
	if e.Part == nil || e.Part.content() != string(o.text) {
		return refuse(e, "text-equals-deltas", "part differs from its deltas")
	}
	if err := o.samePart(e); err != nil {
		return err
	}
	if o.part.Type == PartSummaryText {
		o.summaries = append(o.summaries, *e.Part)
	} else {
		o.parts = append(o.parts, *e.Part)
	}
	o.part, o.text = nil, nil
	return nil
}

// checkDone holds the finished item to what was streamed of it.
func (o *openItem) checkDone(e *Event) error {
	it := e.Item
	switch {
	case it == nil || it.Type != o.item.Type:
		return refuse(e, "one-identity", "not the %s that was added", o.item.Type)
	case o.rules == KindMessage && !sameParts(it.Content, o.parts),
		o.rules == KindReasoning && !sameParts(it.Content, o.parts),
		o.rules == KindReasoning && !sameParts(it.Summary, o.summaries):
		return refuse(e, "text-equals-deltas", "item differs from its parts")
	case streamsArguments(o.rules) && itemArguments(it) != string(o.text):
		return refuse(e, "text-equals-deltas", "arguments differ from their deltas")
	}
	return nil
}

func sameParts(a, b []Part) bool {
	return slices.EqualFunc(a, b, func(p, q Part) bool { return p.Type == q.Type && p.content() == q.content() })
}

func streamsArguments(kind string) bool {
	return kind == KindFunctionCall || kind == KindMCPCall || kind == KindCustomCall
}

// itemArguments returns what a call streams: its arguments, or a custom tool's input.
func itemArguments(it *Item) string {
	if it.Input != nil {
		return *it.Input
	}
	return deref(it.Arguments, "")
}

func setArguments(it *Item, s string) {
	if it.Type == KindCustomCall {
		it.Input = &s
		return
	}
	it.Arguments = &s
}

// snapshot returns the item with what has been streamed of it so far.
func (o *openItem) snapshot() Item {
	it := o.item
	parts, summaries := slices.Clone(o.parts), slices.Clone(o.summaries)
	if o.part != nil {
		p := *o.part
		p.setContent(string(o.text))
		if p.Type == PartSummaryText {
			summaries = append(summaries, p)
		} else {
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 {
		it.Content = parts
	}
	if len(summaries) > 0 {
		it.Summary = summaries
	}
	if streamsArguments(o.rules) {
		setArguments(&it, string(o.text))
	}
	return it
}
