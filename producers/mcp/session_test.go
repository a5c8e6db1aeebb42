package mcp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/server"
)

// A session that the server has forgotten is opened again, and the call, which was not executed, is made once more:
// whether the server says so by 404, or as the TypeScript SDK does.
func TestPool_RevivesDeadSession(t *testing.T) {
	t.Parallel()
	forms := map[string]func(w http.ResponseWriter, m message){
		"404": func(w http.ResponseWriter, _ message) { http.NotFound(w, &http.Request{}) },
		"404 with -32001": func(w http.ResponseWriter, _ message) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`)
		},
		"400 with -32000": func(w http.ResponseWriter, _ message) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)
		},
	}
	for name, forget := range forms {
		t.Run(name, func(t *testing.T) {
			dead := true
			f := &fake{}
			f.on = handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) {
				if dead {
					dead = false
					forget(w, m)
					return
				}
				f.answer(w, m)
			}}
			p := newPool(t, Config{})
			s := Server{URL: serve(t, f).URL}
			mustCall(t, p, s, "echo", "")
			if n := f.count("initialize"); n != 2 {
				t.Errorf("initialized %d times", n)
			}
			if n := f.count("server/discover"); n != 1 {
				t.Errorf("probed %d times: the era was forgotten", n)
			}
		})
	}
}

// A server that never knows its sessions is given up after the second.
func TestPool_RevivesOnce(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, _ message) { w.WriteHeader(404) }}}
	p := newPool(t, Config{})
	_, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL}, "echo", nil)
	wantError(t, err, KindHTTP, 404)
	if n := f.count("tools/call"); n != 2 {
		t.Errorf("called %d times", n)
	}
}

// A stream that ends during a call over HTTP+SSE ends the call at once; the next one opens another.
func TestPool_ReopensLostStream(t *testing.T) {
	t.Parallel()
	ts := serve(t, server.NewSSEServer(newMCPServer()))
	p := newPool(t, Config{})
	s := Server{URL: ts.URL + "/sse"}
	for range 2 {
		if got := mustCall(t, p, s, "echo", `{"a":"x"}`); got.Output != "echo x" {
			t.Errorf("output = %q", got.Output)
		}
		ts.CloseClientConnections()
		eventually(t, "the loss is noticed", func() bool { return !current(p, s).isAlive() })
	}
	if eraOf(p, s) != sse {
		t.Errorf("era = %q", eraOf(p, s))
	}
}

func current(p *Pool, s Server) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[s.key("t1")]
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// A server that is neither streamable HTTP nor HTTP+SSE is reported by what it said first.
func TestPool_ReportsFirstRefusal(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}
	p := newPool(t, Config{})
	_, err := p.ListTools(t.Context(), "t1", Server{URL: serve(t, http.HandlerFunc(h)).URL})
	wantError(t, err, KindHTTP, 400)
}

// Credentials go with every request, the DELETE at the end included, and the protocol's own headers cannot be set.
func TestPool_SendsCredentialsAlways(t *testing.T) {
	t.Parallel()
	f := &fake{}
	p := NewPool(Config{AllowPrivate: loopback})
	s := Server{URL: serve(t, f).URL, Authorization: "token-1", Headers: map[string]string{
		"x-api-key": "key-1", "Mcp-Session-Id": "stolen", "Content-Type": "text/plain", "Authorization": "Basic lost",
	}}
	mustList(t, p, s)
	mustCall(t, p, s, "echo", "")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	all := f.requests()
	if last := all[len(all)-1]; last.verb != http.MethodDelete {
		t.Errorf("last request is %s", last.verb)
	}
	for _, r := range all {
		if r.header.Get("Authorization") != "Bearer token-1" || r.header.Get("X-Api-Key") != "key-1" {
			t.Errorf("%s %s: headers %v", r.verb, r.method, r.header)
		}
		if r.header.Get("Mcp-Session-Id") == "stolen" || r.header.Get("Content-Type") == "text/plain" {
			t.Errorf("%s %s: a protocol header was overwritten", r.verb, r.method)
		}
	}
}

// An authorization with a scheme of its own is sent as it is.
func TestServer_KeepsScheme(t *testing.T) {
	t.Parallel()
	if got := (Server{Authorization: "Basic dTpw"}).header().Get("Authorization"); got != "Basic dTpw" {
		t.Errorf("Authorization = %q", got)
	}
}

// Sessions are shared by callers who agree on tenant, server and credentials, and by nobody else.
func TestPool_SharesByTenantAndCredentials(t *testing.T) {
	t.Parallel()
	f := &fake{}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := p.CallTool(t.Context(), "t1", s, "echo", nil); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := f.count("initialize"); n != 1 {
		t.Errorf("20 callers made %d sessions", n)
	}
	others := []Server{s, s, s, s}
	others[1].Authorization = "a"
	others[2].Headers = map[string]string{"X": "a"}
	others[3].Headers = map[string]string{"X": "b"}
	for i, other := range others {
		if _, err := p.CallTool(t.Context(), "t2", other, "echo", nil); err != nil {
			t.Fatal(err)
		}
		if n := f.count("initialize"); n != i+2 {
			t.Errorf("after the %d. stranger there are %d sessions", i+1, n)
		}
	}
}

// No two different servers have the same key, though their fields joined are the same.
func TestServer_KeyIsUnambiguous(t *testing.T) {
	t.Parallel()
	servers := []Server{
		{URL: "u", Headers: map[string]string{"a": "bc"}}, {URL: "u", Headers: map[string]string{"ab": "c"}},
		{URL: "u", Authorization: "abc"}, {URL: "u", Env: map[string]string{"a": "bc"}}, {URL: "u", Trusted: true},
		{URL: "u"}, {Command: []string{"u"}}, {Command: []string{"a b"}}, {Command: []string{"a", "b"}},
	}
	seen := map[key]int{}
	for i, s := range servers {
		if j, dup := seen[s.key("t")]; dup {
			t.Errorf("servers %d and %d share a key", i, j)
		}
		seen[s.key("t")] = i
	}
	if (Server{URL: "u", Label: "x"}).key("t") != (Server{URL: "u"}).key("t") {
		t.Error("the label is part of the key")
	}
}

// A failure to open a session is not remembered: the next caller tries again.
func TestPool_ForgetsFailure(t *testing.T) {
	t.Parallel()
	down := true
	f := &fake{}
	f.on = handlers{"server/discover": func(w http.ResponseWriter, r *http.Request, m message) {
		if down {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		asModern(w, r, m)
	}}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	_, err := p.ListTools(t.Context(), "t1", s)
	wantError(t, err, KindHTTP, 429)
	if n := f.count("initialize"); n != 0 {
		t.Errorf("a server that asked to slow down was sent %d more requests", n)
	}
	down = false
	mustList(t, p, s)
}

// The list is served from memory for its time, and fetched again after it, or when a tool turns out unknown.
func TestListTools_CachesList(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hint string
		want int
	}{
		"no hint":      {``, 1},
		"server's ttl": {`,"ttlMs":60000`, 1},
		"stale":        {`,"ttlMs":0`, 3},
		"negative":     {`,"ttlMs":-5`, 3},
		"absurd":       {`,"ttlMs":9223372036854775807`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{on: handlers{"tools/list": func(w http.ResponseWriter, _ *http.Request, m message) {
				reply(w, m, `{"tools":[{"name":"a"}]`+test.hint+`}`)
			}}}
			p := newPool(t, Config{})
			s := Server{URL: serve(t, f).URL}
			for range 3 {
				mustList(t, p, s)
			}
			if n := f.count("tools/list"); n != test.want {
				t.Errorf("listed %d times, want %d", n, test.want)
			}
		})
	}
}

// After "unknown tool" the list is fetched again.
func TestListTools_ForgetsListOfUnknownTool(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) { rpcFail(w, m, -32602, "Unknown tool") }}}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	mustList(t, p, s)
	_, err := p.CallTool(t.Context(), "t1", s, "gone", nil)
	wantError(t, err, KindProtocol, -32602)
	mustList(t, p, s)
	if n := f.count("tools/list"); n != 2 {
		t.Errorf("listed %d times", n)
	}
}

// A modern server that misses a mirrored argument gets the call again, once the client has learnt what to mirror.
func TestCallTool_MirrorsHeadersAfterMismatch(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.on = handlers{
		"server/discover": asModern,
		"tools/list": func(w http.ResponseWriter, _ *http.Request, m message) {
			reply(w, m, `{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}`)
		},
		"tools/call": func(w http.ResponseWriter, r *http.Request, m message) {
			if r.Header.Get("Mcp-Param-Region") != "eu" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32020,"message":"header missing"}}`, m.ID)
				return
			}
			f.answer(w, m)
		},
	}
	p := newPool(t, Config{})
	if got := mustCall(t, p, Server{URL: serve(t, f).URL}, "echo", `{"region":"eu"}`); got.Output != "hello" {
		t.Errorf("output = %q", got.Output)
	}
}

