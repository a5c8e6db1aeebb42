package broker

import (
	"bytes"
	"fmt"

	"github.com/midstream-dev/midstream/schema"
)

// draft is a record that is not in the log yet. While it is the last one in its queue and of kind events, more events join
// it: that is the group commit.
type draft struct {
	kind   schema.Kind
	body   []byte
	frames []byte
	first  int64
	events int
	stored chan struct{} // closed once the record is durable
}

func (d *draft) size() int { return len(d.frames) + len(d.body) }

func (d *draft) full() bool {
	return d.events >= schema.MaxRecordEvents || len(d.frames) >= schema.MaxRecordBytes
}

// add writes the frame of e behind the others.
func (d *draft) add(e *schema.Event) error {
	if due := d.first + int64(d.events); e.SequenceNumber != due {
		return fmt.Errorf("%w: %s has %d, due is %d", ErrOrder, e.Type, e.SequenceNumber, due)
	}
	frames, err := schema.AppendFrame(d.frames, e)
	if err != nil {
		return err
	}
	d.frames = frames
	d.events++
	return nil
}

// queue holds drafts in the order in which they will stand in the log. It is not safe for concurrent use.
type queue struct {
	drafts []*draft
	next   int64 // sequence number of the next event
	bytes  int   // of all drafts
}

// push adds one event of kind events: to the last draft if that may grow, else to a new one.
func (q *queue) push(e *schema.Event) error {
	d := q.open()
	before := len(d.frames)
	if err := d.add(e); err != nil {
		q.dropEmpty()
		return err
	}
	q.next++
	q.bytes += len(d.frames) - before
	if len(d.frames) > schema.MaxRecordBytes && d.events > 1 {
		q.split(d, before)
	}
	return nil
}

// open returns a draft that takes one more event.
func (q *queue) open() *draft {
	if n := len(q.drafts); n > 0 {
		if d := q.drafts[n-1]; d.kind == schema.RecordEvents && !d.full() {
			return d
		}
	}
	return q.begin(schema.RecordEvents, nil)
}

func (q *queue) begin(kind schema.Kind, body []byte) *draft {
	d := &draft{kind: kind, body: body, first: q.next, stored: make(chan struct{})}
	q.drafts = append(q.drafts, d)
	q.bytes += len(body)
	return d
}

// dropEmpty takes back a draft that open has begun for an event which then could not be written.
func (q *queue) dropEmpty() {
	n := len(q.drafts) - 1
	if q.drafts[n].events == 0 {
		q.drafts = q.drafts[:n]
	}
}

// split moves the last event of d, whose frame begins at byte at, to a draft of its own.
func (q *queue) split(d *draft, at int) {
	tail := bytes.Clone(d.frames[at:])
	d.frames = d.frames[:at]
	d.events--
	next := q.begin(schema.RecordEvents, nil)
	next.first, next.frames, next.events = q.next-1, tail, 1
}

// commit adds one record of its own.
func (q *queue) commit(kind schema.Kind, body []byte, events []schema.Event) (*draft, error) {
	d := &draft{kind: kind, body: body, first: q.next, stored: make(chan struct{})}
	for i := range events {
		if err := d.add(&events[i]); err != nil {
			return nil, err
		}
	}
	q.drafts = append(q.drafts, d)
	q.next += int64(d.events)
	q.bytes += d.size()
	return d, nil
}

// pop takes the first draft out; nothing joins it any more.
func (q *queue) pop() *draft {
	d := q.drafts[0]
	q.drafts[0] = nil
	q.drafts = q.drafts[1:]
	return d
}
