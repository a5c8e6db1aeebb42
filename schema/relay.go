package schema

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// Relay makes one response of what several producers send. It decides from the batches alone, in the order in which they are
// stored, so whoever takes a relay over comes to the same events.
//
// A producer has a course: its places, one behind the other. What stands already is ignored, and so is what an older epoch
// sends; a hole is a *[GapError]. A producer may speak of lifecycles, several even: they are merged into the one of the
// response. It has ended when a batch says so; an item that it has left open then is a *[Violation], unless its terminal
// event says that it did not come to its end either.
//
// With one producer alone a Relay is the check of that producer: an event that is refused there is refused in any company.
type Relay struct {
	seq     *Sequencer
	courses []*course // in the order in which they were declared
}

// course is how far a producer has come.
type course struct {
	producer    string
	epoch, next int64
	latest      Digest // of the event before next, as it was sent
	ended       bool
	streamed    bool      // it has shown items of the lifecycle that it is in
	end         EventType // its last terminal event; "" if there was none
	said        *Response // and what that says
	usage       *Usage    // of all its terminal events
}

// GapError says that a batch does not follow what its producer has sent before.
type GapError struct {
	Producer string
	Place    int64 // where the batch stands
	Due      int64 // the place that is due
}

func (e *GapError) Error() string {
	return fmt.Sprintf("producer %s: event %d is due, the next one that came is %d", e.Producer, e.Due, e.Place)
}

// NewRelay begins behind the start of a response, which the sequencer must have given out.
func NewRelay(q *Sequencer, producers []string) *Relay {
	r := &Relay{seq: q}
	for _, p := range producers {
		r.courses = append(r.courses, &course{producer: p})
	}
	return r
}

// Rehearse returns a Relay of one producer that is nobody's response: it tells what that producer may send next.
func Rehearse(ref Ref, producer string) *Relay {
	begun := &State{place: running, resp: &Response{ID: ref.Response(), Status: StatusInProgress}}
	return NewRelay(NewSequencer(begun), []string{producer})
}

// Take takes the next batch and returns the events that may go out now. Beside an error, which is a *[GapError], a
// *[Violation], a *[HeldError] or [ErrOutputFull], they are legal, and the response must end: the Relay takes nothing more.
// A batch that it does not heed is ignored.
func (r *Relay) Take(b *Batch) (out []Event, err error) {
	c := r.heeded(b)
	if c == nil {
		return nil, nil
	}
	c.epoch = b.Epoch
	if b.Place > c.next {
		return nil, &GapError{b.Producer, b.Place, c.next}
	}
	for _, raw := range b.Events[min(c.next-b.Place, int64(len(b.Events))):] {
		e, err := ParseEvent(raw)
		if err != nil {
			return out, fmt.Errorf("event %d of %s: %w", c.next, b.Producer, err)
		}
		e.SequenceNumber = c.next // so that a refusal names its place
		more, err := r.push(c, e)
		if out = append(out, more...); err != nil {
			return out, err
		}
		c.next++
		c.latest = sha256.Sum256(raw)
	}
	if !b.Last || !c.upTo(b) {
		return out, nil
	}
	more, err := r.leave(c)
	return append(out, more...), err
}

// Heeds reports whether a batch counts at all: it is of a producer that was declared and has not ended, and of no earlier epoch.
func (r *Relay) Heeds(b *Batch) bool { return r.heeded(b) != nil }

// heeded returns the course that a batch counts in; nil for none.
func (r *Relay) heeded(b *Batch) *course {
	c := r.course(b.Producer)
	if c == nil || c.ended || b.Epoch < c.epoch {
		return nil
	}
	return c
}

// upTo reports whether a batch ends where the producer stands, with the event that stands there: other events in the same places are
// ignored, and so is what they say of an end.
func (c *course) upTo(b *Batch) bool {
	last := len(b.Events) - 1
	return b.Next() == c.next && (last < 0 || sha256.Sum256(b.Events[last]) == c.latest)
}

// Repeats reports whether a batch that brings nothing new leads to where its producer stands, so that it may say that this is the end.
func (r *Relay) Repeats(b *Batch) bool {
	c := r.course(b.Producer)
	return c != nil && c.upTo(b)
}

func (r *Relay) course(producer string) *course {
	for _, c := range r.courses {
		if c.producer == producer {
			return c
		}
	}
	return nil
}

