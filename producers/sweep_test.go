package producers

import (
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// sweeping makes the stage's nodes sweep without a pause.
func (s *stage) sweeping() { s.config.Sweeper, s.config.SweepEvery = s.broker, 50*time.Millisecond }

// A zombie's late ack takes the job of a run away, and its owner dies: the sweep of another node finds it, and it ends in
// one terminal event.
func TestSweep_EndsARunWhoseJobAZombieDeleted(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *broker.Config) { c.AckWait = 300 * time.Millisecond })
	began, stopped := make(chan struct{}), make(chan error, 1)
	s.model.turns = []turnFunc{hangs(began, stopped, message(0, "Once", " upon")[:3]...)}
	ref := s.create(`{"model":"m","input":"hi"}`)
	zombie, err := s.broker.Claim(t.Context()) // and does nothing: its lease runs out
	if err != nil {
		t.Fatal(err)
	}
	stop := s.node(t.Context())
	<-began
	if err := zombie.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	<-stopped
	s.model.turns = []turnFunc{says("the end")}
	s.sweeping()
	defer s.node(t.Context())()
	records := s.records(ref)
	if resp := s.whole(records); resp.Status != schema.StatusCompleted {
		t.Errorf("status %s, error %+v", resp.Status, resp.Error)
	}
}

// A response that has ended, and whose owner died before it was sealed, is sealed although its job is gone: nothing is run
// again.
func TestSweep_SealsWhatHasEnded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("never asked")}
	w := s.wreck(`{"model":"m","input":"hi"}`, everything)
	w.push("model:0", message(0, "all told")...)
	fold, err := schema.FoldRun(w.cmd.Ref(), w.history())
	if err != nil {
		t.Fatal(err)
	}
	events, err := fold.CancelFromLog()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.log.Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	w.sink()
	s.sweeping()
	before := len(w.history())
	stop := s.node(t.Context())
	s.until(func() bool { return s.sealed(w.cmd) })
	stop()
	if len(s.model.asked) > 0 || len(w.history()) != before {
		t.Errorf("%d records were %d, model asked %d times", len(w.history()), before, len(s.model.asked))
	}
}

// A run whose credentials went with its job fails for that, and contacts no server without them.
func TestSweep_SaysThatCredentialsAreLost(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("never asked")}
	cmd := s.command(with("x"))
	cmd.Secrets = []string{"x"}
	rec, err := cmd.RequestRecord()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.broker.Begin(t.Context(), rec, cmd.Ref()); err != nil {
		t.Fatal(err)
	}
	s.sweeping()
	stop := s.node(t.Context())
	resp := s.whole(s.records(cmd.Ref()))
	stop()
	if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeCredentials || len(s.model.asked) > 0 {
		t.Errorf("status %s, error %+v, model asked %d times", resp.Status, resp.Error, len(s.model.asked))
	}
}
