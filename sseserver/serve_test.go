package sseserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// A drain cuts the streams in portions over its spread, takes nothing new, and returns when all handlers have.
func TestServe_DrainSpreadsTheCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, func(c *Config) { c.DrainSpread = 2 * time.Second })
		r := tell(t, storyCommand(storyID))
		s.memory.append(r.ref, r.all())
		const readers = 40
		cuts := make(chan time.Duration, readers)
		var began time.Time
		for range readers {
			body := bufio.NewReader(s.get(t, storyStream).Body)
			readFrames(t, body, 1)
			go func() {
				_, err := io.ReadAll(body)
				if err != io.ErrUnexpectedEOF {
					t.Errorf("stream ended with %v", err)
				}
				cuts <- time.Since(began)
			}()
		}
		began = time.Now()
		if err := s.stop(); err != nil {
			t.Errorf("drain: %v", err)
		}
		first, last := time.Hour, time.Duration(0)
		for range readers {
			at := <-cuts
			first, last = min(first, at), max(last, at)
		}
		if last-first < time.Second || last > 2*time.Second {
			t.Errorf("streams were cut from %s to %s after the drain began", first, last)
		}
	})
}

// While it drains, a node is not ready, refuses creates so that they are tried elsewhere, and breaks off resumes: an
// EventSource gives up for good after a 503.
func TestServe_DrainRefusesNewWork(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.put(t, whole(t, storyID, "word"))
	s.subscribers.drain(t.Context(), 0)
	mustRefuse(t, s.get(t, "/readyz"), 503, schema.CodeUnavailable)
	resp := s.post(t, streamed)
	mustRefuse(t, resp, 503, schema.CodeUnavailable)
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if resp, err := s.client.Do(s.request(t, http.MethodGet, storyStream, "")); err == nil {
		resp.Body.Close()
		t.Errorf("a resume got status %d", resp.StatusCode)
	}
	if got := s.get(t, "/healthz").StatusCode; got != 200 {
		t.Errorf("healthz says %d", got)
	}
}

// What does not end within the drain's time is closed, and the error says so.
func TestServe_DrainIsBounded(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(c *Config) {
		c.DrainTimeout = 50 * time.Millisecond
		c.Mount = map[string]http.Handler{"/deaf": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(entered)
			<-release
		})}
	})
	go func() {
		if resp, err := s.client.Get(s.url + "/deaf"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	if err := s.stop(); err == nil || !strings.Contains(err.Error(), "drain") {
		t.Errorf("drain of a deaf handler: %v", err)
	}
	close(release)
}

// A mounted handler that streams is cut by a drain like any stream.
func TestServe_DrainCutsMounted(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := serve(t, func(c *Config) {
		c.Mount = map[string]http.Handler{"/demo/": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})}
	})
	go func() {
		if resp, err := s.client.Get(s.url + "/demo/x/y"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// One connection too many is closed without an answer, those that are there go on, and a place that is given back is
// taken again.
func TestServe_BoundsConnections(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.MaxConns = 2 })
	r := tell(t, storyCommand(storyID))
	s.memory.append(r.ref, r.all())
	ask := "GET " + storyStream + " HTTP/1.1\r\nHost: x\r\n\r\n"
	first, second := s.dial(t, ask), s.dial(t, ask)
	inFirst, inSecond := bufio.NewReader(first), bufio.NewReader(second)
	readHead(t, inFirst)
	readHead(t, inSecond)
	waitFor(t, "both streams", func() bool { return valueOf(t, s.metrics.subscribers) == 2 })

	third, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the third connection reads %d bytes, %v", n, err)
	}
	if n := valueOf(t, s.metrics.refused); n != 1 {
		t.Errorf("%v connections refused, want 1", n)
	}
	first.Close()
	waitFor(t, "the place", func() bool { return valueOf(t, s.metrics.conns) == 1 })
	fourth := bufio.NewReader(s.dial(t, ask))
	if head := readHead(t, fourth); !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Errorf("the fourth connection gets %q", head)
	}
}

// A client that sends its request byte by byte, or not at all, loses its connection in time: 5 s for the headers, 30 s
// for the body, 60 s between requests.
func TestServe_SlowClientsAreCut(t *testing.T) {
	for name, c := range map[string]struct {
		sent, answer string
		after        time.Duration
	}{
		"headers": {"GET /healthz HTTP/1.1\r\nHost: x\r\n", "", 5 * time.Second},
		"body": {"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
			"HTTP/1.1 408", 30 * time.Second},
		"idle": {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200", 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				serveOn(t, p, p.dial)
				conn, err := p.dial(context.Background(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				began := time.Now()
				go func() { _, _ = io.WriteString(conn, c.sent) }()
				answer, err := io.ReadAll(conn)
				if err != nil {
					t.Errorf("read: %v", err)
				}
				if !strings.HasPrefix(string(answer), c.answer) || (c.answer == "") != (len(answer) == 0) {
					t.Errorf("answer %q, want %q", answer, c.answer)
				}
				if took := time.Since(began); took < c.after || took > c.after+time.Second {
					t.Errorf("cut after %s, want %s", took, c.after)
				}
			})
		})
	}
}
