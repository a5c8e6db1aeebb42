package schema

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// State is the fold of a response's events: what the response is now. It takes only the next event in canonical order,
// so it is the checker too. The zero value is a response before its first event.
type State struct {
	place Place
	due   int64
	resp  *Response
	items []Item
	ids   map[string]bool
	open  *openItem
}

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

// Violation says which rule of the canonical order an event broke.
type Violation struct {
	Rule  string
	Event EventType
	Seq   int64
	Why   string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("event %d %s: %s (%s)", v.Seq, v.Event, v.Why, v.Rule)
}

func refuse(e *Event, rule, why string, args ...any) error {
	return &Violation{Rule: rule, Event: e.Type, Seq: e.SequenceNumber, Why: fmt.Sprintf(why, args...)}
}

// Fold folds the frames of one response, from the first.
func Fold(frames []byte) (*State, error) {
	var s State
	return &s, s.ApplyFrames(frames)
}

// ApplyFrames applies whole frames, in order.
func (s *State) ApplyFrames(frames []byte) error {
	for len(frames) > 0 {
		f, rest, err := CutFrame(frames)
		if err != nil {
			return err
		}
		e, err := ParseEvent(f.Data)
		if err != nil {
			return fmt.Errorf("frame %d: %w", f.ID, err)
		}
		if e.Type != f.Type || e.SequenceNumber != f.ID {
			return refuse(&e, "frame-names-event", "frame says %s %d", f.Type, f.ID)
		}
		if err := s.Apply(&e); err != nil {
			return err
		}
		frames = rest
	}
	return nil
}

// Apply takes the next event. An event that breaks the canonical order is a *[Violation] and leaves s as it was.
func (s *State) Apply(e *Event) error {
	if e.SequenceNumber != s.due {
		return refuse(e, "dense-numbers", "%d is due", s.due)
	}
	if err := s.apply(e); err != nil {
		return err
	}
	s.due++
	return nil
}

func (s *State) apply(e *Event) error {
	switch {
	case e.Type.Lifecycle():
		return s.applyLifecycle(e)
	case s.place == "":
		return refuse(e, "created-first", "before response.created")
	case s.Ended():
		return refuse(e, "terminal-last", "after the terminal event")
	case e.free():
		return nil
	case s.place != "running":
		return refuse(e, "in-progress-before-items", "before response.in_progress")
	case e.Type == ItemAdded:
		return s.applyAdded(e)
	}
	return s.applyInItem(e)
}

func (s *State) applyLifecycle(e *Event) error {
	to, ok := next(kindResponse, s.place, e)
	switch {
	case !ok && s.place == "":
		return refuse(e, "created-first", "before response.created")
	case !ok && s.Ended():
		return refuse(e, "one-terminal", "after the terminal event")
	case !ok:
		return refuse(e, "lifecycle", "response is %s", s.place)
	case e.Response == nil || e.Response.ID == "":
		return refuse(e, "lifecycle", "no response in it")
	case s.resp != nil && s.resp.ID != e.Response.ID:
		return refuse(e, "one-identity", "response %s became %s", s.resp.ID, e.Response.ID)
	case e.Type.Terminal():
		if err := s.checkTerminal(e); err != nil {
			return err
		}
	case len(e.Response.Output) > 0:
		return refuse(e, "lifecycle", "output before any item")
	}
	s.place, s.resp = to, e.Response
	return nil
}

// checkTerminal holds the terminal event to what was streamed: clients keep its output and throw away what they saw.
func (s *State) checkTerminal(e *Event) error {
	if s.open != nil {
		return refuse(e, "items-closed", "item %s is open", s.open.item.ID)
	}
	if len(e.Response.Output) != len(s.items) {
		return refuse(e, "output-equals-items", "%d items in the output, %d streamed", len(e.Response.Output), len(s.items))
	}
	for i := range s.items {
		if !sameJSON(&s.items[i], &e.Response.Output[i]) {
			return refuse(e, "output-equals-items", "output %d differs from the item streamed", i)
		}
	}
	if want, ok := terminalStatus[e.Type]; ok && !slices.Contains(want, e.Response.Status) {
		return refuse(e, "terminal-status", "status %q", e.Response.Status)
	}
	return nil
}

// A cancelled response ends in response.failed: no SDK knows a response.cancelled.
var terminalStatus = map[EventType][]string{
	Completed: {StatusCompleted}, Incomplete: {StatusIncomplete}, Failed: {StatusFailed, StatusCancelled},
}

func (s *State) applyAdded(e *Event) error {
	switch {
	case e.Item == nil || e.Item.Type == "":
		return refuse(e, "item-added", "no item in it")
	case s.open != nil:
		return refuse(e, "no-interleaving", "item %s is open", s.open.item.ID)
	case e.Index() != len(s.items):
		return refuse(e, "dense-indexes", "output_index %d, %d is due", e.Index(), len(s.items))
	case e.Item.ID == "" || s.ids[e.Item.ID]:
		return refuse(e, "unique-ids", "item id %q", e.Item.ID)
	case tabled(e.Item.Type) != anyKind && e.Item.Type != KindApprovalRequest &&
		(len(e.Item.Content) > 0 || itemArguments(e.Item) != ""):
		return refuse(e, "item-added", "content before any delta")
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
		return refuse(e, "within-an-item", "no item is open")
	case e.Index() != o.index:
		return refuse(e, "no-interleaving", "output_index %d, item %d is open", e.Index(), o.index)
	case e.ItemID != "" && e.ItemID != o.item.ID, e.Item != nil && e.Item.ID != o.item.ID:
		return refuse(e, "one-identity", "item %s is open", o.item.ID)
	}
	to, ok := next(o.rules, o.place, e)
	if !ok {
		return refuse(e, "item-grammar", "a %s that stands at %q", o.item.Type, o.place)
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

// Next returns the sequence number that is due.
func (s *State) Next() int64 { return s.due }

// Begun reports whether response.created was there, Running whether items may come, Ended whether the terminal was.
func (s *State) Begun() bool { return s.place != "" }

// Running reports whether items may come.
func (s *State) Running() bool { return s.place == "running" }

// Ended reports whether the terminal event was there.
func (s *State) Ended() bool { return s.place == "ended" }

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
