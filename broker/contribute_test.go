package broker

import (
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// A Cancel that dies between the conversation and the terminal event has left its items there. Another node's Cancel ends the
// response and puts its own in their place: they stand there once.
func TestCancel_GoesOnFromAnotherThatHasAddedToTheConversation(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	dying, other := mustOpen(t, external(host(t, s)), impatient), mustOpen(t, external(host(t, s)), impatient)
	mustCreate(t, dying, "conv_cut")
	mustChange(t, dying, "conv_cut", adds("a"))
	cmd := command("resp_in_cut")
	cmd.Conversation = &schema.ConversationPoint{ID: "conv_cut", Version: 2}
	rec, err := cmd.RequestRecord()
	must(t, err)
	must(t, dying.Begin(testContext(t), rec, cmd.Ref()))
	mustOwn(t, dying, cmd.Ref(), "owner").say("Once upon")

	p, err := locate(cmd.Ref(), dying.partitions)
	must(t, err)
	c := &cancellation{b: dying, place: p, nonce: "dead"}
	last, err := c.last(testContext(t))
	must(t, err)
	must(t, c.claim(testContext(t), last))
	run := fold(t, mustRead(t, dying, cmd.Ref()))
	events, err := run.CancelFromLog()
	must(t, err)
	must(t, dying.contribute(testContext(t), run, run.Attempt, events[len(events)-1].Response))

	want := "a " + schema.InputID("resp_in_cut", schema.KindMessage, 0)
	for _, node := range []string{"dead", "another", "a third"} {
		if node != "dead" {
			must(t, other.Cancel(testContext(t), cmd.Ref()))
			wantCancelled(t, other, cmd.Ref(), 3)
		}
		if got := strings.Join(idsOf(mustConversation(t, other, "conv_cut")), " "); got != want {
			t.Errorf("behind %s Cancel the conversation holds %s, want %s", node, got, want)
		}
	}
}

// A conversation that was deleted meanwhile takes nothing, and the response is cancelled all the same.
func TestCancel_WhoseConversationIsGone(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	cmd := command("resp_in_gone")
	cmd.Conversation = &schema.ConversationPoint{ID: "conv_gone", Version: 1}
	rec, err := cmd.RequestRecord()
	must(t, err)
	must(t, b.Begin(testContext(t), rec, cmd.Ref()))
	must(t, b.Cancel(testContext(t), cmd.Ref()))
	wantCancelled(t, b, cmd.Ref(), 1)
}
