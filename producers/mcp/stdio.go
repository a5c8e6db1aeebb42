package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// process is a stdio server. It is started here rather than by mcp-go, so that it has no secrets in its environment, is
// killed together with its children, and can block nobody by not reading or not ending a line.
type process struct {
	cmd    *exec.Cmd
	stdin  *pipeWriter
	stdout *lineReader
	exited chan struct{}
}

// onFailure sets what is told of the first broken pipe, which comes before mcp-go knows. It is called before the pipes
// are used.
func (p *process) onFailure(fail func(error)) {
	p.stdin.fail, p.stdout.fail = fail, fail
}

// How long a stdio server may take: to read one message, to end after its input has ended, and after SIGTERM.
const (
	stdinTimeout = 5 * time.Second
	exitTimeout  = 2 * time.Second
	termTimeout  = time.Second
)

// inherited are the variables that a stdio server gets from this process, whose others may be secrets.
var inherited = []string{"PATH", "HOME", "LANG", "TMPDIR"}

func environment(extra map[string]string) []string {
	var env []string
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range extra {
		env = append(env, name+"="+value)
	}
	return env
}

func startProcess(s Server, c Config, spawn func(func())) (*process, error) {
	childIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotStarted, err)
	}
	stdout, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(errNotStarted, err, childIn.Close(), stdin.Close())
	}
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Env = environment(s.Env)
	cmd.Stdin, cmd.Stdout = childIn, childOut
	cmd.Stderr = &stderrLog{log: c.Logger.With("server_label", s.Label)}
	cmd.WaitDelay = exitTimeout // a grandchild may hold stderr open
	ownGroup(cmd)
	err = cmd.Start()
	_, _ = childIn.Close(), childOut.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(errNotStarted, err, stdin.Close(), stdout.Close())
	}
	p := &process{
		cmd: cmd, stdin: &pipeWriter{File: stdin}, exited: make(chan struct{}),
		stdout: &lineReader{in: bufio.NewReader(stdout), Closer: stdout, max: c.MaxMessage},
	}
	spawn(p.wait)
	return p, nil
}

// wait reaps the process, and ends what it has left behind.
func (p *process) wait() {
	_ = p.cmd.Wait() // how it ended does not matter: that it ended does
	signalGroup(p.cmd, kill)
	close(p.exited)
	_ = p.stdout.Close() // ends mcp-go's reader, though a grandchild may hold the other end
}

// stop ends the process as the protocol asks: its input ends, then it is told to, then it is made to.
func (p *process) stop() {
	_ = p.stdin.Close() // it may be closed already
	if p.exits(exitTimeout) {
		return
	}
	signalGroup(p.cmd, terminate)
	if p.exits(termTimeout) {
		return
	}
	signalGroup(p.cmd, kill)
	<-p.exited
}

func (p *process) exits(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

// pipeWriter gives up on a child that does not read: mcp-go would wait for ever, with a lock held.
type pipeWriter struct {
	*os.File
	fail func(error)
}

// Write implements [io.Writer]. After an error the child has half a line, so the pipe is closed.
func (w *pipeWriter) Write(b []byte) (int, error) {
	_ = w.SetWriteDeadline(time.Now().Add(stdinTimeout)) // pipes have deadlines
	n, err := w.File.Write(b)
	if err != nil {
		w.fail(err)
		_ = w.Close() // it may be closed already
	}
	return n, err
}

// lineReader ends the output of a child that does not end its line.
type lineReader struct {
	io.Closer
	in   *bufio.Reader
	fail func(error)
	line int
	max  int
}

// Read implements [io.Reader]. To mcp-go, which would log any other error, each one is the end.
func (r *lineReader) Read(b []byte) (int, error) {
	n, err := r.read(b)
	if err != nil {
		r.fail(err)
		return n, io.EOF
	}
	return n, nil
}

func (r *lineReader) read(b []byte) (int, error) {
	n, err := r.in.Read(b)
	if i := bytes.LastIndexByte(b[:n], '\n'); i >= 0 {
		r.line = n - i - 1
	} else {
		r.line += n
	}
	if r.line > r.max {
		return 0, errTooLarge
	}
	return n, err
}

// maxStderrLine bounds a logged line of a child, in bytes.
const maxStderrLine = 1024

// stderrLog writes what a child says on stderr to the debug log, line by line.
type stderrLog struct {
	log  *slog.Logger
	line []byte
}

// Write implements [io.Writer]. It never fails: the child must not stop for want of a reader.
func (l *stderrLog) Write(b []byte) (int, error) {
	for part := range bytes.Lines(b) {
		room := max(maxStderrLine-len(l.line), 0)
		l.line = append(l.line, part[:min(room, len(part))]...)
		if part[len(part)-1] == '\n' {
			l.log.Debug("stderr of MCP server", "line", string(bytes.TrimRight(l.line, "\r\n")))
			l.line = l.line[:0]
		}
	}
	return len(b), nil
}
