package schema

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A run may be cancelled at any point, by its owner, whose sequencer holds things back, or by somebody who knows only the log:
// a client accepts either stream, and what was on the wire before stands in both.
func TestRun_CancelAnywhereEndsLegally(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		feed := genFeed(rt, created, genPrograms(rt))
		n := rapid.IntRange(0, len(feed)).Draw(rt, "until")
		owner := Run{Turn: &Turn{Tier: "flex"}, Usage: &Usage{TotalTokens: 7}}
		q := NewSequencer(&owner.State)
		said := must(q.Push("gateway", created))(t)
		for _, p := range feed[:n] {
			said = append(said, must(q.Push(p.producer, p.event))(t)...)
		}
		other := Run{Turn: owner.Turn, Usage: owner.Usage}
		if err := other.State.ApplyFrames(framesOf(t, said)); err != nil {
			rt.Fatal(err)
		}
		for _, end := range [][]Event{must(owner.Cancel(q))(t), must(other.CancelFromLog())(t)} {
			stream := framesOf(t, append(slices.Clip(said), end...))
			state, err := CheckStream(stream)
			if err != nil {
				rt.Fatalf("%v\n%s", err, stream)
			}
			resp := state.Response()
			if resp.Status != StatusCancelled || resp.Error != nil || *resp.ServiceTier != "flex" || resp.Usage.TotalTokens != 7 {
				rt.Fatalf("%+v", resp)
			}
		}
	})
}

// Whether frames end a response is read off the last of them, and of no bytes that are none.
func TestEnds(t *testing.T) {
	t.Parallel()
	run := Run{}
	begin := must(NewSequencer(&run.State).Push("gateway", createdEvent(t, testCommand("resp_1"))))(t)
	first, last := framesOf(t, begin), framesOf(t, must(run.CancelFromLog())(t))
	both := append(slices.Clip(first), last...)
	for text, want := range map[string]bool{
		"": false, "no frame": false, string(first): false, string(last): true, string(both): true,
		string(both[:len(both)-1]): false, string(both) + string(first): false,
	} {
		if Ends([]byte(text)) != want {
			t.Errorf("not %t of %q", want, text)
		}
	}
}
