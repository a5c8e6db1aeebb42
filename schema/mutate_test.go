package schema

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// legalStream returns a whole legal stream, at random.
func legalStream(t *rapid.T, created Event) []Event {
	return play(t, NewSequencer(&State{}), genFeed(t, created, genPrograms(t)))
}

// foldAll applies events in order and returns the first refusal; a stream without a terminal event is refused too.
func foldAll(events []Event) error {
	var s State
	for i := range events {
		if err := s.Apply(&events[i]); err != nil {
			return err
		}
	}
	if !s.Ended() {
		return fmt.Errorf("no terminal event")
	}
	return nil
}

func renumbered(events []Event) []Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].SequenceNumber = int64(i)
	}
	return out
}

// mutation is one way to spoil a stream at a place, and when the table has nothing against it.
type mutation struct {
	name   string
	apply  func(events []Event, at int) []Event
	lawful func(events []Event, at int) bool
}

// loose reports whether the table does not place an event: an unknown type, which inside of an item may stand anywhere.
func loose(e *Event) bool {
	return !traits[e.Type].tabled
}

// mute reports whether an event may as well not be there: it is loose, or a delta that brings nothing.
func mute(e *Event) bool { return loose(e) || e.Delta != nil && *e.Delta == "" }

// inText reports whether an event adds to the text part that is open: the table lets deltas and annotations mix.
func inText(e *Event) bool { return e.Type == TextDelta || e.Type == TextAnnotation }

var mutations = []mutation{{
	"delete",
	func(events []Event, at int) []Event { return slices.Delete(slices.Clone(events), at, at+1) },
	// The last annotation of a part may lack its event: the closed part may bring it (rule text-equals-deltas).
	func(events []Event, at int) bool {
		e, after := &events[at], events[at+1:]
		last := !slices.ContainsFunc(after[:untilPartDone(after)], func(n Event) bool { return n.Type == TextAnnotation })
		return mute(e) || e.Type == TextAnnotation && last
	},
}, {
	"duplicate",
	func(events []Event, at int) []Event { return slices.Insert(slices.Clone(events), at, events[at]) },
	func(events []Event, at int) bool { return mute(&events[at]) },
}, {
	"swap",
	func(events []Event, at int) []Event {
		out := slices.Clone(events)
		out[at], out[at+1] = out[at+1], out[at]
		return out
	},
	func(events []Event, at int) bool {
		a, b := &events[at], &events[at+1]
		switch {
		case loose(a) || loose(b): // it may stand anywhere in its item, but not outside
			return a.Type != ItemAdded && b.Type != ItemDone
		case a.Delta != nil && b.Delta != nil && a.Type == b.Type: // "a" "aa" says the same in either order
			return *a.Delta+*b.Delta == *b.Delta+*a.Delta
		case inText(a) && inText(b): // an annotation may come before or behind a delta, not another annotation
			return a.Type != b.Type
		}
		return cmp.Equal(a, b)
	},
}}

// untilPartDone returns how many events come before the next content_part.done.
func untilPartDone(events []Event) int {
	i := slices.IndexFunc(events, func(e Event) bool { return e.Type == PartDone })
	return max(i, 0)
}

// A legal stream in which one event is left out, said twice, or swapped with its neighbour is refused, even if all is
// numbered anew, unless the table allows it: each mutation names exactly when.
func TestState_RefusesEverySpoiledStream(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				events := legalStream(rt, created)
				for at := range len(events) - 1 {
					spoiled := m.apply(events, at)
					if err := foldAll(spoiled); err == nil {
						rt.Fatalf("%s of %d %s, not numbered anew: accepted", m.name, at, events[at].Type)
					}
					err := foldAll(renumbered(spoiled))
					if lawful := m.lawful(events, at); lawful != (err == nil) {
						rt.Fatalf("%s of %d %s: lawful %t, but %v", m.name, at, events[at].Type, lawful, err)
					}
				}
			})
		})
	}
}

// Another number anywhere is refused: they are dense from 0.
func TestState_RefusesEveryOtherNumber(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		events := legalStream(rt, created)
		at := rapid.IntRange(0, len(events)-1).Draw(rt, "at")
		n := rapid.Int64Range(-2, int64(len(events))+2).Filter(func(n int64) bool { return n != int64(at) }).Draw(rt, "number")
		events[at].SequenceNumber = n
		if err := foldAll(events); err == nil {
			rt.Fatalf("event %d numbered %d: accepted", at, n)
		}
	})
}
