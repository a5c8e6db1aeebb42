package producers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// far is an upstream on a real socket, behind the real router: it refuses so many calls, then it answers.
type far struct {
	calls  atomic.Int64
	refuse int64
	status int
}

const farAnswer = `data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}` + "\n\n" +
	`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if f.calls.Add(1) <= f.refuse {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(f.status)
		return
	}
	_, _ = io.WriteString(w, farAnswer)
}

// far puts the stage's runs before that upstream. pause stands for the wait between two tries.
func (s *stage) far(f *far, pause func(ctx context.Context, d time.Duration) error) {
	s.Helper()
	server := httptest.NewServer(f)
	s.Cleanup(server.Close)
	router, err := upstream.Open([]upstream.Config{{Name: "far", Dialect: "chat", BaseURL: server.URL, Pause: pause}})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(router.Close)
	s.config.Models = router
}

func noPause(context.Context, time.Duration) error { return nil }

// tries returns the tries that a log tells of, and the last turn.
func (s *stage) tries(records []schema.Record) (tries []schema.Try, turn *schema.Turn) {
	s.Helper()
	for _, rec := range records {
		var err error
		switch rec.Kind {
		case schema.RecordTry:
			tries = append(tries, schema.Try{})
			err = json.Unmarshal(rec.Body, &tries[len(tries)-1])
		case schema.RecordTurn:
			turn = &schema.Turn{}
			err = json.Unmarshal(rec.Body, turn)
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	return tries, turn
}

// Each try that fails is a fact in the log, and so is who served the turn in the end. The client sees neither.
func TestTries_AreInTheLog(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	f := &far{refuse: 2, status: 503}
	s.far(f, noPause)
	resp, records := s.run(`{"model":"m","input":"hi"}`)
	tries, turn := s.tries(records)
	var told []string
	for _, try := range tries {
		told = append(told, fmt.Sprintf("%d.%d %s %d %s", try.Turn, try.Number, try.Upstream, try.Status, try.Error.Code))
		if try.RetryAfter != 1000 || try.Began == 0 || strings.Contains(try.Error.Message, "127.0.0.1") {
			t.Errorf("try %+v", try)
		}
	}
	if diff := cmp.Diff([]string{"1.1 far 502 upstream_unavailable", "1.2 far 502 upstream_unavailable"}, told); diff != "" {
		t.Errorf("tries (-want +got):\n%s", diff)
	}
	if turn == nil || turn.Upstream != "far" || resp.Status != schema.StatusCompleted || f.calls.Load() != 3 {
		t.Errorf("turn %+v, status %s, %d calls", turn, resp.Status, f.calls.Load())
	}
	for _, rec := range records {
		if rec.Kind == schema.RecordTry && len(rec.Frames) > 0 {
			t.Errorf("a try is served: %s", rec.Frames)
		}
	}
}

// When every try has failed, the response fails with what the upstream said last.
func TestTries_EndTheResponse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	f := &far{refuse: 99, status: 429}
	s.far(f, noPause)
	resp, records := s.run(`{"model":"m","input":"hi"}`)
	if tries, _ := s.tries(records); len(tries) != 3 || f.calls.Load() != 3 {
		t.Errorf("%d tries noted, %d calls", len(tries), f.calls.Load())
	}
	if resp.Error == nil || resp.Error.Code != schema.CodeRateLimit || resp.Error.Type != schema.TypeRateLimit {
		t.Errorf("error %+v", resp.Error)
	}
	ref, err := schema.NewRef("default", resp.ID)
	if err != nil {
		t.Fatal(err)
	}
	tries, _ := s.tries(records)
	last := tries[len(tries)-1]
	at, err := s.broker.RetryAt(t.Context(), ref)
	if want := time.UnixMilli(last.Began + last.Took + 1000); err != nil || !at.Equal(want) {
		t.Errorf("retry at %v, %v; the upstream asked for a second from %+v on", at, err, last)
	}
}

// A node that is killed between two tries costs no more of them: the next attempt goes on counting, and each try is made
// once.
func TestTries_AreMadeOnceAcrossTakeOvers(t *testing.T) {
	t.Parallel()
	for refuse := range int64(5) {
		s := newStage(t)
		f := &far{refuse: refuse, status: 503}
		paused := make(chan struct{})
		var pauses atomic.Int64
		s.far(f, func(ctx context.Context, _ time.Duration) error {
			if pauses.Add(1)%2 == 0 {
				return nil // the second time, the wait is over
			}
			paused <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		ref := s.create(`{"model":"m","input":"hi"}`)
		for range min(refuse, 2) {
			stop := s.node(t.Context())
			<-paused
			stop()
		}
		stop := s.node(t.Context())
		records := s.records(ref)
		stop()
		resp := s.response(records)
		tries, _ := s.tries(records)
		if want := min(refuse, 3); int64(len(tries)) != want || f.calls.Load() != min(refuse+1, 3) {
			t.Errorf("%d refusals: %d tries noted, %d calls", refuse, len(tries), f.calls.Load())
		}
		if ok := resp.Status == schema.StatusCompleted; ok != (refuse < 3) {
			t.Errorf("%d refusals: status %s, error %+v", refuse, resp.Status, resp.Error)
		}
		for i, try := range tries {
			if try.Number != i+1 || try.Turn != 1 {
				t.Errorf("%d refusals: try %d is %+v", refuse, i+1, try)
			}
		}
	}
}

// Tries that the dead node has noted count, whatever has become of it.
func TestTakeOver_CountsTries(t *testing.T) {
	t.Parallel()
	for made := range 4 {
		s := newStage(t)
		f := &far{refuse: 99, status: 503}
		s.far(f, noPause)
		w := s.wreck(`{"model":"m","input":"hi"}`, everything)
		for n := range made {
			w.try(schema.Try{Turn: 1, Number: n + 1, Upstream: "far", Status: 502, Error: schema.ResponseError{Code: "upstream_unavailable", Type: schema.TypeUpstream, Message: "down"}})
		}
		stop := s.node(t.Context())
		resp := w.salvage()
		stop()
		if int(f.calls.Load()) != 3-made || resp.Error == nil || resp.Error.Code != "upstream_unavailable" {
			t.Errorf("%d tries made before: %d calls, error %+v", made, f.calls.Load(), resp.Error)
		}
	}
}

// A try that broke off in the midst of its answer is the end of the response, also when the node died before it could say so.
func TestTakeOver_RemembersATryThatWasShown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	f := &far{}
	s.far(f, noPause)
	defer s.node(t.Context())()
	w := s.wreck(`{"model":"m","input":"hi"}`, everything)
	events := message(0, "Hel")
	w.push("model:0", events[:len(events)-1]...)
	w.try(schema.Try{Turn: 1, Number: 1, Upstream: "far", Shown: true, Status: 502, Error: schema.ResponseError{Code: schema.CodeUpstreamProtocol, Type: schema.TypeUpstream, Message: "cut"}})
	if resp := w.salvage(); resp.Error == nil || resp.Error.Message != "cut" || f.calls.Load() != 0 {
		t.Errorf("%d calls, error %+v", f.calls.Load(), resp.Error)
	}
}

// A try that fails is no progress: a run that kills its node in every attempt is given up, however many tries it has noted.
func TestTakeOver_TriesAreNoProgress(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxAttempts = 3
	s.model.turns = []turnFunc{says("never asked")}
	w := s.wreck(`{"model":"m","input":"hi"}`, everything)
	for n := range 2 {
		w.try(schema.Try{Turn: 1, Number: n + 1, Upstream: "far", Status: 502})
		w.sink()
		w.claim()
	}
	defer s.node(t.Context())()
	if resp := w.salvage(); resp.Error == nil || resp.Error.Code != schema.CodeAttempts {
		t.Errorf("response: %+v", resp)
	}
}

// A wait between two tries ends with the run's time.
func TestTries_EndWithTheRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxRun = time.Second
	f := &far{refuse: 99, status: 503}
	s.far(f, func(ctx context.Context, _ time.Duration) error {
		<-ctx.Done()
		return ctx.Err()
	})
	resp, _ := s.run(`{"model":"m","input":"hi"}`)
	if resp.Status != schema.StatusFailed || f.calls.Load() != 1 {
		t.Errorf("status %s, error %+v, %d calls", resp.Status, resp.Error, f.calls.Load())
	}
}

func (w *wreck) try(t schema.Try) {
	w.Helper()
	body, err := json.Marshal(t)
	if err = errors.Join(err, w.log.Commit(w.Context(), schema.RecordTry, body)); err != nil {
		w.Fatal(err)
	}
}
