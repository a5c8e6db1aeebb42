package producers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// impatient lets a Cancel take the log at once where no owner answers; patient makes it wait for one as long as a test may.
func impatient(c *broker.Config) { c.CancelPatience = 50 * time.Millisecond }
func patient(c *broker.Config)   { c.CancelPatience = patience }

// lines are what a node logs.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// listen makes the stage keep logs and metrics; counted returns how many runs ended with a status.
func (s *stage) listen() (log *lines, counted func(status string) float64) {
	log = &lines{}
	registry := prometheus.NewRegistry()
	s.config.Logger, s.config.Metrics = slog.New(slog.NewTextHandler(log, nil)), registry
	return log, func(status string) float64 {
		families, err := registry.Gather()
		if err != nil {
			s.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "midstream_runs_total" && m.GetLabel()[0].GetValue() == status {
					return m.GetCounter().GetValue()
				}
			}
		}
		return 0
	}
}

func (s *stage) cancel(ref schema.Ref) {
	s.Helper()
	ctx, stop := context.WithTimeout(s.Context(), patience)
	defer stop()
	if err := s.broker.Cancel(ctx, ref); err != nil {
		s.Fatal(err)
	}
}

// wantCancelled reads the log behind a Cancel that has returned: it must be whole already, and every byte legal.
func (s *stage) wantCancelled(ref schema.Ref, attempts int) *schema.Response {
	s.Helper()
	h, err := s.broker.Read(s.Context(), ref)
	if err != nil {
		s.Fatal(err)
	}
	var frames []byte
	for _, r := range h.Records {
		frames = append(frames, r.Frames...)
	}
	state, err := schema.CheckStream(frames)
	if err != nil {
		s.Fatal(err)
	}
	last := h.Records[len(h.Records)-1]
	if got := state.Response().Status; got != schema.StatusCancelled || last.Attempt != attempts || !schema.Ends(last.Frames) {
		s.Errorf("status %s, last record of attempt %d, not %d: %s", got, last.Attempt, attempts, last.Frames)
	}
	return state.Response()
}

// acked waits until the job of a command has left the queue: only then it can be enqueued again.
func (s *stage) acked(cmd *schema.Command) {
	s.Helper()
	s.until(func() bool { return s.broker.Enqueue(s.Context(), cmd, nil) == nil })
}

// hangs is a turn that says something and then waits for its context; stopped gets the reason.
func hangs(began chan<- struct{}, stopped chan<- error, events ...schema.Event) turnFunc {
	return func(ctx context.Context, _ *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		for _, e := range events {
			if err := emit(e); err != nil {
				return upstream.Outcome{}, err
			}
		}
		began <- struct{}{}
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return upstream.Outcome{}, ctx.Err()
	}
}

// A model that streams is stopped, what it has said is closed as incomplete, and the run is counted and logged once.
func TestCancel_StopsTheModel(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	log, counted := s.listen()
	began, stopped := make(chan struct{}), make(chan error, 1)
	s.model.turns = []turnFunc{hangs(began, stopped, message(0, "Once", " upon", " a time")[:3]...)}
	stop := s.node(t.Context())
	ref := s.create(`{"model":"m","input":"hi","service_tier":"default"}`)
	<-began
	s.cancel(ref)
	if err := <-stopped; !errors.Is(err, errCancelled) {
		t.Errorf("the model was stopped by %v", err)
	}
	resp := s.wantCancelled(ref, 1)
	if it := resp.Output[0]; it.Status != schema.StatusIncomplete || it.Text() != "Once upon" || resp.Usage != nil {
		t.Errorf("%+v, usage %+v", it, resp.Usage)
	}
	s.until(func() bool { return counted(schema.StatusCancelled) == 1 })
	stop()
	if log.count("run ended") != 1 || log.count("status=cancelled") != 1 || log.count("level=WARN") > 0 || log.count("level=ERROR") > 0 {
		t.Errorf("log: %s", log.buf.String())
	}
	s.wantCancelled(ref, 1)
}

// A tool that is at work is stopped, and its call ends incomplete, as does one that still waits for the wire; one that was done
// stays done. The usage of the turn is told.
func TestCancel_StopsTheTools(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__fast", `{}`), functionCall(1, "x__slow", `{}`), functionCall(2, "x__slow", `{"n":2}`))}
	began, stopped := make(chan struct{}, 2), make(chan error, 2)
	s.tools.list = func(context.Context, mcp.Server) ([]mcp.Tool, error) {
		return []mcp.Tool{{Name: "fast", InputSchema: tools()[0].InputSchema}, {Name: "slow", InputSchema: tools()[0].InputSchema}}, nil
	}
	s.tools.onCall = func(ctx context.Context, _ mcp.Server, name, _ string) (mcp.Result, error) {
		if name == "fast" {
			return mcp.Result{Output: "done"}, nil
		}
		began <- struct{}{}
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return mcp.Result{}, ctx.Err()
	}
	defer s.node(t.Context())()
	ref := s.create(with("x"))
	<-began
	<-began
	s.until(func() bool { // the fast call's end is in the log
		h, err := s.broker.Read(t.Context(), ref)
		return err == nil && strings.Contains(strings.Join(types(h.Records), " "), "mcp_call.completed")
	})
	s.cancel(ref)
	for range 2 {
		if err := <-stopped; !errors.Is(err, errCancelled) {
			t.Errorf("a tool was stopped by %v", err)
		}
	}
	resp := s.wantCancelled(ref, 1)
	var calls []string
	for _, it := range resp.Output[1:] {
		calls = append(calls, it.Name+" "+it.Status)
	}
	if got := strings.Join(calls, ", "); got != "fast completed, slow incomplete, slow incomplete" {
		t.Errorf("calls: %s", got)
	}
	if resp.Usage.TotalTokens != 5 {
		t.Errorf("usage: %+v", resp.Usage)
	}
}

