package sseserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

const streamed = `{"model":"demo","input":"hi","stream":true}`

// A stream is the log's own bytes from response.created on, then [DONE], with the headers that proxies need.
func TestCreate_StreamsTheLog(t *testing.T) {
	t.Parallel()
	s := serve(t)
	resp := s.post(t, streamed)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	want := map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache",
		"X-Accel-Buffering": "no", "Connection": "keep-alive", "Content-Encoding": "",
	}
	for name, value := range want {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	r := s.work(t)
	body := bufio.NewReader(resp.Body)
	if diff := cmp.Diff(string(r.all()), string(readFrames(t, body, 1))); diff != "" {
		t.Fatalf("response.created is not served before the run begins (-want +got):\n%s", diff)
	}
	from := len(r.frames)
	r.begin()
	r.open()
	r.say("Hello")
	r.close()
	r.finish()
	rest := bytes.Join(r.frames[from:], nil)
	s.memory.append(r.ref, rest)
	resp.Body = struct {
		*bufio.Reader
		closer
	}{body, resp.Body}
	if diff := cmp.Diff(string(rest)+"data: [DONE]\n\n", string(read(t, resp))); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
}

type closer interface{ Close() error }

// The command holds what a worker needs and no secret; the secrets go beside it; the id is resp_ and a UUIDv7.
func TestCreate_HandsOverTheCommand(t *testing.T) {
	t.Parallel()
	var admitted string
	s := serve(t, func(c *Config) {
		c.Admit = func(_ context.Context, r *schema.CreateRequest) error { admitted = r.Model; return nil }
	})
	body := `{"model":"demo","input":"hi","stream":true,"tools":[{"type":"mcp","server_label":"wiki",` +
		`"server_url":"https://wiki.example/mcp","require_approval":"never","authorization":"CANARY-1","headers":{"x-key":"CANARY-2"}}]}`
	before := time.Now()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	s.post(t, body, "traceparent", parent)
	cmd, secrets := s.command(t), <-s.memory.secrets

	data, err := cmd.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("CANARY")) {
		t.Errorf("the command holds a secret: %s", data)
	}
	var got map[string]schema.Secret
	if err := json.Unmarshal(secrets, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]schema.Secret{"wiki": {Authorization: "CANARY-1", Headers: map[string]string{"x-key": "CANARY-2"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if !regexp.MustCompile(`^resp_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$`).MatchString(cmd.Response) {
		t.Errorf("response id %q is not resp_ and a UUIDv7", cmd.Response)
	}
	sum := sha256.Sum256([]byte(body))
	if cmd.Digest != hex.EncodeToString(sum[:]) || cmd.Tenant != "default" || cmd.Version != schema.FormatVersion {
		t.Errorf("command %s", data)
	}
	if cmd.Trace != parent {
		t.Errorf("traceparent %q, want the caller's %q where nothing is traced", cmd.Trace, parent)
	}
	if at := cmd.Created(); at.Before(before.Add(-time.Second)) || at.After(time.Now()) {
		t.Errorf("created at %s", at)
	}
	if admitted != "demo" {
		t.Errorf("admitted %q before the command was made", admitted)
	}
}

// A request that cannot be served is refused before anything is queued.
func TestCreate_AdmitRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) {
		c.Admit = func(context.Context, *schema.CreateRequest) error {
			return &schema.Error{Status: 404, Type: schema.TypeInvalidRequest, Code: schema.CodeModelNotFound, Param: "model", Message: "No such model."}
		}
	})
	mustRefuse(t, s.post(t, streamed), 404, schema.CodeModelNotFound)
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d commands were queued", n)
	}
}

// A run does not need its client: it is committed whole though the caller leaves in the middle of it.
func TestCreate_OutlivesItsClient(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ctx, leave := context.WithCancel(t.Context())
	s.memory.set(t, func(m *memory) { m.beginErrs = []error{errors.New("an election")} })
	resp, err := s.client.Do(s.request(t, http.MethodPost, "/v1/responses", streamed).WithContext(ctx))
	leave()
	if err == nil {
		resp.Body.Close()
	}
	cmd := s.command(t)
	waitFor(t, "the request record", func() bool {
		_, err := s.memory.Fold(t.Context(), cmd.Ref())
		return err == nil
	})
}

