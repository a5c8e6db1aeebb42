//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second // npm programs take 1-4 s on an idle machine
	stopTimeout  = 15 * time.Second
)

// process is a child in a process group of its own, so that whatever it started ends with it.
type process struct {
	log    *outputLog
	cmd    *exec.Cmd
	exited chan struct{} // closed once err is set
	err    error
}

// start runs a command, and returns once its output matches ready, with the match's groups.
func start(ready *regexp.Regexp, env []string, name string, args ...string) (*process, []string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes
	p := &process{log: newLog(ready), cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	groups, err := p.ready()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w: %s", name, errors.Join(err, p.stop()), p.log)
	}
	return p, groups, nil
}

func (p *process) ready() ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	select {
	case groups := <-p.log.found:
		return groups, nil
	case <-p.exited:
		return nil, errors.New("ended at once")
	case <-ctx.Done():
		return nil, errors.New("not ready in time")
	}
}

// stop asks the process to end, and ends its whole group when it has, or will not. It returns how the process ended.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended already
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	late := false
	select {
	case <-p.exited:
	case <-timer.C:
		late = true
	}
	p.kill()
	if late {
		return fmt.Errorf("still running %v after SIGTERM", stopTimeout)
	}
	return p.err
}

// kill ends the process and its whole group at once.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // fails only when they have ended already
	<-p.exited
}

// outputLog keeps what a process writes and tells when a pattern is in it. Safe for concurrent use.
type outputLog struct {
	found chan []string

	mu      sync.Mutex
	text    bytes.Buffer
	pattern *regexp.Regexp
}

func newLog(pattern *regexp.Regexp) *outputLog {
	return &outputLog{found: make(chan []string, 1), pattern: pattern}
}

func (l *outputLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if l.pattern == nil {
		return len(p), nil
	}
	if groups := l.pattern.FindStringSubmatch(l.text.String()); groups != nil {
		l.found <- groups
		l.pattern = nil
	}
	return len(p), nil
}

func (l *outputLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
