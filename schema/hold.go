package schema

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// HeldError says that a producer ran too far ahead of its turn: the bound on what is held for it is reached.
type HeldError struct{ Producer string }

func (e *HeldError) Error() string {
	return fmt.Sprintf("producer %s: more than %d events or %d bytes ahead of its turn", e.Producer, MaxHeldEvents, MaxHeldBytes)
}

// ErrOutputFull says that one more event would make the terminal event too large to store: the run must end with
// [Sequencer.Abort] and response.incomplete.
var ErrOutputFull = errors.New("the response's output has reached its limit")

// load is what is held back for one producer.
type load struct{ events, bytes int }

func (q *Sequencer) hold(producer string, e *Event) error {
	h := q.held[producer]
	if h == nil {
		h = &load{}
		q.held[producer] = h
	}
	h.events++
	h.bytes += size(e)
	if h.events > MaxHeldEvents || h.bytes > MaxHeldBytes {
		return &HeldError{producer}
	}
	return nil
}

func (q *Sequencer) release(producer string, e *Event) {
	if h := q.held[producer]; h != nil {
		h.events--
		h.bytes -= size(e)
	}
}

// full reports whether nothing more can be held for a producer.
func (q *Sequencer) full(producer string) bool {
	h := q.held[producer]
	return h != nil && (h.events >= MaxHeldEvents || h.bytes >= MaxHeldBytes)
}

// perEvent is what an event weighs in memory beside the bytes that it brings.
const perEvent = 512

// size weighs an event in memory.
func size(e *Event) int {
	n := perEvent + texts(e.Delta, e.Text, e.Refusal, e.Arguments, e.Input) + len(e.Annotation) + len(e.Rest) + raws(e.Logprobs)
	if e.Part != nil {
		n += e.Part.size()
	}
	if e.Item != nil {
		n += e.Item.size()
	}
	return n
}

func (p *Part) size() int {
	return perEvent + texts(p.Text, p.Refusal) + raws(p.Annotations) + raws(p.Logprobs) + len(p.Rest)
}

func (it *Item) size() int {
	n := texts(it.EncryptedContent, it.Arguments, it.Input, it.Reason) + raws(it.Tools) +
		len(it.Output) + len(it.Error) + len(it.Rest)
	for i := range it.Content {
		n += it.Content[i].size()
	}
	for i := range it.Summary {
		n += it.Summary[i].size()
	}
	return n
}

func texts(list ...*string) (n int) {
	for _, s := range list {
		if s != nil {
			n += len(*s)
		}
	}
	return n
}

func raws(list []jsontext.Value) (n int) {
	for _, v := range list {
		n += len(v)
	}
	return n
}

// weight is what the terminal event's output will weigh as JSON: the finished items, and what the open one has streamed.
type weight struct{ items, open int }

func weigh(s *State) (w weight) {
	for i := range s.items {
		w.items += s.items[i].Weight()
	}
	if it := s.Open(); it != nil {
		w.open = it.Weight()
	}
	return w
}

// fits reports whether the response can still hold an event.
func (w *weight) fits(e *Event) bool {
	switch {
	case e.Type == ItemDone:
		return w.items+e.Item.Weight() <= MaxOutput
	case e.Delta != nil:
		return w.items+w.open+quoted(*e.Delta) <= MaxOutput
	}
	return true
}

// add counts an event that was given out.
func (w *weight) add(e *Event) {
	switch {
	case e.Type == ItemDone:
		w.items, w.open = w.items+e.Item.Weight(), 0
	case e.Delta != nil:
		w.open += quoted(*e.Delta)
	}
}

// Weight returns how many bytes an item has as JSON. One that cannot be written weighs nothing: its frame will say so.
func (it *Item) Weight() int {
	data, err := json.Marshal(it)
	if err != nil {
		return 0
	}
	return len(data)
}

// quoted returns what a string weighs as JSON, without its quotes: a control character takes six bytes.
func quoted(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			n++
		case c < ' ':
			n += 5
		}
	}
	return n
}
