//go:build e2e

package rig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long a process may take to end after SIGTERM.
const stopPatience = 30 * time.Second

// Process is a program that can be killed and started again, with the same arguments. Its output is added to one file. Its
// methods may be called from any goroutine.
type Process struct {
	Name string

	path string
	args []string
	env  []string
	log  string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	before int64 // bytes in the log when it was started
}

func newProcess(dir, name, path string, args ...string) *Process {
	return &Process{Name: name, path: path, args: args, log: filepath.Join(dir, name+".log")}
}

// Start starts the process, and does not wait for what it does then.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer out.Close() // the child has its own
	if p.before, err = out.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), append(p.env, "OPENAI_API_KEY=", "OPENAI_BASE_URL=")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		defer close(exited)
		err := cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = err
	}()
	return nil
}

// Running reports whether the process is there.
func (p *Process) Running() bool {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return false
	}
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// Kill ends the process as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	p.wait(stopPatience)
}

// Pause stops the process in the middle of whatever it does.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume lets a process go on that was paused.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

// End asks the process to end, and waits for it. Its error says that it did not end well.
func (p *Process) End() error {
	if !p.Running() {
		return nil
	}
	p.signal(syscall.SIGTERM)
	if !p.wait(stopPatience) {
		p.Kill()
		return fmt.Errorf("%s was still running %v after SIGTERM", p.Name, stopPatience)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return fmt.Errorf("%s after SIGTERM: %w", p.Name, p.err)
	}
	return nil
}

func (p *Process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s) // fails only where it has ended
	}
}

// wait reports whether the process has ended in time.
func (p *Process) wait(patience time.Duration) bool {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return true
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-exited:
		return true
	case <-timer.C:
		return false
	}
}

// Judge returns what no process of ours may say.
func (p *Process) Judge() error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("read the output of %s: %w", p.Name, err)
	}
	var faults []error
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "is damaged"} {
		if at := strings.Index(string(text), bad); at >= 0 {
			faults = append(faults, fmt.Errorf("the output of %s has %q: %.600s", p.Name, bad, text[max(0, at-200):]))
		}
	}
	return errors.Join(faults...)
}

// lastWords are the end of the output.
func (p *Process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-600):])
}

// Said reports whether the process has written that since it was started last.
func (p *Process) Said(text string) bool {
	p.mu.Lock()
	before := p.before
	p.mu.Unlock()
	all, err := os.ReadFile(p.log)
	return err == nil && strings.Contains(string(all[min(before, int64(len(all))):]), text)
}
