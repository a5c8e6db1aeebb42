package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

// far is a chat upstream on a real socket that answers with one function after the other, the last one again and again.
type far struct {
	mu      sync.Mutex
	answers []http.HandlerFunc
	models  []string // that were asked for, one a call
	keys    []string
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var asked struct {
		Model string `json:"model"`
	}
	if err != nil || json.Unmarshal(body, &asked) != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	f.mu.Lock()
	answer := f.answers[min(len(f.models), len(f.answers)-1)]
	f.models, f.keys = append(f.models, asked.Model), append(f.keys, r.Header.Get("Authorization"))
	f.mu.Unlock()
	answer(w, r)
}

func (f *far) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.models)
}

func says(w http.ResponseWriter, _ *http.Request) { _ = flush(w, hello+goodbye) }

// refuses answers with a status, a body and perhaps Retry-After.
func refuses(status int, code, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":{"message":"no, says http://`+r.Host+` to `+r.Header.Get("Authorization")+`","code":"`+code+`"}}`)
	}
}

// breaks sends a token and resets the connection.
func breaks(w http.ResponseWriter, _ *http.Request) {
	_ = flush(w, hello)
	hangUp(w)
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// crossing is a line of upstreams, main and those that stand in for it, and what becomes of a call.
type crossing struct {
	*testing.T
	cfgs   []Config
	fars   map[string]*far
	router *Router
	waits  []time.Duration
	tries  []schema.Try
	req    *Request
	text   string
}

// cross opens the upstream main with those answers; then come its fallbacks.
func cross(t *testing.T, answers ...http.HandlerFunc) *crossing {
	t.Helper()
	c := &crossing{T: t, fars: map[string]*far{}, req: ask("m", "Hello")}
	c.req.Failed = func(_ context.Context, try schema.Try) error {
		c.tries = append(c.tries, try)
		return nil
	}
	return c.add(Config{Name: "main"}, answers...)
}

func (c *crossing) add(cfg Config, answers ...http.HandlerFunc) *crossing {
	c.Helper()
	f := &far{answers: answers}
	server := httptest.NewServer(f)
	c.Cleanup(server.Close)
	cfg.Dialect, cfg.BaseURL, cfg.APIKey = "chat", server.URL, secret+cfg.Name
	cfg.Pause = func(ctx context.Context, d time.Duration) error {
		c.waits = append(c.waits, d)
		return ctx.Err()
	}
	if len(c.cfgs) > 0 {
		c.cfgs[0].Fallback = append(c.cfgs[0].Fallback, cfg.Name)
	}
	c.fars[cfg.Name] = f
	c.cfgs = append(c.cfgs, cfg)
	return c
}

func (c *crossing) open() *crossing {
	c.Helper()
	router, err := Open(c.cfgs)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(router.Close)
	c.router = router
	return c
}

// call makes the call, and checks what holds for every one of them.
func (c *crossing) call(ctx context.Context) (Outcome, error) {
	c.Helper()
	if c.router == nil {
		c.open()
	}
	up, err := c.router.Route("m")
	if err != nil {
		c.Fatal(err)
	}
	out, err := up.Stream(ctx, c.req, func(e schema.Event) error {
		if e.Delta != nil {
			c.text += *e.Delta
		}
		return nil
	})
	for i, try := range c.tries {
		raw, failed := json.Marshal(try)
		if failed != nil || strings.Contains(string(raw), secret) || strings.Contains(string(raw), "127.0.0.1") {
			c.Errorf("try as it goes into the log: %s, %v", raw, failed)
		}
		if want := len(c.req.Tries) + i + 1; try.Number != want || try.Turn != c.req.Turn+1 || try.Began == 0 {
			c.Errorf("try %d is %+v", want, try)
		}
	}
	return out, err
}

// served checks who has served the call, behind which tries.
func (c *crossing) served(upstream string, failed ...string) {
	c.Helper()
	out, err := c.call(c.Context())
	if err != nil || out.Upstream != upstream || c.text != "Hello" {
		c.Errorf("served by %q: %q, %v", out.Upstream, c.text, err)
	}
	c.failed(failed...)
}

// refused checks how the call has failed, behind which tries.
func (c *crossing) refused(status int, code string, failed ...string) {
	c.Helper()
	_, err := c.call(c.Context())
	public, ok := errors.AsType[*schema.Error](err)
	if !ok {
		c.Fatalf("err = %v", err)
	}
	wantError(c.T, public, status, code)
	c.failed(failed...)
}

func (c *crossing) failed(want ...string) {
	c.Helper()
	var got []string
	for _, t := range c.tries {
		got = append(got, t.Upstream+" "+t.Error.Code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("tries that failed (-want +got):\n%s", diff)
	}
}

func (c *crossing) calls(upstream string, want int) {
	c.Helper()
	if got := c.fars[upstream].calls(); got != want {
		c.Errorf("%s was called %d times, want %d", upstream, got, want)
	}
}

// A call that is refused for now is made again at the same upstream, after the wait that it has asked for.
func TestRoute_TriesAgainAfterRetryAfter(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(429, "", "7"), says)
	c.served("main", "main rate_limit_exceeded")
	c.calls("main", 2)
	if len(c.waits) != 1 || c.waits[0] < 6*time.Second || c.waits[0] > 8*time.Second || c.tries[0].RetryAfter != 7000 {
		t.Errorf("waits %v, noted %+v", c.waits, c.tries)
	}
}

// Nobody is waited for longer than a minute, whatever it asks for.
func TestRoute_CapsRetryAfter(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(429, "", "1000000000"), says)
	c.served("main", "main rate_limit_exceeded")
	if c.waits[0] < 59*time.Second || c.waits[0] > 66*time.Second {
		t.Errorf("waits %v", c.waits)
	}
}

