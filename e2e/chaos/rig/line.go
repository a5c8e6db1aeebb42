//go:build e2e

package rig

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// State is what a Line does with what comes in.
type State struct {
	// There and Back hold what goes from the caller to the other side, and what comes from there: nothing is lost, as TCP
	// loses nothing, but nothing arrives.
	There, Back bool
	// Delay is added to each piece.
	Delay time.Duration
}

// Line is a proxied way from one process to another. Its methods may be called from any goroutine.
type Line struct {
	Name string

	target   string
	listener net.Listener
	ended    sync.WaitGroup

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed and made anew when state changes
	links   map[*link]struct{}
}

type link struct {
	caller, callee net.Conn
	once           sync.Once
	done           chan struct{}
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		l.caller.Close()
		l.callee.Close()
	})
}

func newLine(name, target string) (*Line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay line %s: %w", name, err)
	}
	l := &Line{Name: name, target: target, listener: listener, changed: make(chan struct{}), links: map[*link]struct{}{}}
	l.ended.Go(l.accept)
	return l, nil
}

// Addr is where the line begins.
func (l *Line) Addr() string { return l.listener.Addr().String() }

// Set changes what the line does, for connections that there are and those to come.
func (l *Line) Set(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	close(l.changed)
	l.changed = make(chan struct{})
}

// Cut breaks every connection.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.links {
		k.close()
	}
}

// Close breaks every connection and takes no more.
func (l *Line) Close() {
	l.listener.Close()
	l.Cut()
	l.ended.Wait()
}

func (l *Line) accept() {
	for {
		caller, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.ended.Go(func() { l.carry(caller) })
	}
}

// carry is one connection. While the line is held, the other side does not hear of it.
func (l *Line) carry(caller net.Conn) {
	waiting := &link{caller: caller, callee: caller, done: make(chan struct{})}
	l.add(waiting)
	defer l.drop(waiting)
	if !l.pass(waiting, false) {
		return
	}
	callee, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	k := &link{caller: caller, callee: callee, done: make(chan struct{})}
	l.add(k)
	defer l.drop(k)
	var back sync.WaitGroup
	back.Go(func() { l.pump(k, caller, callee, true) })
	l.pump(k, callee, caller, false)
	back.Wait()
}

func (l *Line) add(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links[k] = struct{}{}
}

func (l *Line) drop(k *link) {
	k.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, k)
}

func (l *Line) pump(k *link, to, from net.Conn, back bool) {
	defer k.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !l.pass(k, back) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pass waits until what goes that way may go on. It returns false if the connection is broken first.
func (l *Line) pass(k *link, back bool) bool {
	for {
		l.mu.Lock()
		state, changed := l.state, l.changed
		l.mu.Unlock()
		held := (back && state.Back) || (!back && state.There)
		if !held && state.Delay == 0 {
			return true
		}
		timer := time.NewTimer(state.Delay)
		if held {
			timer.Stop()
		}
		select {
		case <-timer.C:
			return true
		case <-changed:
			timer.Stop()
		case <-k.done:
			timer.Stop()
			return false
		}
	}
}
