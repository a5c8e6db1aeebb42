package producers

import (
	"context"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// A run that was cancelled or deleted before anybody had begun its log is claimed, and calls no model: its job is over.
func TestNode_EndedBeforeItsLogBegan(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	s.model.turns = []turnFunc{says("never")}
	for name, end := range map[string]func(context.Context, schema.Ref) error{
		"cancel": s.broker.Cancel, "delete": s.broker.Delete,
	} {
		cmd := s.command(`{"model":"m","input":"` + name + `"}`)
		if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
			t.Fatal(err)
		}
		if err := end(t.Context(), cmd.Ref()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		stop := s.node(t.Context())
		s.acked(cmd)
		stop()
		if name == "cancel" {
			s.wantCancelled(cmd.Ref(), 1)
		}
	}
	if n := len(s.model.asked); n != 0 {
		t.Errorf("the model was asked %d times", n)
	}
}
