package sseserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

const storyStream = "/v1/responses/" + storyID + "?stream=true"

// After each 15 s of silence comes one comment, and events push the next one out.
func TestStream_Heartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t)
		r := tell(t, storyCommand(storyID))
		s.memory.append(r.ref, r.all())
		began := time.Now()
		body := bufio.NewReader(s.get(t, storyStream).Body)
		readFrames(t, body, 1)
		at := func(want string, after time.Duration) {
			t.Helper()
			got := string(readFrames(t, body, 1))
			if got != want || time.Since(began) != after {
				t.Errorf("%q after %s, want %q after %s", got, time.Since(began), want, after)
			}
		}
		at(": keep-alive\n\n", 15*time.Second)
		at(": keep-alive\n\n", 30*time.Second)
		frame := r.begin()
		time.AfterFunc(10*time.Second, func() { s.memory.append(r.ref, frame) })
		at(string(frame), 40*time.Second)
		at(": keep-alive\n\n", 55*time.Second)
	})
}

// A stream that has not reached its terminal event is broken off, never ended: whatever the reason, and also where
// HTTP/1.0 has no last chunk to leave out.
func TestStream_UnfinishedIsAborted(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*site, schema.Ref){
		"cut":   func(s *site, ref schema.Ref) { s.memory.fail(ref, hub.ErrCut) },
		"drain": func(s *site, _ schema.Ref) { go func() { _ = s.stop() }() },
		"write": func(s *site, ref schema.Ref) { s.memory.fail(ref, io.ErrClosedPipe) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			r := tell(t, storyCommand(storyID))
			s.memory.append(r.ref, r.all(), r.begin())
			resp := s.get(t, storyStream)
			body := bufio.NewReader(resp.Body)
			readFrames(t, body, 2)
			cut(s, r.ref)
			mustCut(t, body)
			waitFor(t, "the count", func() bool {
				return valueOf(t, s.metrics.aborted.WithLabelValues(name)) == 1
			})
			if n := valueOf(t, s.metrics.subscribers); n != 0 {
				t.Errorf("%v subscribers are left", n)
			}
		})
	}
	t.Run("HTTP/1.0", func(t *testing.T) {
		t.Parallel()
		s := serve(t)
		r := tell(t, storyCommand(storyID))
		s.memory.append(r.ref, r.all())
		conn := s.dial(t, "GET "+storyStream+" HTTP/1.0\r\n\r\n")
		body := bufio.NewReader(conn)
		readHead(t, body)
		readFrames(t, body, 1)
		s.memory.fail(r.ref, hub.ErrCut)
		if _, err := io.ReadAll(body); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the connection ended with %v, want a reset", err)
		}
	})
}

// A subscriber that does not read is cut by the write deadline. Its neighbour of the same response loses nothing by it,
// and it finds the rest when it comes back.
func TestStream_SlowReaderIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.WriteTimeout = 250 * time.Millisecond })
	r := tell(t, storyCommand(storyID))
	s.memory.append(r.ref, r.all(), r.begin(), r.open())

	slow := s.dial(t, "GET "+storyStream+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := slow.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fast := s.get(t, storyStream)
	got := make(chan []byte)
	go func() {
		all, err := io.ReadAll(fast.Body)
		if err != nil {
			t.Errorf("the fast reader: %v", err)
		}
		got <- all
	}()
	for range 32 {
		s.memory.append(r.ref, r.say(strings.Repeat("word ", 10_000)))
	}
	s.memory.append(r.ref, r.close(), r.finish())
	if all, want := <-got, string(r.all())+string(doneFrame); string(all) != want {
		t.Errorf("the fast reader gets %d bytes, want %d", len(all), len(want))
	}
	waitFor(t, "the slow reader's end", func() bool {
		return valueOf(t, s.metrics.aborted.WithLabelValues("slow")) == 1
	})
	seen := lastID(t, slow)
	rest := read(t, s.get(t, storyStream, "Last-Event-ID", seen))
	n, err := schema.ParseSeq(seen)
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, frame := range r.frames[n+1:] {
		want += string(frame)
	}
	if string(rest) != want+string(doneFrame) {
		t.Errorf("the slow reader gets %d bytes behind %s, want %d", len(rest), seen, len(want)+len(doneFrame))
	}
}

// A client that goes away leaves nothing behind: its handler ends at once, not at the next heartbeat.
func TestStream_DisconnectEndsTheHandler(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := tell(t, storyCommand(storyID))
	s.memory.append(r.ref, r.all())
	ctx, leave := context.WithCancel(t.Context())
	resp := s.do(t, s.request(t, http.MethodGet, storyStream, "").WithContext(ctx))
	readFrames(t, bufio.NewReader(resp.Body), 1)
	if n := valueOf(t, s.metrics.subscribers); n != 1 {
		t.Errorf("%v subscribers, want 1", n)
	}
	leave()
	waitFor(t, "the handler's end", func() bool {
		return valueOf(t, s.metrics.subscribers) == 0 &&
			valueOf(t, s.metrics.aborted.WithLabelValues("client")) == 1
	})
}

// dial sends text over a connection of its own.
func (s *site) dial(tb testing.TB, text string) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// readHead reads an answer's status and headers.
func readHead(tb testing.TB, r *bufio.Reader) string {
	tb.Helper()
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		head += line
		if err != nil {
			tb.Fatalf("after %q: %v", head, err)
		}
	}
	return head
}

// lastID reads a connection to its end and returns the last whole frame's id, as an EventSource keeps it.
func lastID(tb testing.TB, conn net.Conn) string {
	tb.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err == nil {
		tb.Error("the slow reader's stream has an end")
	}
	whole := string(got[:strings.LastIndex(string(got), "\n\n")])
	id := whole[strings.LastIndex(whole, "\nid: ")+len("\nid: "):]
	return id
}
