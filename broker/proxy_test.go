package broker

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy carries bytes between clients and a server, and loses what the server says when it is told to.
type proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup
	rate     atomic.Int64 // bytes a second of what the server says, on each link; 0 for no limit

	mu    sync.Mutex
	links map[*link]struct{}
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	deaf           chan struct{} // closed: the client hears nothing more
	once           sync.Once
	rate           *atomic.Int64
}

func mustProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	p := &proxy{listener: l, target: target, links: make(map[*link]struct{})}
	p.done.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server, deaf: make(chan struct{}), rate: &p.rate}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.done.Go(func() { io.Copy(server, client); l.cut() })
		p.done.Go(func() { l.answers(); l.cut() })
	}
}

// answers carries what the server says until the link is deaf; the first answer after that is lost, and the link breaks.
func (l *link) answers() {
	buf := make([]byte, 64<<10)
	var due time.Time
	for {
		n, err := l.server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-l.deaf:
			return
		default:
		}
		if rate := l.rate.Load(); rate > 0 {
			// What a busy machine oversleeps is made up for with the next bytes.
			if time.Since(due) > time.Second {
				due = time.Now()
			}
			due = due.Add(time.Duration(n) * time.Second / time.Duration(rate))
			<-time.After(time.Until(due))
		}
		if _, err := l.client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) cut() {
	l.client.Close()
	l.server.Close()
}

// swallow makes every link lose the next thing that the server says on it, and break.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.once.Do(func() { close(l.deaf) })
		delete(p.links, l)
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for l := range p.links {
		l.cut()
	}
	p.mu.Unlock()
	p.done.Wait()
}
