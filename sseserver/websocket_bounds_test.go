package sseserver

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/midstream-dev/midstream/schema"
)

// No more responses run at once than may, whatever the number of lanes; the others wait.
func TestSocket_BoundsActive(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Active = 1 })
	c := s.openSocket(t)
	c.sendf(`{"type":"response.create","model":"demo","input":"hi","stream_id":"a"}`)
	first := s.work(t)
	c.expect(first.all(), "a")
	c.sendf(`{"type":"response.create","model":"demo","input":"hi","stream_id":"b"}`)
	c.sendf(`{"type":"response.steer","previous_response_id":%q,"input":"left"}`, first.ref.Response())
	c.receive() // the reader is past the second create
	if n := len(s.memory.commands); n > 0 {
		t.Errorf("%d commands beside the one that runs", n)
	}
	from := len(first.frames)
	s.tellAll(first, "done")
	c.expect(bytes.Join(first.frames[from:], nil), "a")
	c.expect(s.tellAll(s.work(t), "me too"), "b")
}

// A create over a WebSocket is a request as any other to the tenant's limit.
func TestSocket_RateLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.RequestsPerMinute = 1 })
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "one"), "")
	c.sendf(created)
	c.refused(429, schema.CodeRateLimit, "")
	mustRefuse(t, s.post(t, `{"model":"demo","input":"hi"}`), 429, schema.CodeRateLimit)
}

// A client that sends faster than its responses run is not read from, and loses nothing.
func TestSocket_Backpressure(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Queue, c.Socket.QueueBytes, c.MaxBody = 1, 1, 1<<10 })
	c := s.openSocket(t)
	const all = 30
	for i := range all {
		c.sendf(`{"type":"response.create","model":"demo","input":"%d"}`, i)
	}
	first := s.work(t)
	const read = 3 // one runs, one is in the queue, one is in the reader's hand
	waitFor(t, "the reader", func() bool { return valueOf(t, s.metrics.sockets.received) == read })
	c.expect(s.tellAll(first, "0"), "")
	for i := 1; i < all; i++ {
		if n := valueOf(t, s.metrics.sockets.received); n > float64(i+read) {
			t.Fatalf("%v messages were read when %d responses were over", n, i)
		}
		r := s.work(t)
		if !contains(string(r.cmd.Request), fmt.Sprintf(`"%d"`, i)) {
			t.Fatalf("%s is not number %d", r.cmd.Request, i)
		}
		c.expect(s.tellAll(r, "x"), "")
	}
}

// The bytes of creates that wait are bounded over all lanes.
func TestSocket_BoundsWaitingBytes(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Active, c.Socket.QueueBytes, c.MaxBody = 1, 1, 1<<10 })
	c := s.openSocket(t)
	long := strings.Repeat("x", 600)
	c.sendf(created)
	first := s.work(t)
	for _, lane := range []string{"a", "b", "c"} {
		c.sendf(`{"type":"response.create","model":"demo","input":%q,"stream_id":%q}`, long, lane)
	}
	const read = 3 // one runs, one waits, and there is no room for the next
	waitFor(t, "the reader", func() bool { return valueOf(t, s.metrics.sockets.received) == read })
	c.expect(s.tellAll(first, "0"), "")
	for _, lane := range []string{"a", "b", "c"} {
		if n := valueOf(t, s.metrics.sockets.received); lane == "a" && n > read+1 {
			t.Errorf("%v messages were read", n)
		}
		c.expect(s.tellAll(s.work(t), "next"), lane)
	}
}

// A message that does not come to its end in time ends the connection: no frame can be told from its rest.
func TestSocket_LateMessage(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "in time"), "")
	w, err := c.conn.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte(" "), 8<<10)); err != nil {
		t.Fatal(err)
	}
	c.closed()
	waitFor(t, "the end", func() bool { return valueOf(t, s.metrics.sockets.open) == 0 })
}

// A client that does not read is cut off in time, as slow, and holds up nobody; the response goes on.
func TestSocket_SlowClientIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.WriteTimeout = 300 * time.Millisecond })
	slow, quick := s.openSocket(t), s.openSocket(t)
	slow.sendf(created)
	big := s.work(t)
	words := make([]string, 60)
	for i := range words {
		words[i] = strings.Repeat("x", 64<<10)
	}
	s.tellAll(big, words...)
	quick.sendf(created)
	quick.expect(s.tellAll(s.work(t), "quick"), "")
	waitFor(t, "the cut", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("slow")) == 1 })
	if got := object(t, s.get(t, "/v1/responses/"+big.ref.Response())); got.Status != schema.StatusCompleted {
		t.Errorf("the response is %s", got.Status)
	}
}
