package producers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

var errKilled = errors.New("killed")

// bomb stops a node at its n-th step: an event of the model, or the begin or end of a tool call.
type bomb struct {
	left int
	kill func()
}

// tick fails once the node is dead: it returns when ctx, the run's, has ended too.
func (b *bomb) tick(ctx context.Context) error {
	if b.left--; b.left > 0 {
		return nil
	}
	b.kill()
	<-ctx.Done()
	return errKilled
}

// arm makes the stage's model and tools tick.
func (s *stage) arm(b *bomb, turns []turnFunc) {
	s.model.turns = nil
	for _, turn := range turns {
		s.model.turns = append(s.model.turns, func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
			return turn(ctx, req, func(e schema.Event) error {
				if err := b.tick(ctx); err != nil {
					return err
				}
				return emit(e)
			})
		})
	}
	s.tools.onCall = func(ctx context.Context, _ mcp.Server, _, args string) (mcp.Result, error) {
		s.tools.mu.Lock()
		defer s.tools.mu.Unlock()
		if err := b.tick(ctx); err != nil {
			return mcp.Result{}, err
		}
		return mcp.Result{Output: "result of " + args}, nil
	}
}

// Wherever a node stops, the next attempt goes on under the same id: numbers stay gapless, there is one terminal event,
// and no tool that the operator did not call idempotent runs twice.
func TestTakeOver_AtEveryStep(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	turns := []turnFunc{
		plays(message(0, "let me", " look"), functionCall(1, "x__echo", `{"n":`, `1}`), functionCall(2, "x__echo", `{"n":2}`), message(3, "behind")),
		says("all", " done"),
	}
	for n := 1; ; n++ {
		s.tools.calls = map[string]int{}
		ctx, kill := context.WithCancel(t.Context())
		b := &bomb{left: n, kill: kill}
		s.arm(b, turns)
		stop := s.node(ctx)
		ref := s.create(with("x"))
		if !s.killed(ctx, ref) {
			s.records(ref)
			stop()
			kill()
			break // the bomb is behind the end: every step was tried
		}
		stop()
		s.arm(&bomb{left: 1 << 30, kill: func() {}}, turns)
		stop = s.node(t.Context())
		records := s.records(ref)
		stop()
		s.checkTakeOver(n, records)
	}
}

// killed waits until the node was killed or the response has ended.
func (s *stage) killed(ctx context.Context, ref schema.Ref) bool {
	s.wait(ctx, ref)
	return ctx.Err() != nil
}

func (s *stage) checkTakeOver(n int, records []schema.Record) {
	s.Helper()
	resp := s.response(records)
	if resp.Status != schema.StatusCompleted {
		s.Errorf("killed at step %d: status %s, error %+v", n, resp.Status, resp.Error)
	}
	for call, times := range s.tools.calls {
		if times > 1 {
			s.Errorf("killed at step %d: tool call %s was made %d times", n, call, times)
		}
	}
	var claims []string
	for _, r := range records {
		if r.Kind == schema.RecordClaim {
			claims = append(claims, fmt.Sprint(r.Attempt))
		}
	}
	if got := strings.Join(claims, " "); got != "1 2" {
		s.Errorf("killed at step %d: attempts %s", n, got)
	}
}

// A call that was under way when its node died ends as "outcome unknown", unless the operator calls the tool idempotent.
func TestTakeOver_AsksTheOperatorBeforeItRepeatsACall(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		s := newStage(t)
		s.config.Idempotent = func(string, string) bool { return idempotent }
		s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`)), says("done")}
		ctx, kill := context.WithCancel(t.Context())
		s.tools.onCall = func(ctx context.Context, _ mcp.Server, _, _ string) (mcp.Result, error) {
			kill()
			<-ctx.Done()
			return mcp.Result{}, ctx.Err()
		}
		stop := s.node(ctx)
		ref := s.create(with("x"))
		<-ctx.Done()
		stop()
		s.tools.onCall = nil
		stop = s.node(t.Context())
		resp := s.response(s.records(ref))
		stop()
		switch call := resp.Output[1]; {
		case idempotent && (call.Status != schema.StatusCompleted || s.tools.calls["echo{}"] != 2):
			t.Errorf("idempotent: %+v, calls %v", call, s.tools.calls)
		case !idempotent && (!strings.Contains(string(call.Error), "outcome unknown") || s.tools.calls["echo{}"] != 1):
			t.Errorf("not idempotent: %+v, calls %v", call, s.tools.calls)
		}
	}
}
