package producers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// brief makes leases short, and heartbeats rare: a worker that is paused loses its job at once.
func brief(c *broker.Config) { c.AckWait, c.Heartbeat = 250*time.Millisecond, 200*time.Millisecond }

// zombie is a job whose worker was paused: it is in this test's hands, and another worker has it too.
type zombie struct {
	*stage
	job *broker.Job
	cmd *schema.Command
}

// zombie takes the job of a new response and lets the lease run out.
func (s *stage) zombie(body string) *zombie {
	s.Helper()
	cmd := s.command(body)
	if err := s.broker.Enqueue(s.Context(), cmd, nil); err != nil {
		s.Fatal(err)
	}
	job, err := s.broker.Claim(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return &zombie{s, job, cmd}
}

// A worker wakes up whose run another one has: at whatever moment, and whatever it does with the job, the run ends once, with each
// tool called once, whole and sealed.
func TestFence_AZombiesJob(t *testing.T) {
	t.Parallel()
	acts := map[string]func(*zombie) error{
		"acks":       func(z *zombie) error { return z.job.Ack(z.Context()) },
		"naks":       func(z *zombie) error { return z.job.Nak(z.Context(), 0) },
		"heartbeats": func(z *zombie) error { return z.job.Heartbeat() },
	}
	for name, act := range acts {
		s := newStage(t, brief)
		s.config.DrainCalls = patience
		called, answer := make(chan struct{}, 10), make(chan struct{})
		s.tools.onCall = func(context.Context, mcp.Server, string, string) (mcp.Result, error) {
			called <- struct{}{}
			<-answer
			return mcp.Result{Output: "done"}, nil
		}
		s.model.turns = []turnFunc{callsOf(1), says("the end")}
		z := s.zombie(with("x"))
		s.sweeping() // a job that a zombie's ack has deleted is put back
		first, second := s.node(t.Context()), s.node(t.Context())
		<-called
		if err := act(z); err != nil {
			t.Fatal(err)
		}
		close(answer)
		resp := s.whole(s.records(z.cmd.Ref()))
		s.until(func() bool { return s.sealed(z.cmd) })
		first()
		second()
		if n := s.tools.calls[`echo{"n":0}`]; n != 1 {
			t.Errorf("a zombie %s: the tool was called %d times", name, n)
		}
		if resp.Status != schema.StatusCompleted {
			t.Errorf("a zombie %s: %s, error %+v", name, resp.Status, resp.Error)
		}
	}
}

// A worker that is paused in the middle of its run and wakes up behind the end of another attempt leaves everything as it is:
// log, archive and tool counts. It is paused in its model call, in a tool call, or before it would write.
func TestFence_AWorkerThatWakesUpLate(t *testing.T) {
	t.Parallel()
	for name, inTool := range map[string]bool{"in a model call": false, "in a tool call": true} {
		s := newStage(t)
		paused, wake := make(chan struct{}), make(chan struct{})
		pause := func() { // as SIGSTOP does: it hears of nothing, ctx included
			close(paused)
			<-wake
		}
		s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
			if !inTool {
				if err := emit(message(0, "x")[0]); err != nil {
					return upstream.Outcome{}, err
				}
				pause()
				return says("never heard")(ctx, req, emit)
			}
			return callsOf(1)(ctx, req, emit)
		}}
		s.tools.onCall = func(context.Context, mcp.Server, string, string) (mcp.Result, error) {
			pause()
			return mcp.Result{Output: "never heard"}, nil
		}
		ref := s.create(with("x"))
		stop := s.node(t.Context())
		<-paused
		s.takeAway(ref)
		h, err := s.broker.Read(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		close(wake)
		s.until(func() bool { return s.idle(ref) })
		stop()
		again, err := s.broker.Read(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Records) != len(h.Records) || again.Records[len(h.Records)-1].Chain != h.Records[len(h.Records)-1].Chain {
			t.Errorf("%s: the log has %d records behind the end", name, len(again.Records)-len(h.Records))
		}
		if resp := s.whole(again.Records); resp.Status != schema.StatusCancelled {
			t.Errorf("%s: %s", name, resp.Status)
		}
		if n := s.tools.calls[`echo{"n":0}`]; n > 1 {
			t.Errorf("%s: the tool was called %d times", name, n)
		}
	}
}

// takeAway ends a response by the fence, as a node does whose owner does not answer. What the owner has written already may
// still be on its way, and come first.
func (s *stage) takeAway(ref schema.Ref) {
	s.Helper()
	for !s.tryToTakeAway(ref) {
	}
}

func (s *stage) tryToTakeAway(ref schema.Ref) bool {
	s.Helper()
	h, err := s.broker.Read(s.Context(), ref)
	if err != nil {
		s.Fatal(err)
	}
	fold, err := schema.FoldRun(ref, h.Records)
	if err != nil {
		s.Fatal(err)
	}
	w := s.broker.Writer(h, fold.Attempt+1, "thief")
	defer w.Close()
	switch err := w.Commit(s.Context(), schema.RecordClaim, []byte(`{"node":"thief"}`)); {
	case errors.Is(err, broker.ErrFenced):
		return false
	case err != nil:
		s.Fatal(err)
	}
	events, err := fold.CancelFromLog()
	if err != nil {
		s.Fatal(err)
	}
	if err := w.Append(s.Context(), events...); err != nil {
		s.Fatal(err)
	}
	if err := w.Seal(s.Context(), true); err != nil {
		s.Fatal(err)
	}
	return true
}

// idle reports whether nobody owns the response any more: the job that the zombie left comes back when its lease ends, and is
// acked by whoever finds the archive.
func (s *stage) idle(ref schema.Ref) bool {
	s.Helper()
	h, err := s.broker.Read(s.Context(), ref)
	if err != nil {
		s.Fatal(err)
	}
	fold, err := schema.FoldRun(ref, h.Records)
	if err != nil {
		s.Fatal(err)
	}
	return s.broker.Enqueue(s.Context(), fold.Command, nil) == nil
}
