package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// begun returns a sequencer whose response runs.
func begun(t testing.TB) *Sequencer {
	t.Helper()
	q := NewSequencer(&State{})
	must(q.Push("gateway", createdEvent(t, testCommand("resp_1"))))(t)
	must(q.Push("gateway", Event{Type: InProgress}))(t)
	return q
}

func messageAdded(id string) Event {
	return Event{Type: ItemAdded, Item: &Item{ID: id, Type: KindMessage}}
}

func textDelta(id, text string) Event {
	return Event{Type: TextDelta, ItemID: id, ContentIndex: new(0), Delta: &text}
}

// A producer may run ahead of its turn by 1,000 events; then it is refused by name, and nobody else is.
func TestSequencer_RefusesWhoRunsTooFarAhead(t *testing.T) {
	t.Parallel()
	q := begun(t)
	must(q.Push("slow", messageAdded("s")))(t) // holds the wire
	must(q.Push("eager", messageAdded("e")))(t)
	for i := range MaxHeldEvents - 1 {
		if out := must(q.Push("eager", textDelta("e", "x")))(t); len(out) > 0 {
			t.Fatalf("event %d went out before its turn", i)
		}
	}
	_, err := q.Push("eager", textDelta("e", "x"))
	var held *HeldError
	if !errors.As(err, &held) || held.Producer != "eager" {
		t.Fatalf("one event too many: %v", err)
	}
	if out := must(q.Push("slow", textDelta("s", "go on")))(t); len(out) != 2 {
		t.Fatalf("the one that holds the wire got %d events out", len(out))
	}
	endsLegally(t, q)
}

// The bound counts bytes too: a few large events are as many as a thousand small ones.
func TestSequencer_BoundsHeldBytes(t *testing.T) {
	t.Parallel()
	q := begun(t)
	must(q.Push("slow", messageAdded("s")))(t)
	must(q.Push("eager", messageAdded("e")))(t)
	text, err, n := strings.Repeat("x", 1<<20), error(nil), 0
	for ; err == nil; n++ {
		_, err = q.Push("eager", textDelta("e", text))
	}
	if n != MaxHeldBytes>>20 {
		t.Fatalf("refused at %d MiB: %v", n, err)
	}
}

// What comes before response.created is bounded as well.
func TestSequencer_BoundsEarlyEvents(t *testing.T) {
	t.Parallel()
	q := NewSequencer(&State{})
	for i := range MaxHeldEvents {
		must(q.Push("mcp", messageAdded(fmt.Sprint(i))))(t)
	}
	var held *HeldError
	if _, err := q.Push("mcp", messageAdded("last")); !errors.As(err, &held) {
		t.Fatalf("one event too many: %v", err)
	}
}

// Parts that never stop interleaving cost no more than the bound: then the open one is closed and the next one goes out.
func TestSequencer_GivesUpWaitingForAPart(t *testing.T) {
	t.Parallel()
	q := begun(t)
	must(q.Push("m", messageAdded("s")))(t)
	must(q.Push("m", Event{Type: PartAdded, ItemID: "s", ContentIndex: new(0), Part: new(NewPart(PartOutputText, ""))}))(t)
	given := 0
	for range MaxHeldEvents + 10 {
		d := textDelta("s", "x")
		d.ContentIndex = new(1)
		given += len(must(q.Push("m", d))(t))
	}
	if given < MaxHeldEvents+10 {
		t.Fatalf("only %d events went out", given)
	}
	endsLegally(t, q)
}

// A response ends before its terminal event would be too large for one message: the last delta that does not fit is
// refused, and what was said before is a whole legal response.
func TestSequencer_RefusesMoreThanATerminalEventCanCarry(t *testing.T) {
	t.Parallel()
	q := begun(t)
	must(q.Push("m", messageAdded("s")))(t)
	text, said := strings.Repeat("\x00", 1<<16), 0 // six bytes each in JSON
	var err error
	for err == nil && said < MaxPayload {
		if _, err = q.Push("m", textDelta("s", text)); err == nil {
			said += len(text)
		}
	}
	if !errors.Is(err, ErrOutputFull) || said > MaxOutput/6 || said < MaxOutput/7 {
		t.Fatalf("after %d bytes: %v", said, err)
	}
	must(q.Abort())(t)
	out := must(q.Finish(Incomplete, func(r *Response) { r.IncompleteDetails = &IncompleteDetails{"max_output_tokens"} }))(t)
	if n := len(framesOf(t, out)); n > MaxPayload {
		t.Fatalf("the terminal event weighs %d bytes", n)
	}
}

// endsLegally gives a run up and fails unless the end is legal.
func endsLegally(t *testing.T, q *Sequencer) {
	t.Helper()
	must(q.Abort())(t)
	must(q.Finish(Failed, func(r *Response) { r.Error = &ResponseError{Code: CodeServer, Message: "m"} }))(t)
}

// A producer can ask whether its item is being given out already, or still waits.
func TestSequencer_OnWire(t *testing.T) {
	t.Parallel()
	q := begun(t)
	must(q.Push("p", messageAdded("first")))(t)
	must(q.Push("p", messageAdded("second")))(t)
	if !q.OnWire("p", "first") || q.OnWire("p", "second") || q.OnWire("other", "first") {
		t.Error("the first item holds the wire, the second waits, and the other producer has none")
	}
}
