package producers

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// drainable is a stage whose tool calls wait for a word each, or for the end of their context.
type drainable struct {
	*stage
	called chan string
	answer chan struct{}
}

func newDrainable(t *testing.T) *drainable {
	t.Helper()
	s := &drainable{newStage(t), make(chan string, 100), make(chan struct{})}
	s.config.DrainCalls = patience
	s.tools.onCall = func(ctx context.Context, _ mcp.Server, _, args string) (mcp.Result, error) {
		s.called <- args
		select {
		case <-s.answer:
			return mcp.Result{Output: "result of " + args}, nil
		case <-ctx.Done():
			return mcp.Result{}, ctx.Err()
		}
	}
	return s
}

// callsOf is a turn of so many calls of one tool.
func callsOf(n int) turnFunc {
	var groups [][]schema.Event
	for i := range n {
		groups = append(groups, functionCall(i, "x__echo", fmt.Sprintf(`{"n":%d}`, i)))
	}
	return plays(groups...)
}

// wantOnce checks that each of n calls was made once, and that nobody has to say that its outcome is unknown.
func (s *stage) wantOnce(n int, resp *schema.Response) {
	s.Helper()
	if resp.Status != schema.StatusCompleted || len(s.tools.calls) != n {
		s.Errorf("status %s, error %+v, %d calls were made, want %d", resp.Status, resp.Error, len(s.tools.calls), n)
	}
	for call, times := range s.tools.calls {
		if times != 1 {
			s.Errorf("%s was called %d times", call, times)
		}
	}
	for _, it := range resp.Output {
		if it.Type == schema.KindMCPCall && (it.Status != schema.StatusCompleted || strings.Contains(string(it.Error), "unknown")) {
			s.Errorf("%s %s: %s", it.ID, it.Status, it.Error)
		}
	}
}

// draining ends the node in the background: what it waits for is for the test to say.
func draining(stop func()) (stopped <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	return done
}

// A node that is stopped lets tool calls that are under way end, and begins none: they are the next node's. Each is made once,
// though nobody calls the tool idempotent. Of 20 calls 16 are under way at once.
func TestDrain_CallsEndAndNoneBegins(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, maxParallelCalls + 4} {
		s := newDrainable(t)
		s.model.turns = []turnFunc{callsOf(n), says("done")}
		watch := &lookout{entered: make(chan struct{}), leaving: make(chan struct{})}
		s.config.Sweeper, s.config.SweepEvery = watch, 1
		stop := s.node(t.Context())
		<-watch.entered
		ref := s.create(with("x"))
		under := min(n, maxParallelCalls)
		for range under {
			<-s.called
		}
		stopped := draining(stop)
		<-watch.leaving
		for range under {
			s.answer <- struct{}{}
		}
		<-stopped
		close(s.answer)
		s.config.Sweeper = nil
		stop = s.node(t.Context())
		resp := s.whole(s.records(ref))
		stop()
		s.wantOnce(n, resp)
	}
}

// lookout is a sweeper that tells when its node begins to drain.
type lookout struct{ entered, leaving chan struct{} }

func (l *lookout) SweepRuns(ctx context.Context) (int, error) {
	close(l.entered)
	<-ctx.Done()
	close(l.leaving)
	return 0, ctx.Err()
}

// A run whose model call is cut is handed over at once, and not when its lease ends: here that would take longer than the test
// waits.
func TestDrain_HandsOverAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *broker.Config) { c.AckWait = time.Hour })
	asked := make(chan struct{}, 1)
	s.model.turns = []turnFunc{func(ctx context.Context, _ *upstream.Request, _ func(schema.Event) error) (upstream.Outcome, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return upstream.Outcome{}, ctx.Err()
	}}
	stop := s.node(t.Context())
	ref := s.create(`{"model":"m","input":"x"}`)
	<-asked
	stop()
	s.model.turns = []turnFunc{says("done")}
	stop = s.node(t.Context())
	defer stop()
	if resp := s.whole(s.records(ref)); resp.Status != schema.StatusCompleted {
		t.Errorf("%s: %+v", resp.Status, resp.Error)
	}
}

// A call that takes longer than a drain may is cut: nobody knows what it did, and it is not made again.
func TestDrain_CutsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := newDrainable(t)
	s.config.DrainCalls = 1
	s.model.turns = []turnFunc{callsOf(1), says("done")}
	stop := s.node(t.Context())
	ref := s.create(with("x"))
	<-s.called
	stop()
	stop = s.node(t.Context())
	resp := s.whole(s.records(ref))
	stop()
	if call := resp.Output[1]; !strings.Contains(string(call.Error), "outcome unknown") || s.tools.calls[`echo{"n":0}`] != 1 {
		t.Errorf("%+v, calls %v", call, s.tools.calls)
	}
}

// A call in doubt stays so, however often its run is handed over before anybody gets to it.
func TestDrain_ADoubtOutlastsHandOvers(t *testing.T) {
	t.Parallel()
	s := newDrainable(t)
	s.config.DrainCalls = 1
	s.model.turns = []turnFunc{says("done")}
	w := s.wreck(with("x"), everything)
	w.list("x")
	w.push("model:0", toolCall(0, `{"n":0}`)...)
	w.turn(schema.Turn{Number: 1, Calls: []schema.Call{{ID: w.id(schema.KindMCPCall, 1), Label: "x", Name: "echo", Arguments: `{"n":0}`}}})
	w.sink()
	if err := s.broker.Enqueue(t.Context(), w.cmd, nil); err != nil {
		t.Fatal(err)
	}
	library := &gatekeeper{Library: s.broker, entered: make(chan struct{})}
	s.config.Library = library
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		stop := s.node(ctx)
		<-library.entered // behind the claim, before anything is taken over
		cancel()
		stop()
	}
	s.config.Library = s.broker
	stop := s.node(t.Context())
	resp := s.whole(s.records(w.cmd.Ref()))
	stop()
	if call := resp.Output[1]; !strings.Contains(string(call.Error), "outcome unknown") || len(s.tools.calls) > 0 {
		t.Errorf("%+v, calls %v", call, s.tools.calls)
	}
	n := 0
	for _, r := range w.history() {
		if r.Kind == schema.RecordRelease {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d releases", n)
	}
}

// gatekeeper is a library that gives no answer.
type gatekeeper struct {
	Library
	entered chan struct{}
}

func (g *gatekeeper) Past(ctx context.Context, _ string, _ []string) ([]schema.Item, error) {
	g.entered <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// The model has said everything when the node is to stop: its calls are in the log, have not left the node, and are made by
// the next one.
func TestDrain_BetweenTheTurnAndItsCalls(t *testing.T) {
	t.Parallel()
	s := newDrainable(t)
	close(s.answer)
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan struct{})
	var once sync.Once
	s.model.turns = []turnFunc{
		func(stopping context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
			out, err := callsOf(2)(stopping, req, emit)
			once.Do(func() {
				close(said)
				<-stopping.Done()
			})
			return out, err
		}, says("done"),
	}
	stop := s.node(ctx)
	ref := s.create(with("x"))
	<-said
	cancel()
	stop()
	stop = s.node(t.Context())
	records := s.records(ref)
	stop()
	s.wantOnce(2, s.whole(records))
	if len(s.model.asked) != 2 {
		t.Errorf("model was asked %d times, want once a turn", len(s.model.asked))
	}
}
