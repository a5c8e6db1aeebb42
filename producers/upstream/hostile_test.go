package upstream

import (
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// against opens a chat upstream, unless limits says another, over a real socket.
func against(t *testing.T, h http.HandlerFunc, limits Config) Upstream {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	limits.Name, limits.BaseURL, limits.APIKey = "near", server.URL, secret
	set(&limits.Dialect, "chat")
	return openOne(t, limits, "m")
}

// A line without an end costs MaxEventBytes, not its length: 100 MB are not read.
func TestStream_BoundsALine(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	up := against(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("data: "))
		for chunk := make([]byte, 64<<10); sent.Load() < 100<<20; {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}, Config{})
	err, _ := stream(t, up, ignore)
	wantError(t, err, 502, schema.CodeUpstreamProtocol)
	if sent.Load() > 32<<20 {
		t.Errorf("upstream could send %d bytes", sent.Load())
	}
}

// An answer without an end costs MaxBytes, or MaxEvents.
func TestStream_BoundsAnAnswer(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, hello); err != nil {
				return
			}
		}
	}
	for name, limits := range map[string]Config{"bytes": {MaxBytes: 100 << 10}, "events": {MaxEvents: 100}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deltas := 0
			err, _ := stream(t, against(t, endless, limits), func(e schema.Event) error {
				deltas++
				return nil
			})
			wantError(t, err, 502, schema.CodeUpstreamProtocol)
			if deltas < 50 || deltas > 2000 {
				t.Errorf("%d events came through", deltas)
			}
		})
	}
}

// A connection that is reset in the midst of an event is a cut answer; what came before it was emitted.
func TestStream_ResetIsACut(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	up := against(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, out, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+hello+`data: {"cho`)
		out.Flush()
		<-read
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}, Config{})
	text := ""
	err, _ := stream(t, up, func(e schema.Event) error {
		if e.Delta != nil {
			text += *e.Delta
			close(read)
		}
		return nil
	})
	wantError(t, err, 502, schema.CodeUpstreamProtocol)
	if text != "Hello" {
		t.Errorf("text = %q", text)
	}
}

// A gzip bomb is refused by its header: nothing is unpacked.
func TestStream_UnpacksNothing(t *testing.T) {
	t.Parallel()
	up := against(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("Accept-Encoding = %q", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(make([]byte, 1<<20))
		z.Close()
	}, Config{})
	err, _ := stream(t, up, ignore)
	wantError(t, err, 502, schema.CodeUpstreamProtocol)
}

// A redirect is not followed: the other host sees neither key nor prompt.
func TestStream_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("redirect was followed") }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		up := against(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		}, Config{})
		err, _ := stream(t, up, ignore)
		wantError(t, err, 502, schema.CodeUpstreamProtocol)
	}
}

// An upstream that is not there is a 502 whose text has no address, and whose cause can be logged.
func TestStream_NobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	up := openOne(t, Config{Name: "gone", Dialect: "chat", BaseURL: server.URL, APIKey: secret}, "m")
	_, err := up.Stream(t.Context(), ask("m", "Hello"), ignore)
	var own *Error
	if !errors.As(err, &own) {
		t.Fatalf("err = %v", err)
	}
	wantError(t, own.Public, 502, CodeUnavailable)
	if strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("address in %q", err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Error("turn failed", "error", own)
	if !strings.Contains(log.String(), "refused") || strings.Contains(log.String(), secret) {
		t.Errorf("log = %s", log.String())
	}
}

// The connection of a finished answer serves the next call.
func TestStream_KeepsItsConnection(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = flush(w, hello)
		_ = flush(w, goodbye)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	up := openOne(t, Config{Name: "near", Dialect: "chat", BaseURL: server.URL}, "m")
	for range 5 {
		if err, _ := stream(t, up, ignore); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 5 calls", n)
	}
}

// However the network cuts an answer, and however its lines end, the events are the same.
func TestStream_CutsAndLineEndsDoNotMatter(t *testing.T) {
	t.Parallel()
	split := map[string][2]string{
		"chat": {
			"data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"\xf0\x9f\"}}]}\n\n",
			"data: {\"choices\":[{\"delta\":{\"content\":\"\x90\x8e\xff\"}}]}\n\n",
		},
		"messages": {
			"data: {\"type\":\"content_block_delta\",\"index\":0,\ndata: \"delta\":{\"type\":\"text_delta\",\"text\":\"\xf0\x9f\"}}\n\n",
			"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\x90\x8e\xff\"}}\n\n",
		},
	}
	inEachDialect(t, func(t *testing.T, dialect, hello, goodbye string) {
		answer := "\xef\xbb\xbf: comment\n" + hello + "event: x\nid: 7\nretry: 1\n" + split[dialect][0] + split[dialect][1] + goodbye
		write := func(step int, end string) string {
			up := against(t, func(w http.ResponseWriter, _ *http.Request) {
				for rest := strings.ReplaceAll(answer, "\n", end); rest != ""; {
					n := min(step, len(rest))
					_ = flush(w, rest[:n])
					rest = rest[n:]
				}
			}, Config{Dialect: dialect})
			text, err := said(t, up, ask("m", "Hello"))
			if err != nil {
				t.Errorf("step %d, end %q: %v", step, end, err)
			}
			return text
		}
		for _, end := range []string{"\n", "\r\n", "\r"} {
			for _, step := range []int{1, 7, 1 << 20} {
				if diff := cmp.Diff("Hello🐎\uFFFD", write(step, end)); diff != "" {
					t.Errorf("step %d, end %q:\n%s", step, end, diff)
				}
			}
		}
	})
}
