package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// errDown is why a connection cannot be made.
var errDown = errors.New("sim: connection refused")

// Link is a process's way to a Server. Its methods may be called from any goroutine.
type Link struct {
	s    *Server
	name string
	dead chan struct{}

	// Guarded by Server.mu.
	conns  map[*conn]struct{}
	killed bool
	holds  int // holds that have not ended
}

// NewLink returns a way to the server for a process of that name.
func (s *Server) NewLink(name string) *Link {
	return &Link{s: s, name: name, dead: make(chan struct{}), conns: map[*conn]struct{}{}}
}

// Name returns what NewLink was given.
func (l *Link) Name() string { return l.name }

// Dial opens a connection.
func (l *Link) Dial() (net.Conn, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.killed || l.s.down > 0 {
		return nil, errDown
	}
	c := &conn{link: l, ready: make(chan struct{}, 1), expired: make(chan struct{}), subs: map[string]*sub{}, held: l.holds > 0}
	l.conns[c] = struct{}{}
	l.s.greet(c)
	return c, nil
}

// Kill ends every connection, for ever: what has been sent is sent, what has not been read never is.
func (l *Link) Kill() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.kill()
}

func (l *Link) kill() {
	if l.killed {
		return
	}
	l.killed = true
	close(l.dead)
	l.cut()
}

// Dead is closed when the Link was killed.
func (l *Link) Dead() <-chan struct{} { return l.dead }

// Cut ends every connection; others may be made.
func (l *Link) Cut() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.cut()
}

func (l *Link) cut() {
	for c := range l.conns {
		l.s.end(c)
	}
}

// Hold keeps back every byte, in both directions, for as long as d. Holds that overlap end with the last one.
func (l *Link) Hold(d time.Duration) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.hold(d)
}

func (l *Link) hold(d time.Duration) {
	l.holds++
	for c := range l.conns {
		c.setHeld(true)
	}
	time.AfterFunc(d, l.release)
}

// Held reports whether the Link stands still.
func (l *Link) Held() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.holds > 0
}

func (l *Link) release() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.holds--; l.holds > 0 {
		return
	}
	for c := range l.conns {
		c.setHeld(false)
		l.s.consume(c, nil)
	}
}

// conn is the client's end of a connection. What a client writes is carried out before Write returns.
type conn struct {
	link *Link

	// Guarded by Server.mu.
	in   []byte // not carried out yet
	subs map[string]*sub

	ready chan struct{} // something to read, or an end of the wait

	mu      sync.Mutex
	out     []byte
	free    int  // so many bytes of out may be read though the connection is held
	greeted bool // the handshake is over
	held    bool
	ended   bool
	expiry  *time.Timer
	expired chan struct{}
}

var _ net.Conn = (*conn)(nil)

func (c *conn) Write(b []byte) (int, error) {
	s := c.link.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.over() {
		return 0, net.ErrClosed
	}
	s.consume(c, b)
	return len(b), nil
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, expired, err := c.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-c.ready:
		case <-expired:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (c *conn) take(b []byte) (n int, expired <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, nil, io.EOF
	}
	readable := len(c.out)
	if c.held {
		readable = c.free
	}
	if readable > 0 {
		n = copy(b, c.out[:readable])
		c.out = c.out[:copy(c.out, c.out[n:])]
		c.free = max(0, c.free-n)
	}
	return n, c.expired, nil
}

// send queues bytes for the client.
func (c *conn) send(b ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, part := range b {
		c.out = append(c.out, part...)
	}
	if !c.greeted {
		c.free = len(c.out)
	}
	c.wake()
}

// greet ends the handshake, which no hold holds up: the client library goes through it under a lock that everybody else waits
// for, and no virtual time passes while anybody waits for a lock.
func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeted = true
}

func (c *conn) setHeld(held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = held
	c.wake()
}

func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

func (c *conn) isHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held && c.greeted
}

func (c *conn) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// finish ends both directions at once.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.wake()
}

func (c *conn) Close() error {
	s := c.link.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(c)
	return nil
}

// SetReadDeadline bounds reads. Writes never wait.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	c.expired = make(chan struct{})
	if !t.IsZero() {
		expired := c.expired
		c.expiry = time.AfterFunc(time.Until(t), func() { close(expired) })
	}
	return nil
}

func (c *conn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
func (c *conn) LocalAddr() net.Addr              { return addr(c.link.name) }
func (c *conn) RemoteAddr() net.Addr             { return addr("sim") }

type addr string

func (a addr) Network() string { return "sim" }
func (a addr) String() string  { return string(a) }
