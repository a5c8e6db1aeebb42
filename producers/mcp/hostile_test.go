package mcp

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// An HTTP status survives, whatever the body says and in whichever phase it comes.
func TestPool_KeepsHTTPStatus(t *testing.T) {
	t.Parallel()
	bodies := []string{`{"message":"slow down"}`, `{"error":"insufficient_scope"}`, "plain text", "", `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"x"}}`}
	for _, phase := range []string{"server/discover", "initialize", "tools/list"} {
		for _, status := range []int{401, 403, 429, 500, 503} {
			for _, body := range bodies {
				fail := func(w http.ResponseWriter, _ *http.Request, _ message) {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, body)
				}
				f := &fake{on: handlers{phase: fail}}
				if phase == "server/discover" {
					f.on["initialize"] = fail
				}
				p := newPool(t, Config{})
				_, err := p.ListTools(t.Context(), "t1", Server{URL: serve(t, f).URL})
				e := wantError(t, err, KindHTTP, status)
				if want := fmt.Sprintf("MCP server answered HTTP status %d %s", status, http.StatusText(status)); e.Message != want {
					t.Errorf("message = %q, want %q", e.Message, want)
				}
			}
		}
	}
}

// A JSON-RPC error keeps its code and text, also with the HTTP status 400 or 404 that modern servers give it.
func TestPool_KeepsProtocolError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400, 404} {
		f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-31999,"message":"no such \u0007 thing: token tok-canary"}}`, m.ID)
		}}}
		p := newPool(t, Config{})
		_, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL, Authorization: "tok-canary"}, "echo", nil)
		e := wantError(t, err, KindProtocol, -31999)
		if e.Message != "no such \a thing: token [redacted]" {
			t.Errorf("message = %q", e.Message)
		}
		if n := f.count("tools/call"); n != 1 {
			t.Errorf("status %d: called %d times", status, n)
		}
	}
}

// A call that hangs ends with its time, or with its caller; a legacy server is told.
func TestCallTool_EndsInTime(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/call": hang}}
	s := Server{URL: serve(t, f).URL}
	p := newPool(t, Config{CallTimeout: 50 * time.Millisecond})
	mustList(t, p, s) // a session that is open costs the call no time
	_, err := p.CallTool(t.Context(), "t1", s, "echo", nil)
	wantError(t, err, KindHTTP, 504)
	eventually(t, "the server is told", func() bool { return f.count("notifications/cancelled") == 1 })
	for _, r := range f.requests() {
		if r.method == "notifications/cancelled" && !strings.Contains(r.params, `"requestId":`) {
			t.Errorf("params = %s", r.params)
		}
	}
}

// Every phase has its own end: a server may hang wherever it likes.
func TestListTools_EndsInTime(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"initialize", "tools/list"} {
		f := &fake{on: handlers{phase: hang}}
		p := newPool(t, Config{InitTimeout: 200 * time.Millisecond, ListTimeout: 400 * time.Millisecond})
		_, err := p.ListTools(t.Context(), "t1", Server{URL: serve(t, f).URL})
		wantError(t, err, KindHTTP, 504)
	}
}

// A modern server sees the end of the connection, and is sent nothing more.
func TestCallTool_CancelsModernByDisconnect(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	f := &fake{on: handlers{"server/discover": asModern, "tools/call": func(w http.ResponseWriter, r *http.Request, m message) {
		hang(w, r, m)
		close(gone)
	}}}
	p := newPool(t, Config{CallTimeout: 50 * time.Millisecond})
	_, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL}, "echo", nil)
	wantError(t, err, KindHTTP, 504)
	<-gone
	if n := f.count("notifications/cancelled"); n != 0 {
		t.Errorf("%d cancellations were sent", n)
	}
}

// Nobody listening is an HTTP error, and its text shows no address.
func TestPool_HidesDialError(t *testing.T) {
	t.Parallel()
	ts := serve(t, http.NotFoundHandler())
	address := ts.URL
	ts.Close()
	p := newPool(t, Config{})
	_, err := p.ListTools(t.Context(), "t1", Server{URL: address})
	if e := wantError(t, err, KindHTTP, 502); strings.Contains(e.Message, "127.0.0.1") {
		t.Errorf("message = %q", e.Message)
	}
}

// lies are answers to tools/call which are none.
var lies = map[string]func(w http.ResponseWriter, m message){
	"another request's id": func(w http.ResponseWriter, _ message) {
		reply(w, message{ID: jsontext.Value("4711")}, `{"content":[]}`)
	},
	"not JSON": func(w http.ResponseWriter, m message) { reply(w, m, `{{{`) },
	"cut JSON": func(w http.ResponseWriter, m message) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"cont`, m.ID)
	},
	"HTML": func(w http.ResponseWriter, _ message) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>welcome</html>")
	},
	"no content":      func(w http.ResponseWriter, _ message) { w.WriteHeader(http.StatusNoContent) },
	"accepted":        func(w http.ResponseWriter, _ message) { w.WriteHeader(http.StatusAccepted) },
	"result no value": func(w http.ResponseWriter, m message) { reply(w, m, `7`) },
	"neither result nor error": func(w http.ResponseWriter, m message) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s}`, m.ID)
	},
	"duplicate members": func(w http.ResponseWriter, m message) { reply(w, m, `{"content":[],"isError":true,"isError":false}`) },
	"empty stream":      func(w http.ResponseWriter, _ message) { w.Header().Set("Content-Type", "text/event-stream") },
	"stream of noise": func(w http.ResponseWriter, _ message) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: noise\n\n: comment\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n")
	},
	"input wanted": func(w http.ResponseWriter, m message) {
		reply(w, m, `{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{}}}}}`)
	},
}

// What is not an answer is an error of the protocol, not a result and not a crash.
func TestCallTool_RefusesLies(t *testing.T) {
	t.Parallel()
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) { lie(w, m) }}}
			p := newPool(t, Config{})
			r, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL}, "echo", nil)
			if e, ok := err.(*Error); !ok || e.Kind != KindProtocol {
				t.Errorf("call = %+v, %#v", r, err)
			}
			if n := f.count("tools/call"); n != 1 {
				t.Errorf("called %d times", n)
			}
		})
	}
}

// A redirect is not followed: its target would get body and credentials.
func TestPool_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	other := &fake{}
	to := serve(t, other).URL
	for _, status := range []int{301, 302, 303, 307, 308} {
		f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, r *http.Request, _ message) { http.Redirect(w, r, to, status) }}}
		p := newPool(t, Config{})
		_, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL, Headers: map[string]string{"X-Api-Key": "k"}}, "echo", nil)
		wantError(t, err, KindHTTP, status)
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d requests reached the other server", n)
	}
}

// flood writes filler until the client has had enough.
func flood(w io.Writer, n int) {
	chunk := []byte(strings.Repeat("a", 64<<10))
	for range n / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// An answer of 64 MiB is cut off at the bound, as JSON, as one event, as many events and as an error's body.
func TestCallTool_BoundsAnswer(t *testing.T) {
	const size = 64 << 20
	tooLarge := map[string]func(w http.ResponseWriter, m message){
		"json": func(w http.ResponseWriter, m message) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"`, m.ID)
			flood(w, size)
		},
		"event": func(w http.ResponseWriter, _ message) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: ")
			flood(w, size)
		},
		"events": func(w http.ResponseWriter, _ message) {
			w.Header().Set("Content-Type", "text/event-stream")
			event := []byte(`data: {"method":"n","params":"` + strings.Repeat("n", 64<<10) + "\"}\n\n")
			for range size / len(event) {
				if _, err := w.Write(event); err != nil {
					return
				}
			}
		},
	}
	for name, answer := range tooLarge {
		t.Run(name, func(t *testing.T) {
			f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) { answer(w, m) }}}
			p := newPool(t, Config{})
			s := Server{URL: serve(t, f).URL}
			mustList(t, p, s)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := p.CallTool(t.Context(), "t1", s, "echo", nil)
			runtime.ReadMemStats(&after)
			if e := wantError(t, err, KindProtocol, codeInternal); e.Message != errTooLarge.Error() {
				t.Errorf("message = %q", e.Message)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
				t.Errorf("%d MiB allocated", used>>20)
			}
		})
	}
}