// Whatever may pass is tried again: an upstream that is down, that takes too long, that hangs up before it has said anything.
func TestRoute_TriesAgainWhatMayPass(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"529": refuses(529, "", ""), "408": refuses(408, "", ""), "500": refuses(500, "", ""),
		"reset": func(w http.ResponseWriter, _ *http.Request) { hangUp(w) },
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			_ = flush(w, ": keepalive\n\n")
			hangUp(w)
		},
		"error event": func(w http.ResponseWriter, _ *http.Request) {
			_ = flush(w, `data: {"error":{"message":"overloaded","code":"overloaded_error"}}`+"\n\n")
		},
	} {
		c := cross(t, answer, says)
		if out, err := c.call(t.Context()); err != nil || out.Upstream != "main" || c.text != "Hello" {
			t.Errorf("%s: %q, %v", name, c.text, err)
		}
		c.calls("main", 2)
	}
}

// An upstream that stays down is tried three times, and then the one that stands in for it is called, under its own key
// and its own name of the model.
func TestRoute_FallsBack(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(503, "", "")).add(Config{Name: "spare", Model: "other", Models: []string{"none"}}, says)
	c.served("spare", "main upstream_unavailable", "main upstream_unavailable", "main upstream_unavailable")
	if diff := cmp.Diff([]string{"m", "m", "m"}, c.fars["main"].models); diff != "" {
		t.Errorf("main was asked for (-want +got):\n%s", diff)
	}
	if spare := c.fars["spare"]; !slices.Equal(spare.models, []string{"other"}) || !slices.Equal(spare.keys, []string{"Bearer " + secret + "spare"}) {
		t.Errorf("spare was asked for %v with %v", spare.models, spare.keys)
	}
}

// Prompts go nowhere but where the operator says: an upstream that serves the same model is no fallback by itself.
func TestRoute_FallsBackToNobodyUnasked(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(401, "", "")).add(Config{Name: "other"}, says)
	c.cfgs[0].Fallback = nil
	c.refused(502, CodeRefused, "main upstream_refused")
	c.calls("other", 0)
}

// Once an event is out, nothing is tried again, nowhere: the client would read the beginning twice.
func TestRoute_NeverTriesAgainBehindTheFirstEvent(t *testing.T) {
	t.Parallel()
	c := cross(t, breaks, says).add(Config{Name: "spare"}, says)
	c.refused(502, schema.CodeUpstreamProtocol, "main upstream_protocol")
	c.calls("main", 1)
	c.calls("spare", 0)
	if c.text != "Hello" || !c.tries[0].Shown {
		t.Errorf("said %q, noted %+v", c.text, c.tries)
	}
}

// What the caller has done wrong is refused once, in the upstream's words.
func TestRoute_LeavesTheCallersMistakes(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]string{400: "invalid_value", 404: "model_not_found", 422: "x"} {
		c := cross(t, refuses(status, code, ""), says).add(Config{Name: "spare"}, says)
		c.refused(status, code, "main "+code)
		c.calls("main", 1)
		c.calls("spare", 0)
	}
}