func (r *Relay) push(c *course, e Event) ([]Event, error) {
	switch {
	case e.Type == ErrorEvent:
		c.end, c.said = Failed, explained(Failed, &Response{Error: errorOf(&e)})
		return nil, nil
	case e.Type.Terminal():
		return r.terminal(c, e)
	case e.Type.Lifecycle():
		c.streamed = c.streamed && e.Type != Created
		return nil, nil
	}
	c.streamed = c.streamed || !e.free()
	return r.seq.Push(c.producer, e)
}

// terminal takes the end of a producer's lifecycle. Items that only its output tells of are brought to the wire.
func (r *Relay) terminal(c *course, e Event) (out []Event, err error) {
	if e.Response == nil {
		return nil, blame(refuse(&e, lawTerminal, "no response in it"), c.producer)
	}
	c.end, c.said, c.usage = e.Type, explained(e.Type, e.Response), c.usage.Add(e.Response.Usage.counted())
	output := e.Response.Output
	if c.streamed {
		output = r.seq.unshown(c.producer, output, e.Type == Completed)
	}
	for i := range output {
		done := Event{Type: ItemDone, SequenceNumber: e.SequenceNumber, Item: &output[i]}
		more, err := r.seq.Push(c.producer, done)
		if out = append(out, more...); err != nil {
			return out, err
		}
	}
	return out, nil
}

// leave ends a producer's course.
func (r *Relay) leave(c *course) ([]Event, error) {
	c.ended = true
	open := r.seq.Unfinished(c.producer)
	if len(open) == 0 {
		return nil, nil
	}
	if c.end == "" || c.end == Completed {
		at := &Event{Type: c.end, SequenceNumber: c.next}
		return nil, blame(refuse(at, lawClosed, "the producer has ended, and its item %s is not done", open[0]), c.producer)
	}
	return r.seq.Leave(c.producer)
}

// Rest lets go of the output where all producers have ended, for whoever wants to know no more than where they stand.
func (r *Relay) Rest() {
	if r.over() {
		r.seq = nil
	}
}

// over reports whether all producers have ended.
func (r *Relay) over() bool {
	return !slices.ContainsFunc(r.courses, func(c *course) bool { return !c.ended })
}

// Standing returns what is due from a producer: its next place, the epoch that it is in, and whether it has ended.
func (r *Relay) Standing(producer string) (next, epoch int64, ended bool) {
	c := r.course(producer)
	if c == nil {
		return 0, 0, false
	}
	return c.next, c.epoch, c.ended
}

// Missing returns the producers that have not ended.
func (r *Relay) Missing() (producers []string) {
	for _, c := range r.courses {
		if !c.ended {
			producers = append(producers, c.producer)
		}
	}
	return producers
}

// Outcome says how the response ends, if it is to end now: failed as soon as a producer has, else when all have ended, and
// incomplete if one of them was.
func (r *Relay) Outcome() (t EventType, said *Response, ok bool) {
	if c := r.ending(Failed); c != nil {
		return Failed, c.said, true
	}
	if !r.over() {
		return "", nil, false
	}
	if c := r.ending(Incomplete); c != nil {
		return Incomplete, c.said, true
	}
	return Completed, &Response{}, true
}

// ending returns the first producer that has ended with t.
func (r *Relay) ending(t EventType) *course {
	i := slices.IndexFunc(r.courses, func(c *course) bool { return c.ended && c.end == t })
	if i < 0 {
		return nil
	}
	return r.courses[i]
}

// Usage sums what the producers have counted; nil if none has.
func (r *Relay) Usage() (sum *Usage) {
	for _, c := range r.courses {
		sum = sum.Add(c.usage)
	}
	return sum
}

// explained returns a response that says why it ended so: its readers rely on that.
func explained(t EventType, said *Response) *Response {
	r := *said
	switch t {
	case Failed:
		why := ResponseError{Type: TypeUpstream}
		if said.Error != nil {
			why = *said.Error
		}
		why.Code, why.Message = cmp.Or(why.Code, CodeServer), cmp.Or(why.Message, "The producer reported an error.")
		r.Error = &why
	case Incomplete:
		if said.IncompleteDetails == nil || said.IncompleteDetails.Reason == "" {
			r.IncompleteDetails = &IncompleteDetails{Reason: IncompleteTokens}
		}
	}
	return &r
}

// errorOf reads what an error event says, nil for nothing: by the API's own shape its members are those of the event itself.
func errorOf(e *Event) *ResponseError {
	rest := e.Rest
	if nested := memberOf(rest, "error"); nested != nil && nested.Kind() == '{' {
		rest = nested
	}
	var told struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(rest, &told) != nil {
		return nil
	}
	return &ResponseError{Code: told.Code, Type: TypeUpstream, Message: told.Message}
}
