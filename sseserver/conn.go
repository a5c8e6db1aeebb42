package sseserver

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// listener bounds how many connections are open and how much of the kernel's memory each may hold.
type listener struct {
	net.Listener
	places     chan struct{} // one for each open connection
	sendBuffer int
	open       prometheus.Gauge
	refused    prometheus.Counter
}

func (s *Server) bound(ln net.Listener) net.Listener {
	return &listener{
		Listener: ln, places: make(chan struct{}, s.cfg.MaxConns), sendBuffer: s.cfg.SendBuffer,
		open: s.metrics.conns, refused: s.metrics.refused,
	}
}

// Accept returns the next connection that there is a place for, and closes those that come before it.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.take() {
			return l.admit(c), nil
		}
		l.refused.Inc()
		_ = c.Close() // it was never used
	}
}

func (l *listener) take() bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *listener) admit(c net.Conn) net.Conn {
	l.open.Inc()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(l.sendBuffer) // with the system's default it works as well, only dearer
	}
	return &conn{Conn: c, listener: l}
}

// conn gives its place back when it is closed.
type conn struct {
	net.Conn
	listener *listener
	closed   atomic.Bool
}

func (c *conn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		<-c.listener.places
		c.listener.open.Dec()
	}
	return c.Conn.Close()
}

// CloseWrite lets net/http show a refusal to a client that is still sending.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// reset makes the closing of r's connection an error to its peer. HTTP/1.0, which nginx speaks to its upstreams unless it
// is told otherwise, knows no other sign that an answer of unknown length is cut.
func reset(r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		return
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the peer sees a clean end: worse, but all that is left
	}
}
