package upstream

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// call is an open function call, or a custom one.
type call struct {
	w      *items
	index  int
	item   schema.Item
	text   strings.Builder // arguments, or input
	joiner joiner
}

// call opens a function_call or custom_tool_call. What was being said is done by then.
func (w *items) call(kind, callID, name string) (*call, error) {
	if err := w.close(schema.StatusCompleted); err != nil {
		return nil, err
	}
	c := &call{w: w, item: schema.Item{Type: kind, Status: schema.StatusInProgress, CallID: callID, Name: name}}
	c.index, c.item.ID = w.claim()
	added := c.item
	setCallText(&added, "")
	return c, w.emit(schema.Event{Type: schema.ItemAdded, OutputIndex: &c.index, Item: &added})
}

// add streams a piece of the arguments, given as the JSON string that it came in.
func (c *call) add(raw jsontext.Value) error { return c.delta(c.joiner.add(raw)) }

func (c *call) delta(text string) error {
	if text == "" {
		return nil
	}
	c.text.WriteString(text)
	kind := schema.FunctionDelta
	if c.item.Type == schema.KindCustomCall {
		kind = schema.CustomDelta
	}
	return c.w.emit(schema.Event{Type: kind, OutputIndex: &c.index, ItemID: c.item.ID, Delta: &text})
}

// done ends the call with that status.
func (c *call) done(status string) error {
	if err := c.delta(c.joiner.rest()); err != nil {
		return err
	}
	c.item.Status = status
	setCallText(&c.item, c.text.String())
	return c.w.emit(schema.Event{Type: schema.ItemDone, OutputIndex: &c.index, Item: &c.item})
}

func setCallText(it *schema.Item, text string) {
	if it.Type == schema.KindCustomCall {
		it.Input = &text
		return
	}
	it.Arguments = &text
}
