package producers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// echoes answers with what the model was told, so that an answer shows its context.
func echoes(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
	var told []string
	for _, it := range req.Input {
		told = append(told, it.Text())
	}
	return says(strings.Join(told, "+"))(ctx, req, emit)
}

func breaks(context.Context, *upstream.Request, func(schema.Event) error) (upstream.Outcome, error) {
	return upstream.Outcome{}, errors.New("the model is out")
}

// converse begins a conversation that holds one message for each text.
func (s *stage) converse(id string, texts ...string) {
	s.Helper()
	if _, err := s.broker.CreateConversation(s.Context(), "default", id, nil); err != nil {
		s.Fatal(err)
	}
	for i, text := range texts {
		s.remark(id, fmt.Sprint("m", i), text)
	}
}

func (s *stage) remark(id, item, text string) {
	s.Helper()
	it := schema.Item{ID: item, Type: schema.KindMessage, Role: "user", Content: schema.Content{schema.NewPart(schema.PartInputText, text)}}
	s.change(id, func(c *schema.Conversation) (*schema.Fact, error) { return c.Add([]schema.Item{it}) })
}

func (s *stage) change(id string, change broker.ConversationChange) {
	s.Helper()
	if _, err := s.broker.ChangeConversation(s.Context(), "default", id, change); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) conversation(id string) *schema.Conversation {
	s.Helper()
	c, err := s.broker.Conversation(s.Context(), "default", id)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// said is what a conversation holds, in a line.
func (s *stage) said(id string) string {
	s.Helper()
	var texts []string
	for _, it := range s.conversation(id).Items() {
		texts = append(texts, it.Text())
	}
	return strings.Join(texts, ", ")
}

// in creates a response in a conversation as it is now.
func (s *stage) in(id, body string) schema.Ref {
	s.Helper()
	return s.inAt(id, s.conversation(id).Version, body)
}

func (s *stage) inAt(id string, version int64, body string) schema.Ref {
	s.Helper()
	cmd := s.command(body)
	cmd.Conversation = &schema.ConversationPoint{ID: id, Version: version}
	if err := s.broker.Enqueue(s.Context(), cmd, nil); err != nil {
		s.Fatal(err)
	}
	return cmd.Ref()
}

const asking = `{"model":"m","input":"%s","conversation":"conv_x"}`

// A response in a conversation tells the model what stood there when it was accepted, and leaves its input and output there.
func TestRun_GoesOnInItsConversation(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{echoes}
	s.converse("conv_x", "one", "two")
	early := s.conversation("conv_x").Version
	s.remark("conv_x", "late", "late")
	s.change("conv_x", func(c *schema.Conversation) (*schema.Fact, error) { return c.Remove("m0"), nil })
	defer s.node(t.Context())()
	s.records(s.inAt("conv_x", early, fmt.Sprintf(asking, "three")))
	if got := s.said("conv_x"); got != "two, late, three, two+three" {
		t.Errorf("the conversation holds %s", got)
	}
	ref := s.in("conv_x", fmt.Sprintf(asking, "four"))
	resp := s.response(s.records(ref))
	if got := resp.Output[0].Text(); got != "two+late+three+two+three+four" {
		t.Errorf("the model was told %s", got)
	}
	items := s.conversation("conv_x").Items()
	if last := items[len(items)-1]; last.ID != resp.Output[0].ID || items[len(items)-2].ID != schema.InputID(ref.Response(), schema.KindMessage, 0) {
		t.Errorf("items %s and %s", items[len(items)-2].ID, last.ID)
	}
	if string(resp.Conversation) != `{"id":"conv_x"}` {
		t.Errorf("shows conversation %s", resp.Conversation)
	}
}

// watched is a library that is asked before it changes a conversation, and told behind that.
type watched struct {
	*broker.Broker
	before, after func() error
}

func (w watched) ChangeConversation(ctx context.Context, tenant, id string, change broker.ConversationChange) (*schema.Conversation, error) {
	if err := w.before(); err != nil {
		return nil, err
	}
	c, err := w.Broker.ChangeConversation(ctx, tenant, id, change)
	return c, errors.Join(err, w.after())
}

func nothing() error { return nil }

// The items are in the conversation before the terminal event is in the log.
func TestRun_AddsToItsConversationBeforeItEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{echoes}
	s.converse("conv_x", "one")
	var ref schema.Ref
	var seen []string
	look := func() error {
		h, err := s.broker.Read(t.Context(), ref)
		if err != nil {
			return err
		}
		if all := types(h.Records); slices.Contains(all, "completed") {
			return fmt.Errorf("the log has its end already: %q", all)
		}
		seen = append(seen, s.said("conv_x"))
		return nil
	}
	s.config.Library = watched{s.broker, look, look}
	ref = s.in("conv_x", fmt.Sprintf(asking, "two"))
	stop := s.node(t.Context())
	s.records(ref)
	stop()
	if want := []string{"one", "one, two, one+two"}; !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

// A node that dies between the two leaves its items in the conversation; the next attempt, which ends otherwise, puts its own
// in their place, and neither stands there twice.
func TestTakeOver_AddsToItsConversationOnce(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]turnFunc{"the same": says("first"), "another": says("second"), "nothing": breaks} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.converse("conv_x", "one")
			ref := s.in("conv_x", fmt.Sprintf(asking, "two"))
			ctx, kill := context.WithCancel(t.Context())
			s.config.Library = watched{s.broker, nothing, func() error { kill(); return errKilled }}
			// The first attempt fails behind a whole message: what it says is not in the log as the end of its turn.
			s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
				if _, err := says("first")(ctx, req, emit); err != nil {
					return upstream.Outcome{}, err
				}
				return upstream.Outcome{}, errors.New("the model is out")
			}}
			stop := s.node(ctx)
			<-ctx.Done()
			stop()
			if got := s.said("conv_x"); got != "one, two, first" {
				t.Fatalf("the first attempt left %s", got)
			}
			s.config.Library, s.model.turns = s.broker, []turnFunc{second}
			defer s.node(t.Context())()
			resp := s.response(s.records(ref))
			want := "one, two"
			for _, it := range resp.Output {
				want += ", " + it.Text()
			}
			if got := s.said("conv_x"); got != want {
				t.Errorf("the conversation holds %s, the response ended %s: %s", got, resp.Status, want)
			}
		})
	}
}

