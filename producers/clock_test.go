package producers

import (
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// wrongClocks are clocks that a node may have: off by little or much, or standing still.
func wrongClocks() map[string]func() time.Time {
	began := time.Now()
	clocks := map[string]func() time.Time{"stands still": func() time.Time { return began }}
	for name, off := range map[string]time.Duration{
		"an hour ahead": time.Hour, "an hour behind": -time.Hour,
		"a year ahead": 365 * 24 * time.Hour, "a year behind": -365 * 24 * time.Hour,
	} {
		clocks[name] = func() time.Time { return time.Now().Add(off) }
	}
	return clocks
}

// createdBy is a command of a gateway with such a clock.
func (s *stage) createdBy(clock func() time.Time, body string) *schema.Command {
	s.Helper()
	cmd := s.command(body)
	cmd.CreatedAt = clock().UnixMilli()
	if err := s.broker.Enqueue(s.Context(), cmd, nil); err != nil {
		s.Fatal(err)
	}
	return cmd
}

// A node whose clock is wrong works as well as any, and so does one behind a gateway whose clock is: no run has expired before
// it began.
func TestClock_WrongOnesFailNoRun(t *testing.T) {
	t.Parallel()
	for name, clock := range wrongClocks() {
		s := newStage(t)
		s.model.turns = []turnFunc{says("hello")}
		s.config.Now = clock
		stop := s.node(t.Context())
		for _, gateway := range []func() time.Time{time.Now, clock} {
			resp := s.whole(s.records(s.createdBy(gateway, `{"model":"m","input":"hi"}`).Ref()))
			if resp.Status != schema.StatusCompleted {
				t.Errorf("%s: %s, error %+v", name, resp.Status, resp.Error)
			}
		}
		stop()
	}
}

// A node whose clock is wrong, or stands still, ends a run when its time is up.
func TestClock_WrongOnesLetNoRunGoOnForEver(t *testing.T) {
	t.Parallel()
	for name, clock := range wrongClocks() {
		s := newStage(t)
		began, stopped := make(chan struct{}, 1), make(chan error, 1)
		s.model.turns = []turnFunc{hangs(began, stopped)}
		s.config.Now, s.config.MaxRun = clock, 500*time.Millisecond
		stop := s.node(t.Context())
		resp := s.whole(s.records(s.createdBy(clock, `{"model":"m","input":"hi"}`).Ref()))
		stop()
		if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeRunExpired {
			t.Errorf("%s: %s, error %+v", name, resp.Status, resp.Error)
		}
	}
}

// A run that is taken over is as old as it is, whatever the clock of the node that takes it.
func TestClock_ATakeoverDoesNotMakeARunYounger(t *testing.T) {
	t.Parallel()
	for name, clock := range wrongClocks() {
		s := newStage(t)
		s.model.turns = []turnFunc{says("never asked")}
		s.config.Now, s.config.MaxRun = clock, 200*time.Millisecond
		w := s.wreck(`{"model":"m","input":"hi"}`, everything)
		old := time.Now()
		s.until(func() bool { return time.Since(old) > s.config.MaxRun })
		stop := s.node(t.Context())
		resp := w.salvage()
		stop()
		if resp.Error == nil || resp.Error.Code != schema.CodeRunExpired || len(s.model.asked) > 0 {
			t.Errorf("%s: %s, error %+v, model asked %d times", name, resp.Status, resp.Error, len(s.model.asked))
		}
	}
}

// A job whose log has aged away unsealed is as old as the job: what was done in that log is not done again.
func TestClock_ALogThatIsBegunAgainHasExpired(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("never asked")}
	s.config.MaxRun = 200 * time.Millisecond
	cmd := s.command(`{"model":"m","input":"hi"}`)
	if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
		t.Fatal(err)
	}
	old := time.Now()
	s.until(func() bool { return time.Since(old) > s.config.MaxRun })
	stop := s.node(t.Context())
	resp := s.whole(s.records(cmd.Ref())) // the log is begun here: younger than its job by more than a run may take
	stop()
	if resp.Error == nil || resp.Error.Code != schema.CodeRunExpired || len(s.model.asked) > 0 {
		t.Errorf("%s, error %+v, model asked %d times", resp.Status, resp.Error, len(s.model.asked))
	}
}
