package producers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// wreckIn is a wreck in a conversation as it is now.
func (s *stage) wreckIn(conversation, body string) *wreck {
	s.Helper()
	cmd := s.command(body)
	cmd.Conversation = &schema.ConversationPoint{ID: conversation, Version: s.conversation(conversation).Version}
	return s.wreckOf(cmd, everything)
}

// A cancel that another node writes, since the run's owner is dead, leaves in the conversation what the owner would have left:
// the input, and what was done.
func TestCancel_ByAnotherNodeAddsToTheConversation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"stored":     {fmt.Sprintf(asking, "two"), "one, two, whole"},
		"not stored": {`{"model":"m","input":"two","conversation":"conv_x","store":false}`, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, impatient)
			s.converse("conv_x", "one")
			w := s.wreckIn("conv_x", c.body)
			w.push("model:0", message(0, "whole")...)
			w.push("model:0", message(1, "half", " a sentence")[:3]...)
			w.sink()
			s.cancel(w.cmd.Ref())
			s.wantCancelled(w.cmd.Ref(), 2)
			s.cancel(w.cmd.Ref())
			if got := s.said("conv_x"); got != c.want {
				t.Errorf("the conversation holds %s, want %s", got, c.want)
			}
		})
	}
}

// A run that nobody has begun to work at leaves its input there, and no later attempt goes on with it.
func TestCancel_OfAWaitingRunAddsToTheConversation(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	s.converse("conv_x", "one")
	ref := s.in("conv_x", fmt.Sprintf(asking, "two"))
	job, err := s.broker.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rec, err := job.Command.RequestRecord()
	if err == nil {
		err = s.broker.Begin(t.Context(), rec, ref)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.cancel(ref)
	s.wantCancelled(ref, 1)
	if got := s.said("conv_x"); got != "one, two" {
		t.Errorf("the conversation holds %s", got)
	}
}

// A node that is killed between the conversation and the terminal event has left its items; the cancel that ends the response
// in its place puts its own there, and none stands there twice.
func TestCancel_BehindAnOwnerThatDiedBetweenConversationAndEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, impatient)
	s.converse("conv_x", "one")
	ref := s.in("conv_x", fmt.Sprintf(asking, "two"))
	ctx, kill := context.WithCancel(t.Context())
	s.config.Library = watched{s.broker, nothing, func() error { kill(); return errKilled }}
	s.model.turns = []turnFunc{says("first")}
	stop := s.node(ctx)
	<-ctx.Done()
	stop()
	before := s.conversation("conv_x")
	if got := s.said("conv_x"); got != "one, two, first" {
		t.Fatalf("the owner left %s", got)
	}
	s.cancel(ref)
	s.wantCancelled(ref, 2)
	if got, v := s.said("conv_x"), s.conversation("conv_x").Version; got != "one, two, first" || v != before.Version+1 {
		t.Errorf("the conversation holds %s in version %d, before %d", got, v, before.Version)
	}
}

// A cancel that died behind its claim, with its items in the conversation already, is finished by whoever claims the run next:
// the model is not asked, and the items stand there once.
func TestTakeOver_OfACancelThatDiedBetweenConversationAndEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	s.converse("conv_x", "one")
	w := s.wreckIn("conv_x", fmt.Sprintf(asking, "two"))
	w.push("model:0", message(0, "whole")...)
	w.sink()
	h, err := s.broker.Read(t.Context(), w.cmd.Ref())
	if err != nil {
		t.Fatal(err)
	}
	dead := s.broker.Writer(h, 2, "cancel")
	defer dead.Close()
	if err := dead.Commit(t.Context(), schema.RecordClaim, []byte(`{"node":"","cancel":true}`)); err != nil {
		t.Fatal(err)
	}
	s.change("conv_x", func(c *schema.Conversation) (*schema.Fact, error) {
		return c.Answer(w.cmd.Response, 2, []schema.Item{{ID: "x", Type: schema.KindMessage, Role: "user", Content: schema.Content{schema.NewPart(schema.PartInputText, "dead")}}})
	})
	s.model.turns = []turnFunc{says("never asked")}
	defer s.node(t.Context())()
	w.salvage()
	s.wantCancelled(w.cmd.Ref(), 3)
	if got := s.said("conv_x"); got != "one, two, whole" || len(s.model.asked) > 0 {
		t.Errorf("the conversation holds %s, the model was asked %d times", got, len(s.model.asked))
	}
}

// An owner that was about to add its items when a cancel took its log adds nothing to what the cancel has added.
func TestCancel_OfAnOwnerThatAddsTooLate(t *testing.T) {
	t.Parallel()
	s := newStage(t, impatient, func(c *broker.Config) { c.AckWait = time.Second })
	_, counted := s.listen()
	s.converse("conv_x", "one")
	due, release := make(chan struct{}), make(chan struct{})
	s.config.Library = watched{s.broker, func() error { close(due); <-release; return nil }, nothing}
	s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		if _, err := says("first")(ctx, req, emit); err != nil {
			return upstream.Outcome{}, err
		}
		return upstream.Outcome{}, errors.New("the model is out")
	}}
	defer s.node(t.Context())()
	ref := s.in("conv_x", fmt.Sprintf(asking, "two"))
	<-due
	s.cancel(ref)
	version := s.conversation("conv_x").Version
	close(release)
	s.until(func() bool { return counted(schema.StatusCancelled) == 1 })
	s.wantCancelled(ref, 2)
	if got, v := s.said("conv_x"), s.conversation("conv_x").Version; got != "one, two, first" || v != version {
		t.Errorf("the conversation holds %s in version %d, behind the cancel %d", got, v, version)
	}
}
