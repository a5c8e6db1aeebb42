package schema

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// Exchange is what a response was asked, and what it has said so far: what other responses go on from.
type Exchange struct {
	Command  *Command
	Request  *CreateRequest
	Response *Response
}

// ReadExchange reads a log from its request record. Of a response that has ended, the terminal event tells all: what
// stands in front of it is not folded again.
func ReadExchange(ref Ref, records []Record) (*Exchange, error) {
	if len(records) == 0 || records[0].Kind != RecordRequest {
		return nil, fmt.Errorf("read exchange %s: no request record", ref)
	}
	cmd, err := ParseCommand(records[0].Body)
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", ref, err)
	}
	req, err := cmd.Parse()
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", ref, err)
	}
	state, err := lastState(records)
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", ref, err)
	}
	return &Exchange{cmd, req, state.Response()}, nil
}

// lastState folds the frames of a log; of one that has ended, the terminal frame alone.
func lastState(records []Record) (*State, error) {
	for _, rec := range slices.Backward(records) {
		last, err := lastFrame(rec.Frames)
		if err != nil {
			return nil, err
		}
		if last == nil {
			continue
		}
		if s, err := FoldTerminal(last); err == nil {
			return s, nil
		}
		break
	}
	var s State
	for i := range records {
		if err := s.ApplyFrames(records[i].Frames); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

// lastFrame returns the bytes of the last of some frames; nil for none.
func lastFrame(frames []byte) (last []byte, err error) {
	for len(frames) > 0 {
		_, rest, err := CutFrame(frames)
		if err != nil {
			return nil, err
		}
		last, frames = frames[:len(frames)-len(rest)], rest
	}
	return last, nil
}

// RetryAt returns until when the upstream asks to be left alone whose failure a response ended with: the try that failed so
// says it. It is the zero time where the response did not end so, or the upstream did not say.
func RetryAt(records []Record) (time.Time, error) {
	state, err := lastState(records)
	if err != nil {
		return time.Time{}, err
	}
	why := state.Response().Error
	for _, rec := range slices.Backward(records) {
		var t Try
		if why == nil || rec.Kind != RecordTry {
			continue
		}
		if err := json.Unmarshal(rec.Body, &t); err != nil {
			return time.Time{}, fmt.Errorf("read try: %w", err)
		}
		if t.Error == *why && t.RetryAfter > 0 {
			return time.UnixMilli(t.Began + t.Took + t.RetryAfter), nil
		}
	}
	return time.Time{}, nil
}

// Input returns the items that the request brought, each under an id by which it can be referred to.
func (x *Exchange) Input() []Item {
	input := slices.Clone([]Item(x.Request.Input))
	for i := range input {
		if input[i].ID == "" {
			input[i].ID = InputID(x.Command.Response, input[i].Type, i)
		}
	}
	return input
}

// Items returns the whole exchange: what was asked, then what was said.
func (x *Exchange) Items() []Item { return slices.Concat(x.Input(), x.Response.Output) }

// Size is about what the exchange weighs in memory, in bytes.
func (x *Exchange) Size() int {
	n := len(x.Command.Request)
	for i := range x.Response.Output {
		n += x.Response.Output[i].size()
	}
	return n
}

// Thread returns the responses that one goes on from which goes on from this one, oldest first.
func (x *Exchange) Thread() []string {
	return append(slices.Clone(x.Command.Thread), x.Command.Response)
}