// Credentials, a used-up quota and a long Retry-After are no reason to wait while another upstream stands by.
func TestRoute_DoesNotWaitWhereAnotherStandsBy(t *testing.T) {
	t.Parallel()
	for code, answer := range map[string]http.HandlerFunc{
		CodeRefused: refuses(403, "", ""), codeQuota: refuses(429, codeQuota, ""), schema.CodeRateLimit: refuses(429, "", "30"),
	} {
		c := cross(t, answer).add(Config{Name: "spare"}, says)
		c.served("spare", "main "+code)
		c.calls("main", 1)
		if len(c.waits) > 0 {
			t.Errorf("%s: waits %v", code, c.waits)
		}
	}
}

// A fallback that cannot say what is asked is passed over: another answer is no fallback.
func TestRoute_PassesOverWhatCannotSayIt(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(401, "", "")).add(Config{Name: "spare", MaxTokensName: "max_tokens"}, says)
	c.cfgs[0].Dialect = "responses"
	c.req.Create.Truncation = new("auto")
	c.refused(502, CodeRefused, "main upstream_refused")
	c.calls("spare", 0)
}

// The error that is shown is the one that a caller can do most about: a 429 says to come back, whoever failed after it.
func TestRoute_ShowsTheMostUsefulError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		main, spare http.HandlerFunc
		status      int
		code        string
	}{
		"a busy one, then credentials":       {refuses(429, "", ""), refuses(401, "", ""), 429, schema.CodeRateLimit},
		"a busy one, then one that is down":  {refuses(429, "", ""), refuses(500, "", ""), 429, schema.CodeRateLimit},
		"one that is down, then a busy one":  {refuses(500, "", ""), refuses(429, "", ""), 429, schema.CodeRateLimit},
		"down, then the other's own opinion": {refuses(500, "", ""), refuses(400, "context_length_exceeded", ""), 502, CodeUnavailable},
		"both down in different ways":        {refuses(500, "", ""), refuses(504, "", ""), 504, CodeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cross(t, c.main).add(Config{Name: "spare"}, c.spare)
			_, err := x.call(t.Context())
			public, _ := errors.AsType[*schema.Error](err)
			wantError(t, public, c.status, c.code)
		})
	}
}

// Tries that an earlier attempt has made are not made again; when all were made, the error is still known.
func TestRoute_CountsTheTriesOfEarlierAttempts(t *testing.T) {
	t.Parallel()
	for made := range 4 {
		c := cross(t, refuses(503, "", ""))
		for n := range made {
			c.req.Tries = append(c.req.Tries, schema.Try{
				Turn: 1, Number: n + 1, Upstream: "main", Status: 429, Error: schema.ResponseError{Code: schema.CodeRateLimit, Type: schema.TypeRateLimit},
			})
		}
		_, err := c.call(t.Context())
		public, _ := errors.AsType[*schema.Error](err)
		want := schema.CodeRateLimit
		if made == 0 {
			want = CodeUnavailable
		}
		if public == nil || public.Code != want {
			t.Errorf("%d made before: %+v", made, public)
		}
		c.calls("main", max(3-made, 0))
	}
}

// A try that cannot be noted is not followed by another: the run has another owner by then, perhaps.
func TestRoute_StopsWhenATryCannotBeNoted(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(503, "", ""))
	fenced := errors.New("fenced")
	c.req.Failed = func(context.Context, schema.Try) error { return fenced }
	if _, err := c.call(t.Context()); err != fenced {
		t.Errorf("err = %v", err)
	}
	c.calls("main", 1)
}

// A wait ends with its context, and one that is longer than the time that is left is not begun.
func TestRoute_WaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(429, "", "30"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.call(ctx)
	public, _ := errors.AsType[*schema.Error](err)
	wantError(t, public, 429, schema.CodeRateLimit)
	if len(c.waits) > 0 {
		t.Errorf("waits %v", c.waits)
	}

	stopped, stop := context.WithCancelCause(t.Context())
	why := errors.New("drained")
	c = cross(t, refuses(429, "", "30"))
	c.cfgs[0].Pause = func(ctx context.Context, _ time.Duration) error {
		stop(why)
		return pause(ctx, time.Hour)
	}
	if _, err := c.call(stopped); !errors.Is(err, why) {
		t.Errorf("err = %v", err)
	}
	c.calls("main", 1)
}

