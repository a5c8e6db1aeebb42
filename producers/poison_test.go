package producers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// crashes is a turn that says something, and then ends its attempt in a way that leaves nothing behind but the log.
func (s *stage) crashes(events ...schema.Event) turnFunc {
	return func(_ context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		for _, e := range events {
			if err := emit(e); err != nil {
				return upstream.Outcome{}, err
			}
		}
		if len(events) > 0 {
			s.shown(req.Response)
		}
		panic("the upstream's answer ends the process")
	}
}

// shown waits until an open item is in the log.
func (s *stage) shown(response string) {
	ref, err := schema.NewRef("default", response)
	if err != nil {
		s.Error(err)
		return
	}
	s.until(func() bool {
		h, err := s.broker.Read(s.Context(), ref)
		if err != nil {
			return false
		}
		fold, err := schema.FoldRun(ref, h.Records)
		return err == nil && fold.State.Open() != nil
	})
}

// A run that ends each attempt at the same place ends in response.failed: whether it has shown something each time or not, and
// after tools were listed and called.
func TestPoison_GivesUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxAttempts = 3
	said := message(0, "I", " begin")[:3]
	for name, turns := range map[string][]turnFunc{
		"at once":             {s.crashes()},
		"in the middle":       {s.crashes(said...)},
		"in the second turn":  {plays(functionCall(0, "x__echo", `{}`)), s.crashes(said...)},
		"in a call's parts":   {s.crashes(functionCall(0, "x__echo", `{"n":`, `1}`)[:2]...)},
		"behind a whole item": {s.crashes(append(message(0, "one"), message(1, "two")[:2]...)...)},
	} {
		s.model.turns, s.model.asked = turns, nil
		stop := s.node(t.Context())
		records := s.records(s.create(with("x")))
		stop()
		resp := s.whole(records)
		claims := 0
		for _, k := range kinds(records) {
			if k == schema.RecordClaim {
				claims++
			}
		}
		// One attempt gets somewhere: the last of those that may fail, where crashes took away what the others did. Behind it
		// as many fail again, and the last only gives up.
		most := 2*s.config.MaxAttempts + 1
		if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeAttempts || claims > most {
			t.Errorf("%s: %s, error %+v, %d claims", name, resp.Status, resp.Error, claims)
		}
	}
}

// Credentials that cannot be read fail the run at its first attempt, and say so.
func TestPoison_UnreadableCredentials(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("never asked")}
	cmd := s.command(with("x"))
	if err := s.broker.Enqueue(t.Context(), cmd, []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	stop := s.node(t.Context())
	resp := s.whole(s.records(cmd.Ref()))
	stop()
	if resp.Error == nil || resp.Error.Code != schema.CodeCredentials || len(s.model.asked) > 0 {
		t.Errorf("%s, error %+v", resp.Status, resp.Error)
	}
}

// A job that is handed out again and again is put off every second time; one that a cluster has been rolled under a few times
// is not.
func TestPoison_PutsOffWhatIsHandedOutForEver(t *testing.T) {
	t.Parallel()
	for deliveries, want := range map[int]bool{1: false, 5: false, maxStrays: false, maxStrays + 1: true, maxStrays + 2: false, maxStrays + 3: true} {
		if strays(deliveries) != want {
			t.Errorf("delivery %d: put off %v", deliveries, !want)
		}
	}
}

// library is one in which a response of every thread is damaged, and, once it is patient, one that never answers.
type library struct {
	Library
	patient bool
}

func (l library) Past(ctx context.Context, _ string, thread []string) ([]schema.Item, error) {
	if len(thread) == 0 {
		return nil, nil
	}
	if l.patient {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, &broker.CorruptError{Err: errors.New("its archive has no part 1")}
}

// A run that cannot read what it goes on from is tried as often as any other, and has as much time.
func TestPoison_ThreadThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for code, patient := range map[string]bool{schema.CodeAttempts: false, schema.CodeRunExpired: true} {
		s := newStage(t)
		s.config.MaxAttempts, s.config.Library = 3, library{s.broker, patient}
		if patient {
			s.config.MaxRun = time.Second
		}
		cmd := s.command(`{"model":"m","input":"hi"}`)
		cmd.Thread = []string{"resp_damaged"}
		if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
			t.Fatal(err)
		}
		stop := s.node(t.Context())
		resp := s.whole(s.records(cmd.Ref()))
		stop()
		if resp.Status != schema.StatusFailed || resp.Error.Code != code {
			t.Errorf("%s, error %+v, want %s", resp.Status, resp.Error, code)
		}
	}
}
