package upstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// items tells the items of one model call as events. Text goes to one open item at a time; function calls may be open
// beside each other.
type items struct {
	emit func(schema.Event) error
	next int // output index of the next item
	open *spoken
}

// spoken is an open message or reasoning item, and its open part.
type spoken struct {
	index  int
	item   schema.Item
	kind   string // of the open part
	nth    int    // its index among the parts of its list
	text   strings.Builder
	probs  []jsontext.Value
	joiner joiner
}

// voices says which item a kind of part belongs to, and by which event it grows.
var voices = map[string]struct {
	item  string
	delta schema.EventType
}{
	schema.PartOutputText:    {schema.KindMessage, schema.TextDelta},
	schema.PartRefusal:       {schema.KindMessage, schema.RefusalDelta},
	schema.PartReasoningText: {schema.KindReasoning, schema.ReasoningDelta},
	schema.PartSummaryText:   {schema.KindReasoning, schema.SummaryDelta},
}

// say adds text to a part of that kind, and opens the item and the part that it needs.
func (w *items) say(kind, text string, probs ...jsontext.Value) error {
	if err := w.turnTo(kind); err != nil {
		return err
	}
	return w.delta(text, probs)
}

// sayJSON is say for a JSON string that is one piece of a text.
func (w *items) sayJSON(kind string, raw jsontext.Value, probs ...jsontext.Value) error {
	if err := w.turnTo(kind); err != nil {
		return err
	}
	return w.delta(w.open.joiner.add(raw), probs)
}

// turnTo makes kind the open part. What speaks of another kind of item closes the open one.
func (w *items) turnTo(kind string) error {
	if w.open != nil && w.open.kind == kind {
		return nil
	}
	if w.open == nil || w.open.item.Type != voices[kind].item {
		if err := w.begin(voices[kind].item); err != nil {
			return err
		}
	}
	return w.beginPart(kind)
}

func (w *items) begin(kind string) error {
	if err := w.close(schema.StatusCompleted); err != nil {
		return err
	}
	o := &spoken{item: schema.Item{Type: kind, Status: schema.StatusInProgress}}
	if kind == schema.KindMessage {
		o.item.Role, o.item.Content = "assistant", schema.Content{}
	} else {
		o.item.Summary = []schema.Part{}
	}
	o.index, o.item.ID = w.claim()
	w.open = o
	return w.emit(schema.Event{Type: schema.ItemAdded, OutputIndex: &o.index, Item: clone(&o.item)})
}

// claim gives out the next index and the id that goes with it.
func (w *items) claim() (int, string) {
	n := w.next
	w.next++
	return n, localID(n)
}

func localID(n int) string { return fmt.Sprintf("item_%d", n) }

func (w *items) beginPart(kind string) error {
	if err := w.closePart(); err != nil {
		return err
	}
	o := w.open
	o.kind, o.nth, o.probs = kind, len(o.item.Content), nil
	o.text.Reset()
	e := schema.Event{Type: schema.PartAdded, OutputIndex: &o.index, ItemID: o.item.ID}
	part := schema.NewPart(kind, "")
	e.Part = &part
	if kind == schema.PartSummaryText {
		o.nth = len(o.item.Summary)
		e.Type = schema.SummaryAdded
	}
	o.place(&e)
	return w.emit(e)
}

// place says which part an event speaks of.
func (o *spoken) place(e *schema.Event) {
	nth := o.nth
	if o.kind == schema.PartSummaryText {
		e.SummaryIndex = &nth
		return
	}
	e.ContentIndex = &nth
}

func (w *items) delta(text string, probs []jsontext.Value) error {
	if text == "" {
		return nil
	}
	o := w.open
	o.text.WriteString(text)
	o.probs = append(o.probs, probs...)
	e := schema.Event{Type: voices[o.kind].delta, OutputIndex: &o.index, ItemID: o.item.ID, Delta: &text}
	if o.kind == schema.PartOutputText {
		e.Logprobs = append([]jsontext.Value{}, probs...)
	}
	o.place(&e)
	return w.emit(e)
}

// closePart puts the open part into its item. Its .done events follow from what was streamed: the sequencer writes them.
func (w *items) closePart() error {
	o := w.open
	if o.kind == "" {
		return nil
	}
	if err := w.delta(o.joiner.rest(), nil); err != nil {
		return err
	}
	part := schema.NewPart(o.kind, o.text.String())
	if len(o.probs) > 0 {
		part.Logprobs = o.probs
	}
	if o.kind == schema.PartSummaryText {
		o.item.Summary = append(o.item.Summary, part)
	} else {
		o.item.Content = append(o.item.Content, part)
	}
	o.kind = ""
	return nil
}

// seal gives the open item the encrypted content that it will have when it is done.
func (w *items) seal(content string) { w.open.item.EncryptedContent = &content }

// close ends the open item with that status. It does nothing if none is open.
func (w *items) close(status string) error {
	if w.open == nil {
		return nil
	}
	if err := w.closePart(); err != nil {
		return err
	}
	o := w.open
	o.item.Status = status
	w.open = nil
	return w.emit(schema.Event{Type: schema.ItemDone, OutputIndex: &o.index, Item: &o.item})
}

func clone(it *schema.Item) *schema.Item {
	c := *it
	c.Content = slices.Clone(it.Content)
	c.Summary = slices.Clone(it.Summary)
	return &c
}