// A server that is asked for its tools is left alone too.
func TestCancel_StopsAToolList(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	began, stopped := make(chan struct{}), make(chan error, 1)
	s.tools.list = func(ctx context.Context, _ mcp.Server) ([]mcp.Tool, error) {
		began <- struct{}{}
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return nil, ctx.Err()
	}
	defer s.node(t.Context())()
	ref := s.create(with("x"))
	<-began
	s.cancel(ref)
	if err := <-stopped; !errors.Is(err, errCancelled) {
		t.Errorf("the list was stopped by %v", err)
	}
	s.wantCancelled(ref, 1)
	if len(s.model.asked) > 0 {
		t.Error("the model was asked")
	}
}

// A run that waits for a free slot is cancelled all the same, at once; when its turn comes nobody is contacted for it.
func TestCancel_WithoutAFreeSlot(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	_, counted := s.listen()
	s.config.Slots = 1
	began, stopped := make(chan struct{}), make(chan error, 1)
	s.model.turns = []turnFunc{hangs(began, stopped)}
	defer s.node(t.Context())()
	busy := s.create(`{"model":"m","input":"hi"}`)
	<-began
	cmd := s.command(`{"model":"m","input":"later"}`)
	if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
		t.Fatal(err)
	}
	rec, err := cmd.RequestRecord()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.broker.Begin(t.Context(), rec, cmd.Ref()); err != nil { // as the gateway does
		t.Fatal(err)
	}
	s.cancel(cmd.Ref())
	s.wantCancelled(cmd.Ref(), 1)
	s.cancel(busy)
	s.until(func() bool { return counted(schema.StatusCancelled) == 2 })
	s.acked(cmd)
	s.wantCancelled(cmd.Ref(), 1)
	if len(s.model.asked) != 1 {
		t.Errorf("the model was asked %d times", len(s.model.asked))
	}
}

// Who takes over a run that was cancelled while it had no owner ends it, and contacts nobody.
func TestCancel_NoticedByTheClaimer(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	w := s.wreck(with("x"), everything)
	w.list("x")
	w.push("model:0", message(0, "Once", " upon")[:3]...)
	w.sink()
	cancelled := make(chan error, 1)
	go func() { cancelled <- s.broker.Cancel(t.Context(), w.cmd.Ref()) }()
	s.until(func() bool {
		asked, err := s.broker.CancelAsked(t.Context(), w.cmd.Ref())
		return asked && err == nil
	})
	if err := s.broker.Enqueue(t.Context(), w.cmd, nil); err != nil {
		t.Fatal(err)
	}
	defer s.node(t.Context())()
	if err := <-cancelled; err != nil {
		t.Fatal(err)
	}
	if resp := s.wantCancelled(w.cmd.Ref(), 2); resp.Output[1].Text() != "Once upon" {
		t.Errorf("output: %+v", resp.Output)
	}
	s.acked(w.cmd)
	if len(s.model.asked) > 0 || len(s.tools.calls) > 0 {
		t.Error("somebody was contacted")
	}
}

// A run that no attempt gets on with is cancelled like any other: the claimer looks before it gives up.
func TestCancel_BeforeGivingUp(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	s.config.MaxAttempts = 1
	w := s.wreck(`{"model":"m","input":"hi"}`, everything)
	w.sink()
	cancelled := make(chan error, 1)
	go func() { cancelled <- s.broker.Cancel(t.Context(), w.cmd.Ref()) }()
	s.until(func() bool {
		asked, err := s.broker.CancelAsked(t.Context(), w.cmd.Ref())
		return asked && err == nil
	})
	defer s.node(t.Context())()
	w.salvage()
	if err := <-cancelled; err != nil {
		t.Fatal(err)
	}
	s.wantCancelled(w.cmd.Ref(), 2)
}

