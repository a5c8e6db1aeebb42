package sseserver

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// A client that goes away stops nothing: its response can be read from where it was.
func TestSocket_ClientGoesAway(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	c := s.openSocket(t, "X-Request-Id", "gone")
	c.sendf(created)
	r := s.work(t)
	c.expect(r.all(), "")
	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log line", func() bool { return log.count(`"request_id":"gone"`) == 1 })
	if text := log.String(); !contains(text, `"status":101`) || !contains(text, `"aborted":true`) || contains(text, `"bytes":0`) {
		t.Errorf("log: %s", text)
	}
	if n := valueOf(t, s.metrics.aborted.WithLabelValues("client")); n != 1 {
		t.Errorf("%v responses were cut off by their client", n)
	}
	want := append(s.tellAll(r, "on"), doneFrame...)
	if got := read(t, s.get(t, path(r.ref))); !bytes.Equal(got, want) {
		t.Errorf("stream (-want +got):\n%s", cmp.Diff(string(want), string(got)))
	}
}

// One that is gone without a word is told apart from the end of a response.
func TestSocket_ClientIsCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.work(t).all(), "")
	_ = c.conn.CloseNow()
	waitFor(t, "the count", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("client")) == 1 })
}

// A connection between two responses that ends is no aborted request; the gauge tells how many are open.
func TestSocket_QuietEnd(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "all"), "")
	if n := valueOf(t, s.metrics.sockets.open); n != 1 {
		t.Errorf("%v are open", n)
	}
	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end", func() bool { return valueOf(t, s.metrics.sockets.open) == 0 })
	waitFor(t, "the log line", func() bool { return log.count(`"aborted":false`) == 1 })
}

// A connection that has been open for as long as it may says so, in words and by its code. What runs goes on.
func TestSocket_Age(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Age = 200 * time.Millisecond })
	c := s.openSocket(t)
	c.sendf(created)
	r := s.work(t)
	c.expect(r.all(), "")
	c.refused(400, codeSocketAge, "")
	if got := c.closed(); got != websocket.StatusGoingAway {
		t.Errorf("closed with %v", got)
	}
	waitFor(t, "the count", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("age")) == 1 })
	s.tellAll(r, "on")
	read(t, s.get(t, path(r.ref)))
}

// A drain closes connections with the code that asks their clients to come back, waits for their handlers, and refuses new
// ones.
func TestSocket_Drain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	idle, busy := s.openSocket(t), s.openSocket(t)
	busy.sendf(created)
	r := s.work(t)
	busy.expect(r.all(), "")
	codes := make(chan websocket.StatusCode, 2)
	for _, c := range []*caller{idle, busy} {
		go func() { codes <- c.closed() }()
	}
	if err := s.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	if n := valueOf(t, s.metrics.sockets.open); n != 0 {
		t.Errorf("%v are open behind the drain", n)
	}
	for range 2 {
		if got := <-codes; got != websocket.StatusServiceRestart {
			t.Errorf("closed with %v", got)
		}
	}
	if n := valueOf(t, s.metrics.aborted.WithLabelValues("drain")); n != 1 {
		t.Errorf("%v responses were cut off by the drain", n)
	}
}

// A drain is bounded also where a client does not answer its close.
func TestSocket_DrainOfADeafClient(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.DrainTimeout = 100 * time.Millisecond })
	s.openSocket(t)
	waitFor(t, "the connection", func() bool { return valueOf(t, s.metrics.sockets.open) == 1 })
	if err := s.stop(); err == nil || !contains(err.Error(), "drain WebSockets") {
		t.Errorf("drain: %v", err)
	}
	waitFor(t, "the handler", func() bool { return valueOf(t, s.metrics.sockets.open) == 0 })
}

// Pings keep a quiet connection open. A peer that answers none is cut off.
func TestSocket_KeepAlive(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Heartbeat, c.Logger = 100*time.Millisecond, log.logger() })
	var pings atomic.Int64
	conn, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+socketPath, &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	alive := &caller{TB: t, conn: conn}
	go func() { waitFor(t, "pings", func() bool { return pings.Load() > 10 }); alive.sendf(created) }()
	go func() { r := s.work(t); s.tellAll(r, "alive") }()
	if got := alive.receive(); !contains(got, "response.created") {
		t.Errorf("got %s", got)
	}
	go alive.closed()
	s.openSocket(t, "X-Request-Id", "silent") // reads nothing, so answers nothing
	waitFor(t, "the cut", func() bool { return log.count(`"request_id":"silent"`) == 1 })
	if n := valueOf(t, s.metrics.sockets.open); n != 1 {
		t.Errorf("%v are open", n)
	}
	_ = conn.CloseNow()
}
