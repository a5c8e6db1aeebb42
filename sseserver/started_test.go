package sseserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// saboteur is a broker whose calls fail on demand; nil means that they do not.
type saboteur struct {
	Broker
	enqueue, begin, fold, follow, next func() error
}

func (s *saboteur) Enqueue(ctx context.Context, cmd *schema.Command, secrets []byte) error {
	return after(s.Broker.Enqueue(ctx, cmd, secrets), s.enqueue)
}

func (s *saboteur) Begin(ctx context.Context, rec schema.Record, ref schema.Ref) error {
	return after(s.Broker.Begin(ctx, rec, ref), s.begin)
}

func (s *saboteur) Fold(ctx context.Context, ref schema.Ref) (*schema.State, error) {
	state, err := s.Broker.Fold(ctx, ref)
	return state, after(err, s.fold)
}

// after lets a call happen, and its answer get lost.
func after(err error, fault func() error) error {
	if fault == nil {
		return err
	}
	return fault()
}

type trippedFollower struct {
	Follower
	next func() error
}

func (f trippedFollower) Next(ctx context.Context) ([]byte, error) {
	if f.next != nil {
		return nil, f.next()
	}
	return f.Follower.Next(ctx)
}

// sabotage puts a saboteur between a server and its broker.
func sabotage(fault func(*saboteur)) func(*Config) {
	return func(c *Config) {
		s := &saboteur{Broker: c.Broker}
		fault(s)
		follow := c.Follow
		c.Broker, c.CommitTimeout = s, 300*time.Millisecond
		c.Follow = func(ctx context.Context, ref schema.Ref, at int64) (Follower, error) {
			f, err := follow(ctx, ref, at)
			if err = after(err, s.follow); err != nil {
				return nil, err
			}
			return trippedFollower{f, s.next}, nil
		}
	}
}

// Whatever goes wrong behind the commit point, by an error that elsewhere may be tried again or by a panic, the answer
// forbids a retry, or the stream is broken off: nothing that an SDK would send a second time by itself.
func TestStarted_NoFaultInvitesARetry(t *testing.T) {
	t.Parallel()
	errs := map[string]func() error{
		"error":      func() error { return errors.New("a fault") },
		"panic":      func() error { panic("a fault") },
		"not found":  func() error { return hub.ErrNotFound },
		"gone":       func() error { return hub.ErrGone },
		"cut":        func() error { return hub.ErrCut },
		"cancelled":  func() error { return context.Canceled },
		"late":       func() error { return context.DeadlineExceeded },
		"an end":     func() error { return io.ErrUnexpectedEOF },
		"drain":      func() error { return errDraining },
		"rate limit": func() error { return tooOften(1, time.Second) },
	}
	for place, where := range map[string]func(*saboteur) *func() error{
		"enqueue": func(s *saboteur) *func() error { return &s.enqueue },
		"begin":   func(s *saboteur) *func() error { return &s.begin },
		"follow":  func(s *saboteur) *func() error { return &s.follow },
		"next":    func(s *saboteur) *func() error { return &s.next },
		"fold":    func(s *saboteur) *func() error { return &s.fold },
	} {
		for kind, err := range errs {
			for mode, body := range map[string]string{"streamed": streamed, "whole": unstreamed} {
				if place == "fold" && mode == "streamed" {
					continue // a stream folds nothing
				}
				t.Run(place+"/"+kind+"/"+mode, func(t *testing.T) {
					t.Parallel()
					s := serve(t, sabotage(func(s *saboteur) { *where(s) = err }))
					testNoRetry(t, s, body)
				})
			}
		}
	}
}

// testNoRetry creates a response whose run ends, where one gets so far, and looks at the answer.
func testNoRetry(t *testing.T, s *site, body string) {
	t.Helper()
	answer := s.later(t, body)
	r := s.work(t)
	s.memory.append(r.ref, r.begin(), r.open(), r.say("Hello"), r.close(), r.finish())
	resp := <-answer
	if resp == nil {
		t.Fatal("the connection broke before any status: the SDKs would try again")
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a fault has a clean end")
		}
		return
	}
	code := schema.CodeServer
	switch resp.StatusCode {
	case http.StatusServiceUnavailable:
		code = schema.CodeUnavailable
	case http.StatusTooManyRequests:
		code = schema.CodeRateLimit
	case http.StatusGone:
		code = codeErased
	}
	if text := mustRefuse(t, resp, resp.StatusCode, code); strings.Contains(text, "a fault") {
		t.Errorf("the cause leaks: %s", text)
	}
	if resp.Header.Get("X-Should-Retry") != "false" || resp.Header.Get("Retry-After") != "" {
		t.Errorf("status %d, headers invite a retry: %v", resp.StatusCode, resp.Header)
	}
}

// Every answer has a request id, whoever gives it.
func TestRequestID_OnEveryAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, forPages(pageOrigin))
	s.put(t, whole(t, storyID, "word"))
	const story = "/v1/responses/" + storyID
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"JSON":          {"GET", story, "", nil, 200},
		"a stream":      {"GET", story + "?stream=true", "", nil, 200},
		"a finished":    {"GET", story + "?stream=true", "", []string{"Last-Event-ID", lastOf(t, s)}, 204},
		"a preflight":   {"OPTIONS", story, "", []string{"Origin", pageOrigin, "Access-Control-Request-Method", "GET"}, 204},
		"options":       {"OPTIONS", story, "", nil, 204},
		"bad input":     {"POST", "/v1/responses", "{", nil, 400},
		"foreign page":  {"POST", "/v1/responses", "{", []string{"Origin", foreignOrigin}, 403},
		"no such URL":   {"GET", "/v2", "", nil, 404},
		"wrong method":  {"PATCH", story, "", nil, 405},
		"large body":    {"POST", "/v1/responses", strings.Repeat(" ", 2<<20), nil, 413},
		"large headers": {"GET", story, "", []string{"X-Large", strings.Repeat("x", 70<<10)}, 431},
		"head":          {"HEAD", "/healthz", "", nil, 200},
		"metrics":       {"GET", "/metrics", "", nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := s.do(t, s.request(t, c.method, c.path, c.body, append(c.headers, "X-Request-Id", "mine")...))
			if resp.StatusCode != c.status || resp.Header.Get("X-Request-Id") != "mine" {
				t.Errorf("status %d, want %d, X-Request-Id %q", resp.StatusCode, c.status, resp.Header.Get("X-Request-Id"))
			}
		})
	}
	t.Run("options of all", func(t *testing.T) {
		t.Parallel()
		answer := string(s.exchange(t, "OPTIONS * HTTP/1.1"))
		if !strings.HasPrefix(answer, "HTTP/1.1 404") || !contains(answer, "X-Request-Id: golden") {
			t.Errorf("answer %s", answer)
		}
	})
}