// No more calls are under way than the operator allows: the next one waits for one to end.
func TestRoute_BoundsCalls(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 8), make(chan struct{})
	c := cross(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
		says(w, r)
	})
	c.cfgs[0].MaxCalls = 2
	c.open()
	up, err := c.router.Route("m")
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 5 {
		calls.Go(func() {
			if _, err := up.Stream(t.Context(), ask("m", "Hello"), ignore); err != nil {
				t.Error(err)
			}
		})
	}
	for range 5 {
		<-entered
		if n := gaugeOf(t, c.router, "midstream_upstream_calls_active"); n > 2 {
			t.Errorf("%v calls under way", n)
		}
		release <- struct{}{}
	}
	calls.Wait()
	if n := gaugeOf(t, c.router, "midstream_upstream_calls_active"); n != 0 {
		t.Errorf("%v calls under way behind the last", n)
	}
}

// A call that waits in vain ends as 429, without having been made; where there is a fallback, it goes there.
func TestRoute_DoesNotWaitInLineForEver(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	hold := func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		says(w, r)
	}
	c := cross(t, hold).add(Config{Name: "spare", Models: []string{"s"}}, says)
	c.cfgs[0].MaxCalls, c.cfgs[0].MaxWait = 1, time.Millisecond
	c.open()
	up, err := c.router.Route("m")
	if err != nil {
		t.Fatal(err)
	}
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := up.Stream(t.Context(), ask("m", "Hello"), ignore); err != nil {
			t.Error(err)
		}
	})
	<-entered
	c.served("spare", "main upstream_busy")
	c.router.lines["main"] = c.router.lines["main"][:1]
	c.tries = nil
	c.refused(429, CodeBusy, "main upstream_busy")
	close(release)
	first.Wait()
	c.calls("main", 1)
}

// Each try is counted, by upstream and outcome.
func TestRouter_CountsCalls(t *testing.T) {
	t.Parallel()
	c := cross(t, refuses(429, "", ""), refuses(503, "", ""), refuses(401, "", "")).add(Config{Name: "spare"}, says)
	c.served("spare", "main rate_limit_exceeded", "main upstream_unavailable", "main upstream_refused")
	got := map[string]float64{}
	for _, m := range gather(t, c.router, "midstream_upstream_calls_total") {
		got[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	want := map[string]float64{"main rate_limited": 1, "main unavailable": 1, "main refused": 1, "spare ok": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	registry := prometheus.NewRegistry()
	if err := errors.Join(c.router.Register(registry), c.router.Register(prometheus.NewRegistry())); err != nil {
		t.Error(err)
	}
}

// A policy that cannot be meant is refused at start, by an error that names the upstream.
func TestOpen_RefusesPoliciesThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Config){
		"unknown fallback": func(c *Config) { c.Fallback = []string{"nobody"} },
		"its own fallback": func(c *Config) { c.Fallback = []string{"main"} },
		"a fallback twice": func(c *Config) { c.Fallback = []string{"spare", "spare"} },
		"too many retries": func(c *Config) { c.Retries = new(11) },
		"negative retries": func(c *Config) { c.Retries = new(-1) },
		"negative calls":   func(c *Config) { c.MaxCalls = -1 },
		"negative wait":    func(c *Config) { c.MaxWait = -time.Second },
		"a long model":     func(c *Config) { c.Model = strings.Repeat("m", 257) },
	} {
		c := Config{Name: "main", Dialect: "chat", BaseURL: "http://far.example/v1"}
		spoil(&c)
		if _, err := Open([]Config{c, {Name: "spare", Dialect: "demo"}}); err == nil || !strings.Contains(err.Error(), "upstream main:") {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

// The demo does what its script says: a scripted failure is not hidden by trying again.
func TestRoute_DemoFailsAsItsScriptSays(t *testing.T) {
	t.Parallel()
	router, err := Open([]Config{{Name: "demo", Dialect: "demo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	up, err := router.Route("demo")
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	req := ask("demo", "[[busy]]")
	req.Failed = func(context.Context, schema.Try) error { failed++; return nil }
	if _, err := up.Stream(t.Context(), req, ignore); err == nil || failed != 1 {
		t.Errorf("%d tries failed, err = %v", failed, err)
	}
}
