package mcp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// stdioVariable tells this test binary which stdio server to be.
const stdioVariable = "MIDSTREAM_TEST_STDIO"

func stdioServer(role string) Server {
	return Server{Label: "x", Command: []string{os.Args[0]}, Env: map[string]string{stdioVariable: role}}
}

// playStdio is the child's side.
func playStdio(role string) {
	switch role {
	case "server":
		s := newMCPServer()
		s.AddTool(mcpgo.NewTool("env"), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			return mcpgo.NewToolResultText(strings.Join(os.Environ(), "\n")), nil
		})
		s.AddTool(mcpgo.NewTool("die"), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			os.Exit(3)
			return nil, nil
		})
		s.AddTool(mcpgo.NewTool("child"), bearChild)
		addSlow(s, "slow", slowTime)
		fmt.Fprintln(os.Stderr, "ready to serve")
		_ = server.ServeStdio(s)
	case "flood": // a line that does not end
		chunk := []byte(strings.Repeat("x", 1<<16))
		for {
			if _, err := os.Stdout.Write(chunk); err != nil {
				return
			}
		}
	case "deaf": // answers nothing, and ends for nothing but the last signal
		signal.Ignore(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
		<-time.After(time.Hour)
	case "sleep":
		<-time.After(time.Hour)
	}
}

// bearChild starts a grandchild that would outlive the server, and says its process id.
func bearChild(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{stdioVariable + "=sleep"}
	cmd.Stderr = os.Stderr // keeps the pipe open, as real grandchildren do
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return mcpgo.NewToolResultText(strconv.Itoa(cmd.Process.Pid)), nil
}

// A stdio server gets four harmless variables and those of its own; this process's others may be secrets.
func TestStdio_InheritsNoSecrets(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-canary")
	p := newPool(t, Config{})
	for line := range strings.Lines(mustCall(t, p, stdioServer("server"), "env", "").Output) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !slices.Contains(append(inherited, stdioVariable), name) {
			t.Errorf("inherited %s", name)
		}
	}
}

// A call during which the server dies fails at once, and the next one meets a new process.
func TestStdio_ReplacesDeadProcess(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	s := stdioServer("server")
	_, err := p.CallTool(t.Context(), "t1", s, "die", nil)
	wantError(t, err, KindHTTP, 502)
	if got := mustCall(t, p, s, "echo", `{"a":"again"}`); got.Output != "echo again" {
		t.Errorf("output = %q", got.Output)
	}
}

// A server that answers nothing costs the time of the initialization; and though it ends for nothing, Close ends it.
func TestStdio_EndsDeafServer(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{InitTimeout: 100 * time.Millisecond, ProbeTimeout: 50 * time.Millisecond})
	start := time.Now()
	_, err := p.ListTools(t.Context(), "t1", stdioServer("deaf"))
	wantError(t, err, KindHTTP, 504)
	if took := time.Since(start); took > exitTimeout {
		t.Errorf("the caller waited %v for the end of the process", took)
	}
}

// A line that does not end is cut off at the bound of a message.
func TestStdio_BoundsLine(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{MaxMessage: 1 << 20})
	_, err := p.ListTools(t.Context(), "t1", stdioServer("flood"))
	if e := wantError(t, err, KindProtocol, -32603); e.Message != errTooLarge.Error() {
		t.Errorf("message = %q", e.Message)
	}
}

// A command that does not exist is an error of the server, and its text does not show the operator's paths.
func TestStdio_ReportsMissingCommand(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	_, err := p.ListTools(t.Context(), "t1", Server{Command: []string{"/opt/secret/none"}})
	if e := wantError(t, err, KindHTTP, 502); strings.Contains(e.Message, "secret") {
		t.Errorf("message = %q", e.Message)
	}
}

// What the server says on stderr goes to the debug log, in lines of a bounded length.
func TestStdio_LogsStderr(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := newPool(t, Config{Logger: log})
	mustList(t, p, stdioServer("server"))
	eventually(t, "the line is logged", func() bool { return strings.Contains(out.String(), "ready to serve") })

	l := &stderrLog{log: log}
	fmt.Fprint(l, strings.Repeat("y", 5000))
	fmt.Fprint(l, strings.Repeat("y", 5000)+"\nnext\n")
	if n := strings.Count(out.String(), "y"); n > maxStderrLine+10 || !strings.Contains(out.String(), "next") {
		t.Errorf("%d bytes of a long line were logged", n)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
