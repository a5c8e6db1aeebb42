package sseserver

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

const unstreamed = `{"model":"demo","input":"hi"}`

// later posts in the background, since the answer comes only when the run has ended.
func (s *site) later(t *testing.T, body string) chan *http.Response {
	t.Helper()
	req := s.request(t, http.MethodPost, "/v1/responses", body)
	answer := make(chan *http.Response, 1)
	go func() {
		defer close(answer)
		if resp, err := s.client.Do(req); err == nil {
			answer <- resp
		}
	}()
	t.Cleanup(func() {
		if resp, ok := <-answer; ok {
			resp.Body.Close()
		}
	})
	return answer
}

// Without stream the answer is the whole response, once its run has ended; a follower that is cut meanwhile is replaced.
func TestAwait_AnswersTheWholeResponse(t *testing.T) {
	t.Parallel()
	s := serve(t)
	answer := s.later(t, unstreamed)
	r := s.work(t)
	s.memory.append(r.ref, r.begin(), r.open(), r.say("Hello"))
	s.memory.cutOnce(t, r.ref)
	s.memory.append(r.ref, r.close(), r.finish())
	resp := <-answer
	if resp == nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("answer %v", resp)
	}
	defer resp.Body.Close()
	var got schema.Response
	if err := json.Unmarshal(read(t, resp), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.seq.State().Response(), &got); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

// Who waits for a response that somebody deletes is told so: that is no fault of the server's, and no reason to try again.
func TestAwait_Deleted(t *testing.T) {
	t.Parallel()
	s := serve(t)
	answer := s.later(t, unstreamed)
	r := s.work(t)
	s.memory.fail(r.ref, hub.ErrGone)
	resp := <-answer
	mustRefuse(t, resp, 410, codeErased)
	if got := resp.Header.Get("X-Should-Retry"); got != "false" {
		t.Errorf("X-Should-Retry %q", got)
	}
}

// A run that fails before it has anything to show answers with the status of the cause, and no retry is invited. One that
// has something to show answers with the response.
func TestAwait_FailureHasTheStatusOfItsCause(t *testing.T) {
	t.Parallel()
	list := schema.Event{Type: schema.ItemDone, Item: &schema.Item{
		ID: "l", Type: schema.KindListTools, ServerLabel: "wiki", Error: []byte(`"unreachable"`)}}
	for name, c := range map[string]struct {
		items []schema.Event
		why   schema.ResponseError
		code  int
		kind  string
	}{
		"tool list":  {[]schema.Event{list}, schema.ResponseError{Code: "x", Message: "m", Type: schema.TypeConnector}, 424, schema.TypeConnector},
		"rate limit": {nil, schema.ResponseError{Code: schema.CodeRateLimit, Message: "m"}, 429, schema.TypeRateLimit},
		"upstream":   {nil, schema.ResponseError{Code: "x", Message: "m", Type: schema.TypeUpstream}, 502, schema.TypeUpstream},
		"protocol":   {nil, schema.ResponseError{Code: schema.CodeUpstreamProtocol, Message: "m"}, 502, schema.TypeUpstream},
		"else":       {nil, schema.ResponseError{Code: schema.CodeServer, Message: "m"}, 500, schema.TypeServer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			answer := s.later(t, unstreamed)
			r := s.work(t)
			s.memory.append(r.ref, r.begin())
			for _, e := range c.items {
				s.memory.append(r.ref, r.push(e))
			}
			s.memory.append(r.ref, r.fail(&c.why))
			resp := <-answer
			body := mustRefuse(t, resp, c.code, c.why.Code)
			if resp.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("headers invite a retry: %v", resp.Header)
			}
			if want := `"type":"` + c.kind + `"`; !contains(body, want) {
				t.Errorf("body %s, want %s in it", body, want)
			}
		})
	}
	t.Run("after output", func(t *testing.T) {
		t.Parallel()
		s := serve(t)
		answer := s.later(t, unstreamed)
		r := s.work(t)
		s.memory.append(r.ref, r.begin(), r.open(), r.say("Half a"), r.close(), r.fail(&schema.ResponseError{Code: schema.CodeServer}))
		resp := <-answer
		if body := string(read(t, resp)); resp.StatusCode != http.StatusOK || !contains(body, `"status":"failed"`) || !contains(body, "Half a") {
			t.Errorf("status %d: %s", resp.StatusCode, body)
		}
	})
}

// How long the upstream that failed a run asks to be left alone reaches the caller, as far as that time is not over; nothing is
// said where it is, where the caller is to blame, or where the log cannot be read.
func TestAwait_TellsHowLongToWait(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		in   time.Duration
		err  error
		want string
	}{
		"rate limit":     {schema.CodeRateLimit, 6500 * time.Millisecond, nil, "7"},
		"upstream":       {"upstream_unavailable", time.Minute, nil, "60"},
		"over":           {schema.CodeRateLimit, -time.Second, nil, ""},
		"caller's fault": {schema.CodeModelNotFound, time.Minute, nil, ""},
		"unreadable":     {schema.CodeRateLimit, 0, errors.New("no log"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := servePipes(t, func(cfg *Config) {
					cfg.RetryAt = func(context.Context, schema.Ref) (at time.Time, err error) {
						if c.err == nil {
							at = time.Now().Add(c.in)
						}
						return at, c.err
					}
				})
				answer := s.later(t, unstreamed)
				r := s.work(t)
				s.memory.append(r.ref, r.begin(), r.fail(&schema.ResponseError{Code: c.code, Message: "m"}))
				resp := <-answer
				defer resp.Body.Close()
				if got := resp.Header.Get("Retry-After"); got != c.want || resp.StatusCode < 400 {
					t.Errorf("status %d, Retry-After %q, want %q", resp.StatusCode, got, c.want)
				}
			})
		})
	}
}

// A node that goes down sends a waiting creator to the response, which goes on, and invites no second run.
func TestAwait_DrainNamesTheResponse(t *testing.T) {
	t.Parallel()
	s := serve(t)
	answer := s.later(t, unstreamed)
	cmd := s.command(t)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	resp := <-answer
	body := mustRefuse(t, resp, http.StatusServiceUnavailable, schema.CodeUnavailable)
	if resp.Header.Get("X-Should-Retry") != "false" || !contains(body, cmd.Response) {
		t.Errorf("headers %v, body %s", resp.Header, body)
	}
}
