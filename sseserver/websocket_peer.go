package sseserver

import (
	"bufio"
	"net"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// upgrade is the answer to a handshake. The connection that it hands out writes under the deadlines of every answer.
type upgrade struct {
	*echo.Response
	limit time.Duration
	peer  *peer
}

// Hijack takes the connection over from net/http.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := u.Response.Hijack()
	if err != nil {
		return nil, nil, err
	}
	u.peer = &peer{Conn: conn, limit: u.limit}
	return u.peer, bufio.NewReadWriter(rw.Reader, bufio.NewWriter(u.peer)), nil
}

// peer is the connection below a WebSocket. It paces what is written to it: see [pace].
type peer struct {
	net.Conn
	limit   time.Duration
	wrote   atomic.Int64 // bytes
	writing atomic.Bool
}

func (p *peer) Write(b []byte) (n int, err error) {
	p.writing.Store(true)
	defer p.writing.Store(false)
	for len(b) > 0 && err == nil {
		if err := p.SetWriteDeadline(time.Now().Add(p.limit)); err != nil {
			return n, err
		}
		var took int
		took, err = p.Conn.Write(b[:min(len(b), paceBytes)])
		n, b = n+took, b[took:]
		p.wrote.Add(int64(took))
	}
	return n, err
}
