package mcp

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// entry is the place of one tenant, server and set of credentials in a pool. It has at most one live session, and makes
// another when that one dies.
type entry struct {
	key    key
	server Server
	pool   *Pool
	dialer *dialer
	tools  toolCache

	// Guarded by the pool's mu.
	users   int
	used    time.Time
	retired bool

	mu      sync.Mutex
	closed  bool
	current *session
	opening *opening // nil unless a session is being made
	era     era      // what the last session was
}

// opening is a session in the making, which any number of callers may wait for.
type opening struct {
	done    chan struct{}
	session *session
	err     error
}

func newEntry(p *Pool, k key, s Server) *entry {
	d := &dialer{cfg: p.cfg, server: s, routes: p.routes, life: p.life, spawn: p.tasks.Go}
	return &entry{key: k, server: s, pool: p, dialer: d, used: time.Now()}
}

// compareUse orders entries by how soon they may go: idle ones first, then those used longest ago.
func (e *entry) compareUse(other *entry) int {
	if (e.users == 0) != (other.users == 0) {
		return cmp.Compare(min(e.users, 1), min(other.users, 1))
	}
	return e.used.Compare(other.used)
}

// operation is one request of the protocol, with its pages and round trips.
type operation func(ctx context.Context, x *exchange, s *session) error

// do runs an operation on a live session, and a second time if the server said that it took no notice of the first.
func (e *entry) do(ctx context.Context, op operation) error {
	retry, err := e.try(ctx, op)
	if retry {
		_, err = e.try(ctx, op)
	}
	return err
}

func (e *entry) try(ctx context.Context, op operation) (retry bool, err error) {
	s, err := e.session(ctx)
	if err != nil {
		return false, err
	}
	ctx, x := withExchange(ctx)
	err = op(ctx, x, s)
	if err == nil {
		return false, nil
	}
	seen := x.seen()
	switch {
	case isStale(seen):
		e.drop(s)
		retry = true
	case seen.rpc != nil && seen.rpc.code == mcpgo.HEADER_MISMATCH:
		// The client mirrors arguments into headers only for tools that it has listed itself.
		_, listErr := s.list(ctx, x, e.pool.cfg)
		retry = listErr == nil
		x.restore(seen)
	case seen.rpc != nil && seen.rpc.code == codeInvalidParams:
		e.tools.forget()
	case !s.isAlive():
		e.drop(s)
	}
	return retry, e.server.failure(ctx, x, err)
}

// isStale says that the server does not know the session (any more), and so has not executed anything: HTTP 404, or, in
// the TypeScript SDK, 400 with JSON-RPC code -32000; or it was restarted with another protocol version.
func isStale(seen facts) bool {
	switch {
	case seen.rpc == nil:
		return seen.status == http.StatusNotFound
	case seen.rpc.code == mcpgo.UNSUPPORTED_PROTOCOL_VERSION:
		return true
	case seen.rpc.code == noSession:
		return seen.status == http.StatusBadRequest || seen.status == http.StatusNotFound
	default:
		return seen.status == http.StatusNotFound && seen.rpc.code == sessionNotFound
	}
}

// Codes by which servers of the TypeScript SDK tell that a session is gone.
const (
	noSession       = -32000
	sessionNotFound = -32001
)

// session gives the live session, or waits for one to be made. Those who wait share it and its failure; failures are
// not remembered.
func (e *entry) session(ctx context.Context) (*session, error) {
	e.mu.Lock()
	if e.current != nil && e.current.isAlive() {
		defer e.mu.Unlock()
		return e.current, nil
	}
	if e.opening == nil {
		o, last := &opening{done: make(chan struct{})}, e.current
		e.opening = o
		e.pool.tasks.Go(func() { e.open(o, last) })
	}
	o := e.opening
	e.mu.Unlock()

	select {
	case <-o.done:
		return o.session, o.err
	case <-ctx.Done():
		return nil, e.server.failure(ctx, &exchange{}, ctx.Err())
	}
}

// open makes a session for all who wait for it. It outlives the caller who asked first.
func (e *entry) open(o *opening, last *session) {
	if last != nil {
		e.pool.tasks.Go(last.close)
	}
	o.session, o.err = e.dial()
	e.mu.Lock()
	e.current, e.opening = o.session, nil
	if o.session != nil {
		e.era = o.session.era
	}
	orphaned := e.closed
	e.mu.Unlock()
	close(o.done)
	if orphaned {
		e.shut()
	}
}

func (e *entry) dial() (*session, error) {
	ctx, cancel := context.WithTimeout(e.pool.life, e.pool.cfg.InitTimeout)
	defer cancel()
	ctx, x := withExchange(ctx)
	s, err := e.dialer.dial(ctx, e.era)
	if err != nil && (e.era == legacy || e.era == sse) && !x.hopeless() {
		// It may have been replaced by a server of another era.
		s, err = e.dialer.dial(ctx, unknown)
	}
	if err != nil {
		return nil, e.server.failure(ctx, x, err)
	}
	e.pool.cfg.Logger.Debug("session opened", "server_label", e.server.Label, "server", e.server.host(), "era", s.era)
	return s, nil
}

// drop ends a dead session, unless another caller has done so.
func (e *entry) drop(s *session) {
	e.mu.Lock()
	dropped := e.current == s
	if dropped {
		e.current = nil
	}
	e.mu.Unlock()
	if dropped {
		e.pool.tasks.Go(s.close)
	}
}

// shut ends the entry for good.
func (e *entry) shut() {
	e.mu.Lock()
	s := e.current
	e.closed, e.current = true, nil
	e.mu.Unlock()
	if s != nil {
		s.close()
	}
}
