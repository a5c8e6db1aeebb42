package sseserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// site is a server at work on a loopback port or on pipes, and a client of it.
type site struct {
	*Server
	memory *memory
	client *http.Client
	url    string
	addr   string
	stop   func() error // drains, and waits for it
}

// serve starts a server over a memory; adjust may change its config.
func serve(tb testing.TB, adjust ...func(*Config)) *site {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var d net.Dialer
	return serveOn(tb, ln, d.DialContext, adjust...)
}

func serveOn(tb testing.TB, ln net.Listener, dial func(context.Context, string, string) (net.Conn, error), adjust ...func(*Config)) *site {
	tb.Helper()
	m := newMemory()
	cfg := Config{Broker: m, Library: m, Control: m, Follow: Following(m.follow), Limits: Limits{DrainSpread: 20 * time.Millisecond}}
	for _, a := range adjust {
		a(&cfg)
	}
	s := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	transport := &http.Transport{DialContext: dial, DisableCompression: true}
	stop := func() error { cancel(); return <-done }
	stopped := false
	st := &site{Server: s, memory: m, client: &http.Client{Transport: transport}, addr: ln.Addr().String()}
	st.url = "http://" + st.addr
	st.stop = func() error { stopped = true; return stop() }
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		if !stopped {
			if err := stop(); err != nil {
				tb.Errorf("drain: %v", err)
			}
		}
	})
	return st
}

// request makes a request; headers come in pairs.
func (s *site) request(tb testing.TB, method, path, body string, headers ...string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (s *site) do(tb testing.TB, req *http.Request) *http.Response {
	tb.Helper()
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (s *site) get(tb testing.TB, path string, headers ...string) *http.Response {
	tb.Helper()
	return s.do(tb, s.request(tb, http.MethodGet, path, "", headers...))
}

func (s *site) post(tb testing.TB, body string, headers ...string) *http.Response {
	tb.Helper()
	return s.do(tb, s.request(tb, http.MethodPost, "/v1/responses", body, headers...))
}

// put stores a whole response.
func (s *site) put(tb testing.TB, r *run) *run {
	tb.Helper()
	s.memory.append(r.ref, r.all())
	s.memory.set(tb, func(m *memory) { m.made[r.ref] = r.cmd })
	return r
}

func read(tb testing.TB, resp *http.Response) []byte {
	tb.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("after %d bytes: %v", len(b), err)
	}
	return b
}

// readFrames reads n frames, and nothing behind them.
func readFrames(tb testing.TB, r *bufio.Reader, n int) []byte {
	tb.Helper()
	var got []byte
	for n > 0 {
		line, err := r.ReadBytes('\n')
		got = append(got, line...)
		if err != nil {
			tb.Fatalf("after %q: %v", got, err)
		}
		if bytes.Equal(line, []byte("\n")) {
			n--
		}
	}
	return got
}

// mustCut reads to the end and wants it to be no end: an error, not the last chunk.
func mustCut(tb testing.TB, r io.Reader) {
	tb.Helper()
	rest, err := io.ReadAll(r)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		tb.Errorf("stream ended with %v after %q, want it broken off", err, rest)
	}
}

// command waits for what the server enqueued.
func (s *site) command(tb testing.TB) *schema.Command {
	tb.Helper()
	select {
	case cmd := <-s.memory.commands:
		return cmd
	case <-tb.Context().Done():
		tb.Fatal("nothing was enqueued")
		return nil
	}
}

// work takes the next command, as a worker does: the log has its request record from then on.
func (s *site) work(tb testing.TB) *run {
	tb.Helper()
	r := tell(tb, s.command(tb))
	s.memory.begin(r.ref, r.all())
	return r
}

func listOf(models ...Model) func(context.Context) ([]Model, error) {
	return func(context.Context) ([]Model, error) { return models, nil }
}
