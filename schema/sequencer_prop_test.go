package schema

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// play pushes a feed through a sequencer and finishes it. No push may fail.
func play(t *rapid.T, q *Sequencer, feed []pushed) (out []Event) {
	for _, p := range feed {
		events, err := q.Push(p.producer, p.event)
		if err != nil {
			t.Fatalf("push %s %s: %v", p.producer, p.event.Type, err)
		}
		out = append(out, events...)
	}
	events, err := q.Finish(Completed, wellEnded)
	if err != nil {
		t.Fatalf("finish: %v", err)
	}
	return append(out, events...)
}

// marks returns the items of a response by the mark that their script gave them, and the marks in output order.
func marks(items []Item) (map[string]Item, []string) {
	byMark, order := map[string]Item{}, []string{}
	for _, it := range items {
		var rest struct {
			Mark string `json:"mark"`
		}
		if json.Unmarshal(it.Rest, &rest) == nil {
			it.ID = ""
			byMark[rest.Mark], order = it, append(order, rest.Mark)
		}
	}
	return byMark, order
}

// sameItems fails unless the stream holds exactly the programs' items, each producer's in its order, tool lists apart.
func sameItems(t *rapid.T, programs []program, s *State) {
	got, order := marks(s.Items())
	want := map[string]Item{}
	for _, p := range programs {
		var mine []string
		for _, sc := range p.scripts {
			want[sc.mark] = sc.want
		}
		for _, e := range p.events {
			if e.Type == ItemAdded && e.Item.Type != KindListTools {
				_, m := marks([]Item{*e.Item})
				mine = append(mine, m...)
			}
		}
		shown := slices.DeleteFunc(slices.Clone(order), func(m string) bool { return !slices.Contains(mine, m) })
		if !slices.Equal(mine, shown) && p.complete() {
			t.Fatalf("%s said %s, shown %s", p.producer, mine, shown)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("items (-said +shown):\n%s", diff)
	}
}

// complete reports whether nothing was dropped of the program.
func (p *program) complete() bool {
	n := 0
	for _, s := range p.scripts {
		n += len(s.events)
	}
	return n == len(p.events)
}

// Whatever several producers say, and however their events interleave, one legal stream comes out that holds exactly
// their items, each producer's in its own order, and its bytes are read and written again the same.
func TestSequencer_AnyInterleavingIsLegal(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		programs := genPrograms(rt)
		out := play(rt, NewSequencer(&State{}), genFeed(rt, created, programs))
		frames := framesOf(t, out)
		s, err := CheckStream(frames)
		if err != nil {
			rt.Fatalf("%v\n%s", err, frames)
		}
		sameItems(rt, programs, s)
		if again := framesOf(t, eventsOf(t, frames)); !bytes.Equal(frames, again) {
			rt.Fatalf("read and written again:\n%s", cmp.Diff(string(frames), string(again)))
		}
	})
}

// droppable reports whether the table can derive an event, or output_item.done repeats what it brings.
func droppable(e *Event) bool {
	if traits[e.Type].role == streams {
		return true
	}
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Fill && r.On == step(e) })
}

// Events that the table marks as derivable, and deltas whose text output_item.done repeats, may be left out: the client
// is given the same items.
func TestSequencer_FillsWhatProducersLeaveOut(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		programs := genPrograms(rt)
		for i := range programs {
			programs[i].events = dropSome(rt, programs[i].events)
		}
		out := play(rt, NewSequencer(&State{}), genFeed(rt, created, programs))
		s, err := CheckStream(framesOf(t, out))
		if err != nil {
			rt.Fatal(err)
		}
		sameItems(rt, programs, s)
	})
}

