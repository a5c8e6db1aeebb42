package schema

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// A usage that was told is shown. One that was not is null, never zero: only where no model was asked is zero what it took.
func TestRun_EndShowsWhatIsKnownOfUsage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run  Run
		how  EventType
		want *Usage
	}{
		"told":                         {Run{Turn: &Turn{}, Usage: &Usage{TotalTokens: 7}}, Completed, &Usage{TotalTokens: 7}},
		"no model was asked":           {Run{}, Completed, &Usage{}},
		"a model that did not say":     {Run{Turn: &Turn{}}, Completed, nil},
		"producers that did not say":   {Run{relays: true}, Completed, nil},
		"cut short by its limit":       {Run{Turn: &Turn{}}, Incomplete, nil},
		"cancelled in the first call":  {Run{}, Failed, nil},
		"cancelled in the second call": {Run{Turn: &Turn{}, Usage: &Usage{TotalTokens: 7}}, Failed, &Usage{TotalTokens: 7}},
	} {
		q := NewSequencer(&c.run.State)
		stream := must(q.Push("gateway", createdEvent(t, testCommand("resp_1"))))(t)
		stream = append(stream, must(q.Push("gateway", Event{Type: InProgress}))(t)...)
		end := must(c.run.End(q, c.how, endedBy(c.how)))(t)
		state, err := CheckStream(framesOf(t, append(stream, end...)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, state.Response().Usage); diff != "" {
			t.Errorf("%s: usage (-want +got):\n%s", name, diff)
		}
	}
}

// endedBy says of a response what goes with its terminal event.
func endedBy(t EventType) func(*Response) {
	return func(resp *Response) {
		switch t {
		case Completed:
			wellEnded(resp)
		case Incomplete:
			resp.Status, resp.IncompleteDetails = StatusIncomplete, &IncompleteDetails{Reason: "max_output_tokens"}
		default:
			resp.Status = StatusCancelled
		}
	}
}
