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

// The stream is open for the client before its first event is there.
func TestStream_OpensAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t)
		s.memory.append(mustRef(t, storyID))
		began := time.Now()
		if resp := s.get(t, storyStream); resp.StatusCode != http.StatusOK || time.Since(began) != 0 {
			t.Errorf("status %d after %s", resp.StatusCode, time.Since(began))
		}
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

// A subscriber that does not read is cut by the write deadline, and not before. Its neighbour of the same response has
// everything at once, and the cut one finds the rest when it comes back.
func TestStream_SlowReaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t)
		r := tell(t, storyCommand(storyID))
		s.memory.append(r.ref, r.all(), r.begin())
		slow := bufio.NewReader(s.get(t, storyStream).Body)
		readFrames(t, slow, 2)
		fast := s.get(t, storyStream)
		began := time.Now()
		s.memory.append(r.ref, r.open(), r.say(strings.Repeat("word ", 20_000)), r.close(), r.finish())
		if got, want := read(t, fast), string(r.all())+string(doneFrame); string(got) != want {
			t.Errorf("the fast reader gets %d bytes, want %d", len(got), len(want))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the fast reader waited %s", took)
		}
		time.Sleep(9 * time.Second) // virtual
		aborted := s.metrics.aborted.WithLabelValues("slow")
		if n := valueOf(t, aborted); n != 0 {
			t.Errorf("cut before its time")
		}
		time.Sleep(2 * time.Second)
		if n := valueOf(t, aborted); n != 1 {
			t.Errorf("%v slow readers cut, want 1", n)
		}
		mustCut(t, slow)
		rest := read(t, s.get(t, storyStream, "Last-Event-ID", "1"))
		if want := string(bytes.Join(r.frames[2:], nil)) + string(doneFrame); string(rest) != want {
			t.Errorf("%d bytes behind the cut, want %d", len(rest), len(want))
		}
	})
}

// The same over a real socket, whose buffers are small: what the kernel would hold for a reader that does not read is
// bounded, so the deadline is met.
func TestStream_SlowSocketIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	r := tell(t, storyCommand(storyID))
	r.begin()
	r.open()
	for range 8 {
		r.say(strings.Repeat("word ", 20_000))
	}
	s.put(t, r)
	conn := s.dial(t, "GET "+storyStream+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the cut", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("slow")) == 1 })
	mustCut(t, answerOn(t, conn).Body)
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

// answerOn reads the answer of a connection, if it comes within a minute.
func answerOn(tb testing.TB, conn net.Conn) *http.Response {
	tb.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		tb.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	return resp
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

// The deadline of the request's body is over with the body: a created stream may last longer than it.
func TestStream_OutlastsTheBodyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t)
		resp := s.post(t, streamed)
		r := s.work(t)
		time.AfterFunc(time.Hour-5*time.Second, func() { s.memory.append(r.ref, r.begin(), r.open(), r.close(), r.finish()) })
		body := read(t, resp)
		if beats := bytes.Count(body, heartbeat); beats != 239 || !bytes.HasSuffix(body, doneFrame) {
			t.Errorf("%d heartbeats in an hour, end %q", beats, body[max(0, len(body)-40):])
		}
	})
}