// A full queue is said within the moment, and the caller is told when to come back: nothing has begun.
func TestCreate_FullIsHonest(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.memory.set(t, func(m *memory) { m.enqueueErr = errWrapped{broker.ErrFull} })
	resp := s.post(t, streamed)
	mustRefuse(t, resp, http.StatusServiceUnavailable, schema.CodeOverloaded)
	if resp.Header.Get("Retry-After") == "" || resp.Header.Get("X-Should-Retry") != "" {
		t.Errorf("headers %v", resp.Header)
	}
}

// Each bound has its own answer: 429 where too many wait in line, 503 where it is the storage, always with the time after which
// to come back.
func TestCreate_EachBoundIsTold(t *testing.T) {
	t.Parallel()
	for bound, want := range map[broker.Bound]struct {
		status     int
		code, says string
	}{
		broker.BoundQueued:        {http.StatusTooManyRequests, schema.CodeRateLimit, "wait for their turn"},
		broker.BoundQueueWait:     {http.StatusTooManyRequests, schema.CodeRateLimit, "wait for their turn"},
		broker.BoundQueueBytes:    {http.StatusServiceUnavailable, schema.CodeOverloaded, "no room"},
		broker.BoundLog:           {http.StatusServiceUnavailable, schema.CodeOverloaded, "no room"},
		broker.BoundConversations: {http.StatusServiceUnavailable, schema.CodeOverloaded, "conversations"},
		broker.BoundStore:         {http.StatusServiceUnavailable, schema.CodeOverloaded, "disk"},
		broker.BoundDisk:          {http.StatusServiceUnavailable, schema.CodeOverloaded, "disk"},
		broker.BoundSilent:        {http.StatusServiceUnavailable, schema.CodeOverloaded, "does not answer"},
	} {
		t.Run(string(bound), func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			s.memory.set(t, func(m *memory) {
				m.enqueueErr = errWrapped{&broker.FullError{Bound: bound, RetryAfter: 10 * time.Second}}
			})
			resp := s.post(t, streamed)
			body := mustRefuse(t, resp, want.status, want.code)
			if !strings.Contains(body, want.says) {
				t.Errorf("says %s", body)
			}
			after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil || after < 10 || after > 15 || resp.Header.Get("X-Should-Retry") != "" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
}

// deafLibrary never finds anything, as while NATS is away.
type deafLibrary struct {
	*memory
	asked chan struct{} // it was asked for a command; nil where nobody wants to know
}

func (d deafLibrary) Command(ctx context.Context, _ schema.Ref) (*schema.Command, error) {
	select {
	case d.asked <- struct{}{}:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (d deafLibrary) Exchange(ctx context.Context, ref schema.Ref) (*schema.Exchange, error) {
	_, err := d.Command(ctx, ref)
	return nil, err
}

// A create that refers to what cannot be read now is told to come back, in a bounded time: nothing has begun.
func TestCreate_DoesNotHangOnWhatItRefersTo(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"key":      streamed,
		"previous": `{"model":"demo","input":"hi","previous_response_id":"` + storyID + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(c *Config) {
				c.FindTimeout, c.Library = 20*time.Millisecond, deafLibrary{c.Library.(*memory), nil}
			})
			var headers []string
			if name == "key" {
				headers = []string{headerKey, "k1"}
			}
			resp := s.do(t, s.request(t, http.MethodPost, "/v1/responses", body, headers...))
			mustRefuse(t, resp, http.StatusServiceUnavailable, schema.CodeOverloaded)
			if resp.Header.Get("Retry-After") == "" || resp.Header.Get("X-Should-Retry") != "" {
				t.Errorf("headers %v", resp.Header)
			}
			if len(s.memory.commands) != 0 {
				t.Error("something was enqueued")
			}
		})
	}
}

// A create that a drain cuts while it looks for what it refers to has begun nothing: another node may take it.
func TestCreate_DrainWhileItLooks(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s := serve(t, func(c *Config) { c.FindTimeout, c.Library = time.Minute, deafLibrary{c.Library.(*memory), asked} })
	answer := s.later(t, `{"model":"demo","input":"hi","previous_response_id":"`+storyID+`"}`)
	<-asked
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	resp := <-answer
	if resp == nil {
		t.Fatal("no answer")
	}
	defer resp.Body.Close()
	mustRefuse(t, resp, 503, schema.CodeUnavailable)
	if resp.Header.Get("Retry-After") == "" || resp.Header.Get("X-Should-Retry") != "" {
		t.Errorf("headers %v", resp.Header)
	}
}

