package schema

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// openItem is the item that holds the wire: between output_item.added and output_item.done.
type openItem struct {
	item      Item // as it was added
	rules     string
	index     int
	place     Place
	part      *Part  // the open content or summary part
	text      []byte // what the open part, or the arguments, have streamed
	parts     []Part // closed content parts
	summaries []Part // closed summary parts
}

// fold takes an event that the rules allow, and holds it to the text streamed so far. What it refuses changes nothing.
func (o *openItem) fold(e *Event) error {
	switch traits[e.Type].role {
	case streams:
		return o.stream(e)
	case settles:
		if whole := e.whole(); whole == nil || *whole != string(o.text) {
			return refuse(e, lawText, "differs from its deltas")
		}
		return o.samePart(e, o.part)
	case opens:
		return o.openPart(e)
	case closes:
		return o.closePart(e)
	case notes:
		return o.note(e)
	case finishes:
		return o.checkDone(e)
	}
	return nil
}

func (o *openItem) stream(e *Event) error {
	if e.Delta == nil {
		return refuse(e, lawText, "no delta in it")
	}
	if err := o.samePart(e, o.part); err != nil {
		return err
	}
	o.text = append(o.text, *e.Delta...)
	if o.part != nil && len(e.Logprobs) > 0 {
		o.part.Logprobs = append(slices.Clip(o.part.Logprobs), e.Logprobs...)
	}
	return nil
}

func (o *openItem) openPart(e *Event) error {
	if e.Part == nil || e.Part.content() != "" {
		return refuse(e, lawAdded, "not an empty part")
	}
	if err := o.samePart(e, e.Part); err != nil {
		return err
	}
	p := *e.Part
	o.part, o.text = &p, nil
	return nil
}

// samePart holds the indexes of an event to the part that is open: they go up by one from 0.
func (o *openItem) samePart(e *Event, open *Part) error {
	switch {
	case open == nil:
		return nil
	case open.Type == PartSummaryText && indexOf(e.SummaryIndex) != len(o.summaries):
		return refuse(e, lawIndexes, "summary_index %d, %d is open", indexOf(e.SummaryIndex), len(o.summaries))
	case open.Type != PartSummaryText && indexOf(e.ContentIndex) != len(o.parts):
		return refuse(e, lawIndexes, "content_index %d, %d is open", indexOf(e.ContentIndex), len(o.parts))
	}
	return nil
}

func (o *openItem) note(e *Event) error {
	if n := len(o.part.Annotations); indexOf(e.AnnotationIndex) != n {
		return refuse(e, lawIndexes, "annotation_index %d, %d is due", indexOf(e.AnnotationIndex), n)
	}
	if err := o.samePart(e, o.part); err != nil {
		return err
	}
	o.part.Annotations = append(slices.Clip(o.part.Annotations), e.Annotation)
	return nil
}

// closePart takes the part's final form. It may bring annotations that no event did, but must repeat those that came.
func (o *openItem) closePart(e *Event) error {
	switch {
	case e.Part == nil || e.Part.Type != o.part.Type:
		return refuse(e, lawIdentity, "not the %s that is open", o.part.Type)
	case textual(o.part.Type) && e.Part.content() != string(o.text):
		return refuse(e, lawText, "part differs from its deltas")
	case !extends(e.Part.Annotations, o.part.Annotations):
		return refuse(e, lawText, "part differs from its annotations")
	}
	if err := o.samePart(e, o.part); err != nil {
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

// extends reports whether a begins with b.
func extends(a, b []jsontext.Value) bool {
	return len(a) >= len(b) && slices.EqualFunc(a[:len(b)], b, equalRaw)
}

func equalRaw(a, b jsontext.Value) bool { return bytes.Equal(a, b) }

// checkDone holds the finished item to what was added and streamed of it.
func (o *openItem) checkDone(e *Event) error {
	it := e.Item
	switch {
	case !o.sameIdentity(it):
		return refuse(e, lawIdentity, "not the %s that was added", o.item.Type)
	case o.rules == anyKind:
		return nil
	case o.rules == KindApprovalRequest && !sameJSON(it, &o.item):
		return refuse(e, lawIdentity, "differs from what was added")
	case o.rules == KindMessage && !sameParts(it.Content, o.parts),
		o.rules == KindReasoning && !sameParts(it.Content, o.parts),
		o.rules == KindReasoning && !sameParts(it.Summary, o.summaries):
		return refuse(e, lawText, "item differs from its parts")
	case streamsArguments(o.rules) && itemArguments(it) != string(o.text):
		return refuse(e, lawText, "arguments differ from their deltas")
	}
	return o.checkOutcome(e)
}

// sameIdentity reports whether a finished item is the one that was added. Of a kind that is not known here only id and
// type are: the rest is its upstream's.
func (o *openItem) sameIdentity(it *Item) bool {
	a := &o.item
	return it.ID == a.ID && it.Type == a.Type && (o.rules == anyKind ||
		it.Name == a.Name && it.Role == a.Role && it.CallID == a.CallID && it.ServerLabel == a.ServerLabel)
}

// checkOutcome holds an item's final form to the event that told how its work ended.
func (o *openItem) checkOutcome(e *Event) error {
	it := e.Item
	final := it.Status == StatusCompleted || it.Status == StatusIncomplete || it.Status == StatusFailed
	ok := final || it.Status == "" && o.rules != KindMCPCall
	switch o.place {
	case listed:
		ok = isNull(it.Error)
	case listFailed:
		ok = !isNull(it.Error)
	case called:
		ok = isNull(it.Error) && (it.Status == StatusCompleted || it.Status == StatusIncomplete)
	case callFailed:
		ok = it.Status == StatusFailed && !isNull(it.Error) || it.Status == StatusIncomplete
	}
	if !ok {
		return refuse(e, lawStatus, "a %s that stands at %q, with status %q and error %.40s", it.Type, o.place, it.Status, it.Error)
	}
	return nil
}

func isNull(v jsontext.Value) bool { return len(v) == 0 || string(v) == "null" }

func sameParts(a, b []Part) bool { return slices.EqualFunc(a, b, samePart) }

func samePart(a, b Part) bool {
	return a.Type == b.Type && equalText(a.Text, b.Text) && equalText(a.Refusal, b.Refusal) &&
		slices.EqualFunc(a.Annotations, b.Annotations, equalRaw) && slices.EqualFunc(a.Logprobs, b.Logprobs, equalRaw) &&
		(a.Annotations == nil) == (b.Annotations == nil) && equalRaw(a.Rest, b.Rest)
}

func equalText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func streamsArguments(kind string) bool {
	return kind == KindFunctionCall || kind == KindMCPCall || kind == KindCustomCall
}

// arguments returns where a call keeps what it streams: its arguments, or a custom tool's input.
func (it *Item) arguments() **string {
	if it.Type == KindCustomCall {
		return &it.Input
	}
	return &it.Arguments
}

func itemArguments(it *Item) string { return deref(*it.arguments(), "") }

func setArguments(it *Item, s string) { *it.arguments() = &s }

// snapshot returns the item with what has been streamed of it so far.
func (o *openItem) snapshot() Item {
	it := o.item
	parts, summaries := slices.Clone(o.parts), slices.Clone(o.summaries)
	if o.part != nil {
		p := *o.part
		if textual(p.Type) {
			p.setContent(string(o.text))
		}
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
