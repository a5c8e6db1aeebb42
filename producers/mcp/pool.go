package mcp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Pool keeps sessions to MCP servers, one for each tenant, server and set of credentials. It is safe for concurrent
// use.
type Pool struct {
	cfg    Config
	routes *routes
	life   context.Context
	end    context.CancelFunc

	users sync.WaitGroup // callers inside
	tasks sync.WaitGroup // goroutines; only callers and other tasks start them

	mu      sync.Mutex
	closed  bool
	entries map[key]*entry
}

// NewPool makes a pool, which must be closed.
func NewPool(c Config) *Pool {
	c = c.withDefaults()
	p := &Pool{cfg: c, routes: newRoutes(c), entries: make(map[key]*entry)}
	p.life, p.end = context.WithCancel(context.Background())
	p.tasks.Go(p.sweep)
	return p
}

// Close cancels the calls in flight, ends sessions and stdio processes, and waits for every goroutine of the pool. A
// server that does not answer holds it up for a few seconds.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()

	p.end()
	p.users.Wait()
	p.retireIdle(time.Now())
	p.tasks.Wait()
	p.routes.close()
	return nil
}

// ListTools gives the tools of a server, from memory if they were listed a short while ago with the same credentials.
// Tools that cannot be used (no proper name, schema too large or not an object, tasks only) are left out, and so are
// those beyond [Config.MaxTools]. The error is an [*Error], or [ErrClosed].
func (p *Pool) ListTools(ctx context.Context, tenant string, s Server) ([]Tool, error) {
	return p.listTools(ctx, tenant, s, (*toolCache).fresh)
}

// ListToolsAfresh is ListTools, but asks the server whatever is in memory.
func (p *Pool) ListToolsAfresh(ctx context.Context, tenant string, s Server) ([]Tool, error) {
	return p.listTools(ctx, tenant, s, func(*toolCache) ([]Tool, bool) { return nil, false })
}

func (p *Pool) listTools(ctx context.Context, tenant string, s Server, known func(*toolCache) ([]Tool, bool)) ([]Tool, error) {
	e, err := p.enter(tenant, s)
	if err != nil {
		return nil, err
	}
	defer p.leave(e)
	if tools, ok := known(&e.tools); ok {
		return tools, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ListTimeout)
	defer cancel()
	var all listing
	err = e.do(ctx, func(ctx context.Context, x *exchange, s *session) (err error) {
		all, err = s.list(ctx, x, p.cfg)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, why := range all.dropped {
		p.cfg.Logger.Warn("tool left out", "server_label", s.Label, "server", s.host(), "why", s.text(why))
	}
	return e.tools.keep(all), nil
}

// CallTool calls a tool of a server. A result with IsError is a result; the error is an [*Error], or [ErrClosed].
// The call is sent again only if the server said that it did not take it. args is a JSON object; empty means {}. Progress
// is counted in the result also where there is an error.
func (p *Pool) CallTool(ctx context.Context, tenant string, s Server, name string, args jsontext.Value) (Result, error) {
	if len(args) == 0 {
		args = jsontext.Value("{}")
	}
	if !args.IsValid() || args.Kind() != '{' {
		return Result{}, &Error{KindProtocol, codeInvalidParams, errNotObject.Error(), errNotObject}
	}
	e, err := p.enter(tenant, s)
	if err != nil {
		return Result{}, err
	}
	defer p.leave(e)
	ctx, pulse := p.beginPulse(ctx)
	defer pulse.stop()
	var raw jsontext.Value
	err = e.do(ctx, func(ctx context.Context, x *exchange, s *session) (err error) {
		raw, err = s.call(ctx, x, name, args, pulse.beat)
		return err
	})
	beats := pulse.stop()
	p.cfg.Logger.DebugContext(ctx, "tool call ended", "server_label", s.Label, "server", s.host(), "progress", beats, "ok", err == nil)
	if err != nil {
		return Result{Progress: beats}, err
	}
	result, err := p.result(raw)
	result.Progress = beats
	return result, err
}

// result reads a result, and measures what is left of it without its pictures.
func (p *Pool) result(raw jsontext.Value) (Result, error) {
	result, err := decodeResult(raw, p.cfg.MaxBlob)
	switch {
	case err != nil:
		return Result{}, &Error{KindProtocol, codeParse, "tool ran, but its result is not valid JSON", err}
	case max(len(result.Output), len(result.Content)) > p.cfg.MaxResult:
		message := fmt.Sprintf("tool ran, but its result has more than %d bytes", p.cfg.MaxResult)
		return Result{}, &Error{KindProtocol, codeInternal, message, errTooLarge}
	}
	return result, nil
}

// enter finds or makes the entry for a server, and holds it until leave.
func (p *Pool) enter(tenant string, s Server) (*entry, error) {
	if err := s.validate(p.cfg.AllowPrivate); err != nil {
		return nil, &Error{KindHTTP, http.StatusBadRequest, err.Error(), err}
	}
	k := s.key(tenant)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	p.users.Add(1)
	e := p.entries[k]
	if e == nil {
		e = newEntry(p, k, s)
		p.entries[k] = e
	}
	e.users++
	e.used = time.Now()
	p.evict()
	return e, nil
}

func (p *Pool) leave(e *entry) {
	p.mu.Lock()
	e.users--
	e.used = time.Now()
	if e.users == 0 && e.retired {
		p.tasks.Go(e.shut)
	}
	p.mu.Unlock()
	p.users.Done()
}

// evict retires the least recently used entry beyond the bound. One in use is ended when its last user leaves.
func (p *Pool) evict() {
	if len(p.entries) <= p.cfg.MaxSessions {
		return
	}
	p.retire(slices.MinFunc(slices.Collect(maps.Values(p.entries)), (*entry).compareUse))
}

// retire takes an entry out of the pool. The caller holds mu, and is a caller or task of the pool.
func (p *Pool) retire(e *entry) {
	delete(p.entries, e.key)
	e.retired = true
	if e.users == 0 {
		p.tasks.Go(e.shut)
	}
}

// sweep retires what has been idle for too long.
func (p *Pool) sweep() {
	tick := time.NewTicker(max(p.cfg.IdleTTL/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.life.Done():
			return
		case now := <-tick.C:
			p.retireIdle(now.Add(-p.cfg.IdleTTL))
		}
	}
}

func (p *Pool) retireIdle(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.users == 0 && !e.used.After(since) {
			p.retire(e)
		}
	}
}

// toolCache is the last tool list of an entry.
type toolCache struct {
	mu    sync.Mutex
	tools []Tool
	until time.Time
}

func (c *toolCache) fresh() ([]Tool, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.tools), time.Now().Before(c.until)
}

func (c *toolCache) keep(l listing) []Tool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tools, c.until = l.tools, time.Now().Add(l.ttl)
	return slices.Clone(c.tools)
}

func (c *toolCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tools, c.until = nil, time.Time{}
}
