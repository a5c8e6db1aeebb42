package schema

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// A Batch is what a producer outside of the gateway sends at one go: its next events, each as it wrote it. Place counts the
// events of that producer from 0, so that a batch which comes twice is known; numbers inside events are content.
type Batch struct {
	Producer string
	// Epoch tells a producer that was started anew from the one before: what an older one still sends is ignored.
	Epoch int64
	// Place is where the first of the events stands among the producer's.
	Place int64
	// Last says that nothing will come from the producer behind this batch.
	Last   bool
	Events []jsontext.Value
}

// Next is the place behind the batch.
func (b *Batch) Next() int64 { return b.Place + int64(len(b.Events)) }

// Ends reports whether the events end with a terminal one, or with an error event, behind which OpenAI's API sends nothing: then the
// producer has ended too, unless it says otherwise.
func (b *Batch) Ends() bool {
	if len(b.Events) == 0 {
		return false
	}
	e, err := ParseEvent(b.Events[len(b.Events)-1])
	return err == nil && (e.Type.Terminal() || e.Type == ErrorEvent)
}

// Lines writes the events as newline-delimited JSON.
func (b *Batch) Lines() []byte {
	var out []byte
	for _, e := range b.Events {
		out = append(append(out, e...), '\n')
	}
	return out
}

// ParseLines reads what Lines has written, or a producer in its place. Blank lines are nothing; an event that nobody could
// read is an *[Error].
func ParseLines(data []byte) ([]jsontext.Value, error) {
	var events []jsontext.Value
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		e, err := ReadEvent(line)
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

// ReadEvent checks an event of a producer by itself, and returns it on one line: one JSON object within the limits of a
// request, with a type that a frame can name. Whether it may come now, only its order can tell. Its errors are *[Error].
func ReadEvent(data []byte) (jsontext.Value, error) {
	if len(data) > MaxEvent {
		return nil, &Error{
			Status: 413, Type: TypeInvalidRequest, Code: CodeTooLarge, Message: "An event is larger than the limit.",
		}
	}
	if err := CheckJSON(data); err != nil {
		return nil, err
	}
	e, err := ParseEvent(data)
	switch {
	case errors.Is(err, errNoType):
		return nil, Refuse(CodeMissing, "type", "An event has no 'type'.")
	case err != nil:
		return nil, semantic(err)
	case !e.Type.legal():
		return nil, Refuse(CodeInvalidValue, "type", "Not an event type: %.40q.", string(e.Type))
	}
	line := jsontext.Value(bytes.Clone(data))
	if err := line.Compact(); err != nil {
		return nil, Refuse(CodeInvalidJSON, "", "The event is not valid JSON: %s.", syntax(err))
	}
	return line, nil
}