// What a response leaves in its conversation follows from how it ended, and so does how it ends from the conversation.
func TestRun_EndsOfConversations(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	s.converse("conv_x", "one")
	s.model.turns = []turnFunc{breaks}
	s.records(s.in("conv_x", fmt.Sprintf(asking, "two")))
	if got := s.said("conv_x"); got != "one" {
		t.Errorf("a response that failed at once left %s", got)
	}
	s.model.turns = []turnFunc{echoes}
	s.records(s.in("conv_x", `{"model":"m","input":"two","conversation":"conv_x","store":false}`))
	if got := s.said("conv_x"); got != "one" {
		t.Errorf("a response that is not stored left %s", got)
	}
	at := s.conversation("conv_x").Version
	s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		if err := s.broker.DeleteConversation(ctx, "default", "conv_x"); err != nil {
			return upstream.Outcome{}, err
		}
		return echoes(ctx, req, emit)
	}}
	if resp := s.response(s.records(s.inAt("conv_x", at, fmt.Sprintf(asking, "two")))); resp.Status != schema.StatusCompleted {
		t.Errorf("deleted under the response: %s %+v", resp.Status, resp.Error)
	}
	if _, err := s.broker.Conversation(t.Context(), "default", "conv_x"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("the response brought its conversation back: %v", err)
	}
	calls := len(s.model.asked)
	resp := s.response(s.records(s.inAt("conv_x", at, fmt.Sprintf(asking, "two"))))
	if resp.Error == nil || resp.Error.Code != schema.CodeConversationNotFound || len(s.model.asked) != calls {
		t.Errorf("deleted before the response: %s %+v", resp.Status, resp.Error)
	}
}

// A response whose words find no room in its conversation fails, and shows them all the same.
func TestRun_FailsWhereItsConversationHasNoRoom(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *broker.Config) { c.ConversationBytes = 16 << 10 })
	s.model.turns = []turnFunc{says(strings.Repeat("long ", 4<<10))}
	s.converse("conv_x")
	defer s.node(t.Context())()
	resp := s.response(s.records(s.in("conv_x", fmt.Sprintf(asking, "two"))))
	if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeOverloaded || len(resp.Output) != 1 {
		t.Errorf("%s %+v with %d items", resp.Status, resp.Error, len(resp.Output))
	}
	if got := s.said("conv_x"); got != "" {
		t.Errorf("the conversation holds %s", got)
	}
}

// A response that has failed for a cause of its own tells of that cause, room or no room.
func TestRun_TellsItsOwnFailureWhereItsConversationHasNoRoom(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *broker.Config) { c.ConversationBytes = 16 << 10 })
	s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		if out, err := says(strings.Repeat("long ", 4<<10))(ctx, req, emit); err != nil {
			return out, err
		}
		return upstream.Outcome{}, &schema.Error{Status: 429, Type: schema.TypeRateLimit, Code: schema.CodeRateLimit, Message: "slow down"}
	}}
	s.converse("conv_x")
	defer s.node(t.Context())()
	resp := s.response(s.records(s.in("conv_x", fmt.Sprintf(asking, "two"))))
	if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeRateLimit || len(resp.Output) != 1 {
		t.Errorf("%s %+v with %d items", resp.Status, resp.Error, len(resp.Output))
	}
}
