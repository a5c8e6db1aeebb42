package mcp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"
)

// TestMain makes this binary its own stdio server: a test starts os.Args[0] with stdioVariable set.
func TestMain(m *testing.M) {
	if role := os.Getenv(stdioVariable); role != "" {
		playStdio(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// loopback opens 127.0.0.0/8 and ::1, where httptest serves, to URLs that a client names.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func newPool(t testing.TB, c Config) *Pool {
	t.Helper()
	if c.AllowPrivate == nil {
		c.AllowPrivate = loopback
	}
	p := NewPool(c)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(ts.Close)
	t.Cleanup(ts.CloseClientConnections) // runs first: some handlers never end by themselves
	return ts
}

func mustCall(t testing.TB, p *Pool, s Server, name, args string) Result {
	t.Helper()
	r, err := p.CallTool(t.Context(), "t1", s, name, jsontext.Value(args))
	if err != nil {
		t.Fatalf("call %s: %v", name, err)
	}
	return r
}

func mustList(t testing.TB, p *Pool, s Server) []Tool {
	t.Helper()
	tools, err := p.ListTools(t.Context(), "t1", s)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return tools
}

// wantError checks kind and code of an error, and that it is one of ours.
func wantError(t testing.TB, err error, kind string, code int) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v (%T), want an *Error", err, err)
	}
	if e.Kind != kind || e.Code != code {
		t.Fatalf("error = %s %d %q, want %s %d", e.Kind, e.Code, e.Message, kind, code)
	}
	return e
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// message is a JSON-RPC request or notification as a fake server sees it.
type message struct {
	ID     jsontext.Value `json:"id"`
	Method string         `json:"method"`
	Params jsontext.Value `json:"params"`
}

// fake is a hand-written MCP server: legacy by default, with what a test puts in its place. It remembers the requests.
type fake struct {
	on map[string]func(w http.ResponseWriter, r *http.Request, m message)

	mu   sync.Mutex
	seen []seen
}

type seen struct {
	verb   string
	method string
	params string
	header http.Header
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m message
	_ = json.Unmarshal(body, &m) // a GET or DELETE has no body
	f.mu.Lock()
	f.seen = append(f.seen, seen{r.Method, m.Method, string(m.Params), r.Header.Clone()})
	f.mu.Unlock()
	if h := f.on[m.Method]; h != nil {
		h(w, r, m)
		return
	}
	f.answer(w, m)
}

func (f *fake) answer(w http.ResponseWriter, m message) {
	switch m.Method {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", "s1")
		reply(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}`)
	case "tools/list":
		reply(w, m, `{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}`)
	case "tools/call":
		reply(w, m, `{"content":[{"type":"text","text":"hello"}]}`)
	default:
		if m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		rpcFail(w, m, -32601, "method not found")
	}
}

func (f *fake) count(method string) int {
	n := 0
	for _, s := range f.requests() {
		if s.method == method {
			n++
		}
	}
	return n
}

func (f *fake) requests() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]seen(nil), f.seen...)
}

func reply(w http.ResponseWriter, m message, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

func rpcFail(w http.ResponseWriter, m message, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, m.ID, code, text)
}

// asModern makes a fake answer server/discover.
func asModern(w http.ResponseWriter, _ *http.Request, m message) {
	reply(w, m, `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`)
}

func hang(_ http.ResponseWriter, r *http.Request, _ message) { <-r.Context().Done() }

type handlers = map[string]func(http.ResponseWriter, *http.Request, message)