// A result beyond its own bound is an error that says the tool has run.
func TestCallTool_BoundsResult(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) {
		reply(w, m, `{"content":[{"type":"text","text":"`+strings.Repeat("x", 2<<20)+`"}]}`)
	}}}
	p := newPool(t, Config{})
	_, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL}, "echo", nil)
	if e := wantError(t, err, KindProtocol, codeInternal); !strings.HasPrefix(e.Message, "tool ran") {
		t.Errorf("message = %q", e.Message)
	}
}

// A list whose pages do not end, or go in a circle, is an error after a bounded number of requests.
func TestListTools_BoundsPages(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cursor func(n int) string
		want   int
	}{
		"endless": {func(n int) string { return fmt.Sprint(n) }, 20},
		"circle":  {func(n int) string { return fmt.Sprint(n % 3) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			f := &fake{on: handlers{"tools/list": func(w http.ResponseWriter, _ *http.Request, m message) {
				n++
				reply(w, m, fmt.Sprintf(`{"tools":[],"nextCursor":%q}`, test.cursor(n)))
			}}}
			p := newPool(t, Config{})
			_, err := p.ListTools(t.Context(), "t1", Server{URL: serve(t, f).URL})
			wantError(t, err, KindProtocol, codeInternal)
			if got := f.count("tools/list"); got != test.want {
				t.Errorf("%d pages were asked for, want %d", got, test.want)
			}
		})
	}
}

// A stream that carries many responses gives the first one, and leaves no goroutine behind (goleak watches).
func TestCallTool_TakesFirstOfManyResponses(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, r *http.Request, m message) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\r\n\r\n")
		for i := range 5 {
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\ndata: \"result\":{\"content\":[{\"type\":\"text\",\"text\":\"%d\"}]}}\n\n", m.ID, i)
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}}}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	for range 20 {
		if got := mustCall(t, p, s, "echo", ""); got.Output != "0" {
			t.Fatalf("output = %q", got.Output)
		}
	}
}

// A server that asks back is answered, up to a bound, and the call goes on: what the server thinks of these answers is
// not its answer to the call.
func TestCallTool_RefusesServerRequests(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.on = handlers{"": func(w http.ResponseWriter, _ *http.Request, _ message) { w.WriteHeader(http.StatusBadGateway) }}
	f.on["tools/call"] = func(w http.ResponseWriter, _ *http.Request, m message) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 1000 {
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"sampling/createMessage\",\"params\":{}}\n\n", i+100)
		}
		_ = http.NewResponseController(w).Flush()
		eventually(t, "the requests are answered", func() bool { return f.count("") >= maxServerRequests })
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-1,\"message\":\"no\"}}\n\n", m.ID)
	}
	p := newPool(t, Config{})
	_, err := p.CallTool(t.Context(), "t1", Server{URL: serve(t, f).URL}, "echo", nil)
	wantError(t, err, KindProtocol, -1)
	if n := f.count(""); n != maxServerRequests {
		t.Errorf("%d answers were sent to the server", n)
	}
}
