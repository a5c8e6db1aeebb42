package hub

import (
	"fmt"

	"github.com/midstream-dev/midstream/schema"
)

// story writes a response in canonical order, as State checks it: every item is a web search of the upstream's own.
type story struct {
	seq   int64
	items []schema.Item
}

func newStory() *story { return &story{} }

func (s *story) frame(e schema.Event) []byte {
	e.SequenceNumber = s.seq
	s.seq++
	b, err := schema.AppendFrame(nil, &e)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *story) response(status string) *schema.Response {
	return &schema.Response{ID: ref.Response(), Object: "response", Status: status, Output: s.items}
}

func (s *story) begin() []byte {
	b := s.frame(schema.Event{Type: schema.Created, Response: s.response(schema.StatusInProgress)})
	return append(b, s.frame(schema.Event{Type: schema.InProgress, Response: s.response(schema.StatusInProgress)})...)
}

func (s *story) say(n int) (b []byte) {
	for range n {
		index := len(s.items)
		it := schema.Item{Type: "web_search_call", ID: fmt.Sprintf("ws_%d", index), Status: schema.StatusCompleted}
		b = append(b, s.frame(schema.Event{Type: schema.ItemAdded, OutputIndex: &index, Item: &it})...)
		b = append(b, s.frame(schema.Event{Type: schema.ItemDone, OutputIndex: &index, Item: &it})...)
		s.items = append(s.items, it)
	}
	return b
}

func (s *story) end() []byte {
	return s.frame(schema.Event{Type: schema.Completed, Response: s.response(schema.StatusCompleted)})
}

// add stores frames that were written elsewhere, one record each.
func (l *log) add(frames []byte) {
	for len(frames) > 0 {
		f, rest, err := schema.CutFrame(frames)
		if err != nil {
			panic(err)
		}
		l.set(func() {
			rec := Record{Position: uint64(10 + len(l.records)), First: f.ID, Last: f.ID, Frames: frames[:len(frames)-len(rest)]}
			if i := len(l.records); i > 0 {
				rec.Previous = l.records[i-1].Position
			}
			l.records = append(l.records, rec)
			l.publish(rec)
		})
		frames = rest
	}
}
