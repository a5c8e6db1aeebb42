package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout bounds how long a process may take until it serves. A node waits for the leaders of its streams.
	startTimeout = 60 * time.Second
	// stopTimeout is longer than limits.drain, and than lame_duck_duration.
	stopTimeout = 45 * time.Second
)

// Member is one process of a cluster, in a process group of its own, so that whatever it starts ends with it. Its methods
// may be called from any goroutine.
type Member struct {
	Name string
	// URL is where it is reached: a server by clients of NATS, a gateway by HTTP; empty for a producer.
	URL string
	// Monitor is the HTTP address of a server's monitoring; empty for a node.
	Monitor string
	// Log is the file of all that it has written, over all of its starts.
	Log string

	path      string
	args, env []string
	ready     string // what it writes when it serves
	data      string // directory of a server's store

	mu     sync.Mutex // held while it is started or stopped
	cmd    *exec.Cmd
	exited chan struct{} // closed once err is set
	err    error
}

// Start runs the process and returns when it serves. After an error it does not run.
func (m *Member) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running() {
		return fmt.Errorf("start %s: it runs", m.Name)
	}
	log, err := os.OpenFile(m.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", m.Name, err)
	}
	out := &output{to: log, phrase: []byte(m.ready), seen: make(chan struct{})}
	cmd := exec.Command(m.path, m.args...) // it outlives ctx, and is asked to end before it is killed
	cmd.Env, cmd.Stdout, cmd.Stderr = m.env, out, out
	cmd.SysProcAttr = group()
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.Name, errors.Join(err, log.Close()))
	}
	exited := make(chan struct{})
	m.cmd, m.exited = cmd, exited
	go func() {
		m.err = errors.Join(cmd.Wait(), log.Close())
		close(exited)
	}()
	if err := m.await(ctx, out); err != nil {
		m.end(syscall.SIGKILL)
		return fmt.Errorf("start %s: %w; its log is %s:\n%s", m.Name, err, m.Log, out.tail())
	}
	return nil
}

func (m *Member) await(ctx context.Context, out *output) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-out.seen:
		return nil
	case <-m.exited:
		return fmt.Errorf("it ended at once: %w", m.err)
	case <-ctx.Done():
		return fmt.Errorf("it does not serve: %w", ctx.Err())
	}
}

// Env returns a variable of the environment that the next start will have.
func (m *Member) Env(name string) (value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.env { // the last one counts
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			value = rest
		}
	}
	return value
}

// Setenv changes the environment from the next start on. An empty value takes the variable away.
func (m *Member) Setenv(name, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.env = slices.DeleteFunc(m.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	if value != "" {
		m.env = append(m.env, name+"="+value)
	}
}

// Running reports whether the process is there.
func (m *Member) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running()
}

func (m *Member) running() bool {
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.exited:
		return false
	default:
		return true
	}
}

// PID is the process's, or that of the last one.
func (m *Member) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return 0
	}
	return m.cmd.Process.Pid
}

// Exited is closed when the process that runs now has ended; nil before the first.
func (m *Member) Exited() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exited
}

// Kill ends the process as a crash would, and returns when it is gone.
func (m *Member) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(syscall.SIGKILL)
}

// Stop asks the process to end, and returns when it and all that it has started is gone. Its error says that it did not
// end well. One that does not run is left alone.
func (m *Member) Stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ask(syscall.SIGTERM)
}

// LameDuck asks a server to hand its leaders over and to send its clients away before it ends.
func (m *Member) LameDuck() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ask(syscall.SIGUSR2)
}

func (m *Member) ask(sig syscall.Signal) error {
	if !m.running() {
		return nil
	}
	_ = m.cmd.Process.Signal(sig) // fails only when it has ended already
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	var late error
	select {
	case <-m.exited:
	case <-timer.C:
		late = fmt.Errorf("%s still runs %v after it was asked to end", m.Name, stopTimeout)
	}
	m.end(syscall.SIGKILL)
	if late == nil && m.err != nil {
		late = fmt.Errorf("%s: %w", m.Name, m.err)
	}
	return late
}

// end sends a signal to the whole group and waits for the process.
func (m *Member) end(sig syscall.Signal) {
	if m.cmd == nil {
		return
	}
	_ = syscall.Kill(-m.cmd.Process.Pid, sig) // fails only when they have ended already
	<-m.exited
}

// outputTail is how much of a log an error quotes.
const outputTail = 4 << 10

// output writes what a process says to a file, and tells when a phrase is in it. Safe for concurrent use.
type output struct {
	to     *os.File
	phrase []byte
	seen   chan struct{}

	mu   sync.Mutex
	last []byte
	done bool
}

// Write never fails but as the file does.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = append(o.last, p...)
	if !o.done && bytes.Contains(o.last, o.phrase) {
		o.done = true
		close(o.seen)
	}
	o.last = o.last[max(0, len(o.last)-outputTail):]
	return o.to.Write(p)
}

func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.last)
}
