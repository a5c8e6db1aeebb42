package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is the upstream, the clients, and the two processes that are compared.
type bench struct {
	options
	upstream    *upstream
	client      *http.Client
	dir         string
	logs        *os.File // of both processes
	nats        string   // the address of the node's embedded server
	node, relay *process
}

// process is a server under measure.
type process struct {
	cmd *exec.Cmd
	url string
}

func newBench(ctx context.Context, o options) (*bench, error) {
	if o.binary == "" {
		return nil, errors.New("-binary is missing")
	}
	dir, err := os.MkdirTemp("", "midstream-bench-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	b := &bench{
		options: o, dir: dir, upstream: newUpstream(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}},
	}
	if b.logs, err = os.Create(o.logs); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	if b.nats, err = freeAddress(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "midstream.yaml")
	if err := os.WriteFile(config, []byte(b.config()), 0o600); err != nil {
		return nil, fmt.Errorf("write config: %w", err)
	}
	if b.node, err = start(ctx, b.logs, o.binary, "serve", "--config", config); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if b.relay, err = start(ctx, b.logs, os.Args[0], "-relay", b.upstream.URL); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) config() string {
	return fmt.Sprintf(`listen: 127.0.0.1:0
nats: {data: %s, sync: %s, listen: %q, user: %s, password: %s}
limits: {queued: %d}
upstreams:
  - {name: bench, dialect: chat, base_url: %s, models: [bench]}
`, filepath.Join(b.dir, "data"), b.sync, b.nats, natsUser, natsPassword, b.queued, b.upstream.URL)
}

// freeAddress returns one that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// start runs a server and waits for the line that says where it listens.
func start(ctx context.Context, logs io.Writer, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("start %s: it ended before it listened: %w", name, cmd.Wait())
		}
		if _, url, ok := strings.Cut(line, "listening on "); ok {
			go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
			return &process{cmd, strings.TrimSpace(url)}, nil
		}
	}
}

func (b *bench) close() error {
	b.upstream.release()
	for _, p := range []*process{b.node, b.relay} {
		if p == nil {
			continue
		}
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = p.cmd.Wait()                          // its exit code is not what is measured
	}
	b.client.CloseIdleConnections()
	b.upstream.Close()
	return errors.Join(b.logs.Close(), os.RemoveAll(b.dir))
}

// resident returns a process's resident memory in bytes.
func (p *process) resident() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	fields := strings.Fields(string(data))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// ticks is the unit of processor time in /proc, in ticks a second: fixed by the kernel's ABI.
const ticks = 100

// cpu returns the processor time that a process has used.
func (p *process) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticks, err
}

// spread is a set of durations.
type spread []time.Duration

func (s spread) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func (s spread) String() string {
	return fmt.Sprintf("p50 %s  p99 %s  (n %d)", milli(s.at(.5)), milli(s.at(.99)), len(s))
}

func milli(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

// row prints one line of the report.
func row(name, ours, theirs, ratio string) {
	if ratio != "" {
		theirs += "  → " + ratio
	}
	fmt.Printf("%-52s %-34s %s\n", name, ours, theirs)
}

func ratio(ours, theirs float64) string {
	if theirs == 0 {
		return ""
	}
	return fmt.Sprintf("%.1fx", ours/theirs)
}