// dropSome leaves derivable events out, with two bounds: of one text the deltas go from some point on, since a hole in
// the middle is a lie that nobody can mend; and of a part something stays if a later part of the item does, since a part
// that only output_item.done tells of is streamed behind those that were.
func dropSome(t *rapid.T, events []Event) (kept []Event) {
	later, text := map[string]bool{}, map[string]bool{}
	for _, e := range slices.Backward(events) {
		item, part := e.itemID(), fmt.Sprint(e.itemID(), keyOf(&e))
		role := traits[e.Type].role
		must := role == streams && text[part] || role == closes && later[item]
		if !droppable(&e) || must || rapid.Bool().Draw(t, "keep") {
			kept = append(kept, e)
			text[part] = text[part] || role == streams
			later[item] = later[item] || keyOf(&e).kind != ""
		}
	}
	slices.Reverse(kept)
	return kept
}

// A run may be given up at any point: what Abort and Finish give out makes a legal stream of what came before.
func TestSequencer_AbortAnywhereEndsLegally(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		feed := genFeed(rt, created, genPrograms(rt))
		n := rapid.IntRange(0, len(feed)).Draw(rt, "until")
		q := NewSequencer(&State{})
		begin, err := q.Push("gateway", created)
		out := begin
		for _, p := range feed[:n] {
			events, e := q.Push(p.producer, p.event)
			err = errors.Join(err, e)
			out = append(out, events...)
		}
		events, e := q.Abort()
		err = errors.Join(err, e)
		out = append(out, events...)
		events, e = q.Finish(Failed, func(r *Response) { r.Error = &ResponseError{Code: CodeServer, Message: "gone"} })
		if err = errors.Join(err, e); err != nil {
			rt.Fatal(err)
		}
		if _, err := CheckStream(framesOf(t, append(out, events...))); err != nil {
			rt.Fatalf("%v\n%s", err, framesOf(t, append(out, events...)))
		}
	})
}

// A sequencer that goes on from any prefix of a log, fed what is left of the stream, gives out the very bytes that
// would have come: the same ids, the same numbers.
func TestSequencer_TakeoverContinuesTheSameStream(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		out := play(rt, NewSequencer(&State{}), genFeed(rt, created, genPrograms(rt)))
		frames := framesOf(t, out)
		n := rapid.IntRange(0, len(out)-1).Draw(rt, "taken over at")
		s, err := Fold(framesOf(t, out[:n]))
		if err != nil {
			rt.Fatal(err)
		}
		var rest []pushed
		for _, e := range out[n : len(out)-1] {
			rest = append(rest, pushed{"next", e})
		}
		got := append(out[:n:n], play(rt, NewSequencer(s), rest)...)
		if diff := cmp.Diff(string(frames), string(framesOf(t, got))); diff != "" {
			rt.Fatalf("after a takeover at %d (-without +with):\n%s", n, diff)
		}
	})
}

// Fold(a+b) is Fold(b on Fold(a)) for every split, and every prefix of a legal stream is legal.
func TestState_FoldsInAnyPieces(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		out := play(rt, NewSequencer(&State{}), genFeed(rt, created, genPrograms(rt)))
		n := rapid.IntRange(0, len(out)).Draw(rt, "split at")
		frames, head := framesOf(t, out), framesOf(t, out[:n])
		if diff := foldsInPieces(t, frames, len(head)); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// foldsInPieces says how the frames fold otherwise in two pieces than in one.
func foldsInPieces(t testing.TB, frames []byte, at int) string {
	t.Helper()
	s := must(Fold(frames[:at]))(t)
	if err := s.ApplyFrames(frames[at:]); err != nil {
		return err.Error()
	}
	return cmp.Diff(must(Fold(frames))(t), s, cmp.AllowUnexported(State{}, openItem{}))
}

// A producer's events are its own: the sequencer does not change what it was given.
func TestSequencer_LeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		feed := genFeed(rt, created, genPrograms(rt))
		before := describe(feed)
		play(rt, NewSequencer(&State{}), feed)
		if diff := cmp.Diff(before, describe(feed)); diff != "" {
			rt.Fatalf("input changed:\n%s", diff)
		}
	})
}

func describe(feed []pushed) string {
	var s strings.Builder
	for i := range feed {
		data, err := json.Marshal(&feed[i].event, json.Deterministic(true))
		if err != nil {
			data = []byte(err.Error())
		}
		s.Write(append(data, '\n'))
	}
	return s.String()
}
