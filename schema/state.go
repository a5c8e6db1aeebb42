package schema

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// State is the fold of a response's events: what the response is now. It takes only the next event in canonical order,
// so it is the checker too. The zero value is a response before its first event. A State must not be copied after its
// first event.
type State struct {
	place Place
	due   int64
	resp  *Response
	items []Item
	ids   map[string]bool
	open  *openItem
}

// Fold folds the frames of one response, from the first.
func Fold(frames []byte) (*State, error) {
	var s State
	return &s, s.ApplyFrames(frames)
}

// FoldTerminal returns the state behind a terminal event from its frame alone: it repeats the whole output. What stands
// in front of it is taken on trust; Fold checks it.
func FoldTerminal(frame []byte) (*State, error) {
	f, _, err := CutFrame(frame)
	if err != nil {
		return nil, err
	}
	e, err := ParseEvent(f.Data)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", f.ID, err)
	}
	if !e.Type.Terminal() || e.Response == nil {
		return nil, fmt.Errorf("frame %d: %s is not a terminal event", f.ID, e.Type)
	}
	return &State{place: ended, due: f.ID + 1, resp: e.Response, items: e.Response.Output}, nil
}

// ApplyFrames applies whole frames, in order.
func (s *State) ApplyFrames(frames []byte) error {
	for len(frames) > 0 {
		f, rest, err := CutFrame(frames)
		if err != nil {
			return err
		}
		e, err := parseFrame(f)
		if err != nil {
			return err
		}
		if err := s.Apply(&e); err != nil {
			return err
		}
		frames = rest
	}
	return nil
}

// parseFrame reads a frame's event, which must be the one that the frame says it is.
func parseFrame(f Frame) (Event, error) {
	e, err := ParseEvent(f.Data)
	if err != nil {
		return e, fmt.Errorf("frame %d: %w", f.ID, err)
	}
	if e.Type != f.Type || e.SequenceNumber != f.ID {
		return e, refuse(&e, lawFrame, "frame says %s %d", f.Type, f.ID)
	}
	return e, nil
}

// Apply takes the next event. An event that breaks the canonical order is a *[Violation] and leaves s as it was.
func (s *State) Apply(e *Event) error {
	if e.SequenceNumber != s.due {
		return refuse(e, lawNumbers, "%d is due", s.due)
	}
	if err := s.apply(e); err != nil {
		return err
	}
	s.due++
	return nil
}

func (s *State) apply(e *Event) error {
	switch {
	case !e.Type.legal():
		return refuse(&Event{SequenceNumber: e.SequenceNumber}, lawType, "not an event type: %.40q", e.Type)
	case e.Type == ErrorEvent, e.hasError():
		return refuse(e, lawError, "clients end the stream on it")
	case e.Type.Lifecycle():
		return s.applyLifecycle(e)
	case !s.Begun():
		return refuse(e, lawFirst, "before response.created")
	case s.Ended():
		return refuse(e, lawLast, "after the terminal event")
	case e.free():
		return nil
	case !s.Running():
		return refuse(e, lawInProgress, "before response.in_progress")
	case e.Type == ItemAdded:
		return s.applyAdded(e)
	}
	return s.applyInItem(e)
}

func (s *State) applyLifecycle(e *Event) error {
	to, ok := next(kindResponse, s.place, e)
	switch {
	case !ok && !s.Begun():
		return refuse(e, lawFirst, "before response.created")
	case !ok && s.Ended() && e.Type.Terminal():
		return refuse(e, lawOne, "after the terminal event")
	case !ok && s.Ended():
		return refuse(e, lawLast, "after the terminal event")
	case !ok && e.Type.Terminal():
		return refuse(e, lawLifecycle, "response is only %s", s.place)
	case e.Response == nil || e.Response.ID == "":
		return refuse(e, lawLifecycle, "no response in it")
	case s.resp != nil && s.resp.ID != e.Response.ID:
		return refuse(e, lawIdentity, "response %s became %s", s.resp.ID, e.Response.ID)
	case !ok:
		return refuse(e, lawLifecycle, "response is %s already", s.place)
	case s.resp != nil && s.resp.CreatedAt != e.Response.CreatedAt:
		return refuse(e, lawIdentity, "created_at %d became %d", s.resp.CreatedAt, e.Response.CreatedAt)
	}
	if err := s.checkLifecycle(e); err != nil {
		return err
	}
	s.place, s.resp = to, e.Response
	return nil
}

// lifecycleStatus is what a response's status may be in its own events. A cancelled response ends in response.failed:
// no SDK knows a response.cancelled.
var lifecycleStatus = map[EventType][]string{
	Created: {StatusInProgress, StatusQueued}, Queued: {StatusQueued}, InProgress: {StatusInProgress},
	Completed: {StatusCompleted}, Incomplete: {StatusIncomplete}, Failed: {StatusFailed, StatusCancelled},
}