// Whichever event of a turn with two calls a dead owner wrote last, a Cancel ends the response with what the log tells: no call
// completes that has no result, and nothing is told twice.
func TestCancel_AfterEveryEventOfAWreck(t *testing.T) {
	t.Parallel()
	s := newStage(t, impatient)
	for n := 0; ; n++ {
		w := s.wreck(with("x"), n)
		w.list("x")
		w.push("model:0", toolCall(0, `{"n":0}`)...)
		w.push("model:0", message(1, "behind")...)
		w.push("model:0", toolCall(2, `{"n":2}`)...)
		second := schema.Item{ID: w.id(schema.KindMCPCall, 3), Type: schema.KindMCPCall, ServerLabel: "x", Name: "echo", Arguments: new(`{"n":2}`)}
		text := schema.Item{
			ID: w.id(schema.KindMessage, 2), Type: schema.KindMessage,
			Content: schema.Content{schema.NewPart(schema.PartOutputText, "behind")},
		}
		turned := w.left > 0
		w.turn(schema.Turn{
			Number: 1, Usage: &schema.Usage{TotalTokens: 7}, Tier: "flex", Held: []schema.Item{text, second},
			Calls: []schema.Call{{ID: w.id(schema.KindMCPCall, 1), Label: "x", Name: "echo", Arguments: `{"n":0}`}, {ID: second.ID, Label: "x", Name: "echo", Arguments: `{"n":2}`}},
		})
		w.push("model:0", toolResult(0, `{"n":0}`))
		whole := w.left > 0
		w.sink()
		s.cancel(w.cmd.Ref())
		resp := s.wantCancelled(w.cmd.Ref(), 2)
		if turned && (resp.Usage.TotalTokens != 7 || *resp.ServiceTier != "flex" || len(resp.Output) != 4 || resp.Output[3].Status != schema.StatusIncomplete) {
			t.Errorf("dead after event %d: usage %+v, output %+v", n, resp.Usage, resp.Output)
		}
		if whole {
			return
		}
	}
}

// An owner that does not stop in time is fenced: it writes nothing behind the end, and its job is acked by the next attempt.
func TestCancel_OfAnOwnerThatDoesNotStop(t *testing.T) {
	t.Parallel()
	s := newStage(t, impatient, func(c *broker.Config) { c.AckWait = time.Second })
	_, counted := s.listen()
	began, release := make(chan struct{}), make(chan struct{})
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`)), says("never asked")}
	s.tools.onCall = func(context.Context, mcp.Server, string, string) (mcp.Result, error) {
		close(began)
		<-release
		return mcp.Result{Output: "late"}, nil
	}
	defer s.node(t.Context())()
	cmd := s.command(with("x"))
	if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
		t.Fatal(err)
	}
	<-began
	s.cancel(cmd.Ref())
	if resp := s.wantCancelled(cmd.Ref(), 2); resp.Output[1].Status != schema.StatusIncomplete {
		t.Errorf("call: %+v", resp.Output[1])
	}
	close(release)
	s.until(func() bool { return counted(schema.StatusCancelled) == 1 })
	s.acked(cmd)
	s.wantCancelled(cmd.Ref(), 2)
}

// A response that is deleted while it runs is stopped, and its job leaves the queue.
func TestDelete_WhileRunning(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	log, _ := s.listen()
	began, stopped := make(chan struct{}), make(chan error, 1)
	s.model.turns = []turnFunc{hangs(began, stopped, message(0, "Once")[:2]...)}
	stop := s.node(t.Context())
	cmd := s.command(`{"model":"m","input":"hi"}`)
	if err := s.broker.Enqueue(t.Context(), cmd, nil); err != nil {
		t.Fatal(err)
	}
	<-began
	if err := s.broker.Delete(t.Context(), cmd.Ref()); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; !errors.Is(err, errCancelled) {
		t.Errorf("the model was stopped by %v", err)
	}
	s.acked(cmd)
	stop()
	if _, err := s.broker.Read(t.Context(), cmd.Ref()); !errors.Is(err, broker.ErrGone) {
		t.Error(err)
	}
	if log.count("level=ERROR") > 0 {
		t.Errorf("log: %s", log.buf.String())
	}
}

// However often a run has been cancelled, and whatever it has done, a cancel comes before every other step.
func TestNext_CancelComesFirst(t *testing.T) {
	t.Parallel()
	p := progress{cancelled: true, unlisted: 1, pending: 1, full: true, answered: true, cause: expired()}
	if step, _ := next(p, 1); step != cancelRun {
		t.Error(step)
	}
}

// A cancel ends the HTTP request to the model's server: that one hears of it and can stop counting tokens.
func TestCancel_EndsTheHTTPRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t, patient)
	began, stopped := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Once upon"}}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
		close(stopped)
	}))
	t.Cleanup(server.Close)
	router, err := upstream.Open([]upstream.Config{{Name: "slow", Dialect: "chat", BaseURL: server.URL + "/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(router.Close)
	s.config.Models = router
	defer s.node(t.Context())()
	ref := s.create(`{"model":"m","input":"hi"}`)
	<-began
	s.until(func() bool {
		h, err := s.broker.Read(t.Context(), ref)
		return err == nil && slices.Contains(types(h.Records), "output_text.delta")
	})
	s.cancel(ref)
	<-stopped
	if resp := s.wantCancelled(ref, 1); resp.Output[0].Text() != "Once upon" {
		t.Errorf("output: %+v", resp.Output)
	}
}