// Sessions that nobody uses are ended, and so are the oldest beyond the bound; those in use are not.
func TestPool_EndsIdleSessions(t *testing.T) {
	t.Parallel()
	deleted := func(f *fake) func() bool {
		return func() bool {
			all := f.requests()
			return len(all) > 0 && all[len(all)-1].verb == http.MethodDelete
		}
	}
	t.Run("idle", func(t *testing.T) {
		f := &fake{}
		p := newPool(t, Config{IdleTTL: 20 * time.Millisecond})
		mustList(t, p, Server{URL: serve(t, f).URL})
		eventually(t, "the session is ended", deleted(f))
	})
	t.Run("bound", func(t *testing.T) {
		first, second, third := &fake{}, &fake{}, &fake{}
		p := newPool(t, Config{MaxSessions: 2})
		for _, f := range []*fake{first, second, third} {
			mustList(t, p, Server{URL: serve(t, f).URL})
		}
		eventually(t, "the oldest is ended", deleted(first))
		if deleted(second)() || deleted(third)() {
			t.Error("a younger one is ended too")
		}
	})
}

// Close ends the calls in flight, and a closed pool serves nobody.
func TestPool_CloseEndsCalls(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, r *http.Request, m message) {
		close(entered)
		hang(w, r, m)
	}}}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	failed := make(chan error, 1)
	go func() {
		_, err := p.CallTool(t.Context(), "t1", s, "echo", nil)
		failed <- err
	}()
	<-entered
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-failed, KindHTTP, 502)
	if _, err := p.ListTools(t.Context(), "t1", s); !errors.Is(err, ErrClosed) {
		t.Errorf("error = %v", err)
	}
}