func (s *State) checkLifecycle(e *Event) error {
	fits := slices.Contains(lifecycleStatus[e.Type], e.Response.Status)
	switch {
	case !e.Type.Terminal() && len(e.Response.Output) > 0:
		return refuse(e, lawLifecycle, "output before any item")
	case !e.Type.Terminal() && !fits:
		return refuse(e, lawLifecycle, "status %q", e.Response.Status)
	case e.Type.Terminal() && !fits:
		return refuse(e, lawTerminal, "status %q", e.Response.Status)
	case e.Type.Terminal():
		return s.checkOutput(e)
	}
	return nil
}

// checkOutput holds the terminal event to what was streamed: clients keep its output and throw away what they saw.
func (s *State) checkOutput(e *Event) error {
	if s.open != nil {
		return refuse(e, lawClosed, "item %s is open", s.open.item.ID)
	}
	if len(e.Response.Output) != len(s.items) {
		return refuse(e, lawOutput, "%d items in the output, %d streamed", len(e.Response.Output), len(s.items))
	}
	for i := range s.items {
		if !sameJSON(&s.items[i], &e.Response.Output[i]) {
			return refuse(e, lawOutput, "output %d differs from the item streamed", i)
		}
	}
	return nil
}

func (s *State) applyAdded(e *Event) error {
	switch {
	case e.Item == nil || e.Item.Type == "":
		return refuse(e, lawAdded, "no item in it")
	case s.open != nil:
		return refuse(e, lawInterleave, "item %s is open", s.open.item.ID)
	case e.Index() != len(s.items):
		return refuse(e, lawIndexes, "output_index %d, %d is due", e.Index(), len(s.items))
	case e.Item.ID == "" || s.ids[e.Item.ID]:
		return refuse(e, lawIDs, "item id %q", e.Item.ID)
	case !e.Item.blank():
		return refuse(e, lawAdded, "content before its events")
	}
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	s.ids[e.Item.ID] = true
	s.open = &openItem{item: *e.Item, rules: tabled(e.Item.Type), index: len(s.items), place: inItem}
	return nil
}

func (s *State) applyInItem(e *Event) error {
	o := s.open
	switch {
	case o == nil:
		return refuse(e, lawInItem, "no item is open")
	case e.Index() != o.index:
		return refuse(e, lawInterleave, "output_index %d, item %d is open", e.Index(), o.index)
	case !o.named(e):
		return refuse(e, lawIdentity, "item %s is open", o.item.ID)
	}
	to, ok := next(o.rules, o.place, e)
	if !ok {
		return refuse(e, lawGrammar, "a %s that stands at %q", o.item.Type, o.place)
	}
	if err := o.fold(e); err != nil {
		return err
	}
	o.place = to
	if e.Type == ItemDone {
		s.items, s.open = append(s.items, *e.Item), nil
	}
	return nil
}

// named reports whether an event names the open item. Events that only upstreams know may leave the id out, as
// response.shell_call_command.added does.
func (o *openItem) named(e *Event) bool {
	switch {
	case e.Type == ItemDone:
		return e.Item != nil && e.Item.ID == o.item.ID
	case e.ItemID == "":
		return !traits[e.Type].tabled
	}
	return e.ItemID == o.item.ID
}

// Next returns the sequence number that is due.
func (s *State) Next() int64 { return s.due }

// Begun reports whether response.created was there.
func (s *State) Begun() bool { return s.place != start }

// Running reports whether items may come.
func (s *State) Running() bool { return s.place == running }

// Ended reports whether the terminal event was there.
func (s *State) Ended() bool { return s.place == ended }

// Items returns the finished items, in output order. The caller must not change them.
func (s *State) Items() []Item { return s.items }

// Open returns the item that holds the wire as far as it has come, or nil.
func (s *State) Open() *Item {
	if s.open == nil {
		return nil
	}
	it := s.open.snapshot()
	return &it
}

// Response returns the response as it is now, or nil before response.created. An item that is still open is the last of
// its output, with what has been streamed of it.
func (s *State) Response() *Response {
	if s.resp == nil || s.Ended() {
		return s.resp
	}
	r := *s.resp
	r.Output = slices.Clone(s.items)
	if s.open != nil {
		r.Output = append(r.Output, s.open.snapshot())
	}
	return &r
}

func sameJSON(a, b *Item) bool {
	x, err := json.Marshal(a, json.Deterministic(true))
	if err != nil {
		return false
	}
	y, err := json.Marshal(b, json.Deterministic(true))
	return err == nil && bytes.Equal(x, y)
}