// Requests that wait for the log hold their bodies: no more of them than the bound, and then there is room again.
func TestCreate_BoundsWhatWaits(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s := serve(t, func(c *Config) {
		c.FindTimeout, c.Library = time.Minute, deafLibrary{c.Library.(*memory), asked}
		c.MaxBody, c.PlacingBytes = 1<<10, 1<<10
	})
	large := `{"model":"demo","input":"` + strings.Repeat("x", 900) + `","stream":true}`
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		resp, err := s.client.Do(s.request(t, http.MethodPost, "/v1/responses", large, headerKey, "k1").WithContext(ctx))
		if err == nil {
			resp.Body.Close()
		}
		first <- err
	}()
	<-asked
	resp := s.do(t, s.request(t, http.MethodPost, "/v1/responses", large))
	mustRefuse(t, resp, http.StatusServiceUnavailable, schema.CodeOverloaded)
	if resp.Header.Get("Retry-After") == "" {
		t.Errorf("headers %v", resp.Header)
	}
	leave()
	<-first
	waitFor(t, "room", func() bool { return s.post(t, large).StatusCode == http.StatusOK })
}

// Behind the commit point no error invites the SDKs to retry, which would start a second run; where the caller must look
// for the response is said instead.
func TestCreate_InDoubtNeverInvitesARetry(t *testing.T) {
	t.Parallel()
	secret := errors.New("nats: CANARY at 10.0.0.1")
	for name, fault := range map[string]func(*memory){
		"enqueue":       func(m *memory) { m.enqueueErr = secret },
		"begin":         func(m *memory) { m.beginErrs = []error{secret, secret, secret, secret, secret, secret, secret, secret} },
		"another began": func(m *memory) { m.beginErrs = []error{broker.ErrExists} },
		"follow":        func(m *memory) { m.followErr = secret },
	} {
		for _, stream := range []string{"true", "false"} {
			t.Run(name+"/stream="+stream, func(t *testing.T) {
				t.Parallel()
				s := serve(t, func(c *Config) { c.CommitTimeout = 300 * time.Millisecond })
				s.memory.set(t, fault)
				resp := s.post(t, `{"model":"demo","input":"hi","stream":`+stream+`}`)
				body := mustRefuse(t, resp, http.StatusInternalServerError, schema.CodeServer)
				if resp.Header.Get("X-Should-Retry") != "false" || resp.Header.Get("Retry-After") != "" {
					t.Errorf("headers invite a retry: %v", resp.Header)
				}
				if strings.Contains(body, "CANARY") {
					t.Errorf("the cause leaks: %s", body)
				}
			})
		}
	}
}

// An answer that was lost makes the same command exist already: that is success. So is a request record that needed
// several tries.
func TestCreate_RetriesUntilItIsSettled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.memory.set(t, func(m *memory) { m.beginErrs = []error{errors.New("an election"), errors.New("an election")} })
	resp := s.post(t, streamed)
	s.memory.set(t, func(m *memory) { m.enqueueErr = errWrapped{broker.ErrExists} })
	again := s.post(t, streamed)
	if resp.StatusCode != http.StatusOK || again.StatusCode != http.StatusOK {
		t.Errorf("status %d and %d", resp.StatusCode, again.StatusCode)
	}
}

type errWrapped struct{ error }

func (e errWrapped) Unwrap() error { return e.error }

// waitFor waits until a condition holds.
func waitFor(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

// mustRefuse wants an error in the API's shape, all four keys and a request id, and returns the body.
func mustRefuse(tb testing.TB, resp *http.Response, status int, code string) string {
	tb.Helper()
	body := read(tb, resp)
	if resp.StatusCode != status {
		tb.Errorf("status %d, want %d: %s", resp.StatusCode, status, body)
	}
	if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("X-Request-Id") == "" {
		tb.Errorf("headers %v", resp.Header)
	}
	var shape struct {
		Error map[string]any `json:"error"`
	}
	if err := json.Unmarshal(body, &shape); err != nil {
		tb.Fatalf("body %q: %v", body, err)
	}
	for _, key := range []string{"message", "type", "param", "code"} {
		if _, there := shape.Error[key]; !there {
			tb.Errorf("no %q in %s", key, body)
		}
	}
	if shape.Error["code"] != code {
		tb.Errorf("code %v, want %s: %s", shape.Error["code"], code, body)
	}
	return string(body)
}
