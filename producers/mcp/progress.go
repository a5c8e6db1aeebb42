package mcp

import (
	"context"
	"fmt"
	"sync"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// pulse is the time that a tool call has: CallTimeout from the last sign of life, CallTotal in all.
type pulse struct {
	patience time.Duration
	timer    *time.Timer
	cancel   context.CancelCauseFunc
	release  context.CancelFunc

	mu      sync.Mutex
	stopped bool
	beats   int
}

func (p *Pool) beginPulse(ctx context.Context) (context.Context, *pulse) {
	ctx, release := context.WithTimeout(ctx, p.cfg.CallTotal)
	ctx, cancel := context.WithCancelCause(ctx)
	b := &pulse{patience: p.cfg.CallTimeout, cancel: cancel, release: release}
	b.timer = time.AfterFunc(b.patience, func() { cancel(context.DeadlineExceeded) })
	return ctx, b
}

// beat takes a sign of life. After the end it is too late for one.
func (b *pulse) beat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped && b.timer.Stop() {
		b.beats++
		b.timer.Reset(b.patience)
	}
}

// stop ends the call's time and returns how many signs of life there were. It may be called twice.
func (b *pulse) stop() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.timer.Stop()
	b.cancel(nil)
	b.release()
	return b.beats
}

// calls are the calls of a session that are under way and may be heard of, by progress token.
type calls struct {
	mu    sync.Mutex
	last  int
	beats map[string]func()
}

// begin gives a call its token. What comes under it after end is nobody's.
func (c *calls) begin(beat func()) (token string, end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.beats == nil {
		c.beats = map[string]func(){}
	}
	c.last++
	token = fmt.Sprintf("call-%d", c.last)
	c.beats[token] = beat
	return token, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.beats, token)
	}
}

// progress takes a notification of the server's. What it says of the progress is for nobody here: that it says something is
// what counts.
func (c *calls) progress(n mcpgo.JSONRPCNotification) {
	token, _ := n.Params.AdditionalFields["progressToken"].(string)
	if n.Method != string(mcpgo.MethodNotificationProgress) {
		return
	}
	c.mu.Lock()
	beat := c.beats[token]
	c.mu.Unlock()
	if beat != nil {
		beat()
	}
}
