//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

const (
	cutMark  = "event: response.output_text.delta\n"
	cutAfter = 5 // marks on one connection
)

// cutter is a TCP proxy that breaks a few connections in the middle of a frame: the first ones over which five deltas
// have come.
type cutter struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu   sync.Mutex
	left int
	open map[net.Conn]struct{}
}

// newCutter breaks the given number of connections, and passes everything after that.
func newCutter(t *testing.T, target string, cuts int) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, target: target, left: cuts, open: map[net.Conn]struct{}{}}
	c.work.Go(c.accept)
	t.Cleanup(c.close)
	return c
}

func (c *cutter) address() string { return c.listener.Addr().String() }

func (c *cutter) accept() {
	for {
		down, err := c.listener.Accept()
		if err != nil {
			return // closed
		}
		up, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = down.Close()
			continue
		}
		c.keep(down, up)
		c.work.Go(func() { c.pass(up, down) })
		c.work.Go(func() { c.watch(down, up) })
	}
}

// pass copies what the client sends.
func (c *cutter) pass(up, down net.Conn) {
	_, _ = io.Copy(up, down)
	c.drop(up, down)
}

// watch copies what the server sends, until it cuts.
func (c *cutter) watch(down, up net.Conn) {
	defer c.drop(up, down)
	var seen []byte // all of this connection, so that a mark split over two reads is found
	buf := make([]byte, 4<<10)
	for {
		n, err := up.Read(buf)
		at := nthIndex(seen, buf[:n])
		seen = append(seen, buf[:n]...)
		if at >= 0 && c.mayCut() {
			_, _ = down.Write(buf[:at])
			_ = down.(*net.TCPConn).SetLinger(0) // a reset, not a clean end
			return
		}
		if _, werr := down.Write(buf[:n]); errors.Join(err, werr) != nil {
			return
		}
	}
}

// nthIndex tells where in the new bytes the fifth mark ends, or -1 if it does not.
func nthIndex(seen, fresh []byte) int {
	all := append(slices.Clip(seen), fresh...)
	end := 0
	for range cutAfter {
		i := bytes.Index(all[end:], []byte(cutMark))
		if i < 0 {
			return -1
		}
		end += i + len(cutMark)
	}
	return max(-1, end-len(seen))
}

func (c *cutter) mayCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left >= 0
}

// remaining returns how many connections are still to be broken.
func (c *cutter) remaining() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.left)
}

func (c *cutter) keep(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		c.open[conn] = struct{}{}
	}
}

func (c *cutter) drop(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(c.open, conn)
	}
}

func (c *cutter) close() {
	_ = c.listener.Close()
	c.mu.Lock()
	for conn := range c.open {
		_ = conn.Close()
	}
	c.mu.Unlock()
	c.work.Wait()
}
