// Command run shows a cluster on this machine: make cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/midstream-dev/midstream/e2e/cluster"
)

// restartAfter is how long what was killed stays away: long enough to see how the others do without it.
const restartAfter = 5 * time.Second

func main() {
	binary := flag.String("binary", "./midstream", "the built binary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := show(ctx, *binary, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// show runs a cluster until ctx ends, and says how to play with it. Nothing of it is left when it returns but the logs.
func show(ctx context.Context, binary string, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "midstream-cluster-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, clean(w, dir)) }()
	nats, err := cluster.BuildNATS(ctx, ".", dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "starting 3 NATS servers, 2 gateways, 2 producers ...")
	c, err := cluster.Start(ctx, cluster.Config{Root: ".", Dir: dir, Midstream: binary, NATS: nats})
	if err != nil {
		return err
	}
	settings := filepath.Join(dir, "node.env")
	if err := os.WriteFile(settings, []byte(strings.Join(c.NodeSettings, "\n")+"\n"), 0o600); err != nil {
		return errors.Join(err, c.Stop())
	}
	tell(w, c, dir)
	keep(ctx, w, c)
	fmt.Fprintln(w, "\nstopping ...")
	return c.Stop()
}

func tell(w io.Writer, c *cluster.Cluster, dir string) {
	fmt.Fprint(w, "\nAsk either gateway:\n\n")
	for _, g := range c.Gateways {
		fmt.Fprintf(w, ask, g.URL)
	}
	fmt.Fprintf(w, goOn, c.Gateways[1].URL)
	for _, m := range c.Members() {
		fmt.Fprintf(w, "  kill -9 %-8d # %s\n", m.PID(), m.Name)
	}
	fmt.Fprintf(w, which, dir)
	fmt.Fprint(w, "\nLook into NATS, as docs/runbook.md does; the streams, then the servers:\n\n")
	for _, as := range []cluster.User{c.Admin, c.System} {
		fmt.Fprintf(w, "  export NATS_URL=%s NATS_USER=%s NATS_PASSWORD=%s\n", c.Servers[0].URL, as.Name, as.Password)
	}
	fmt.Fprintf(w, check, filepath.Join(dir, "node.env"), strings.Join(c.Monitors, " "))
	fmt.Fprintf(w, "What is killed comes back after %v. Ctrl-C stops all.\n\n", restartAfter)
}

// clean leaves the logs where they are, and says so.
func clean(w io.Writer, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".log" {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	fmt.Fprintf(w, "The logs are in %s.\n", dir)
	return errors.Join(errs...)
}

const check = `
Is it well? Both say so with exit code 0:

  (set -a; . %s; ./midstream doctor --config deploy/midstream/midstream.yaml)
  deploy/nats/drift.sh %s

`

const ask = `  curl -N %s/v1/responses -H 'Content-Type: application/json' \
    -d '{"model": "demo-slow", "stream": true, "input": "Tell me about rivers. [[tokens=60]] [[delay=500ms]]"}'

`

const which = `
Which producer has it, the last of these lines says:

  grep --no-filename '"run begun".*resp_…' %s/producer-*.log

`

const goOn = `Go on at the other one, behind the last id that you saw:

  curl -N '%s/v1/responses/resp_…?stream=true' -H 'Last-Event-ID: 9'

Kill one meanwhile:

`

// keep starts again what has ended, until ctx ends.
func keep(ctx context.Context, w io.Writer, c *cluster.Cluster) {
	var group sync.WaitGroup
	for _, m := range c.Members() {
		group.Go(func() {
			for again(ctx, w, m) {
			}
		})
	}
	group.Wait()
}

// again waits until m has ended, and starts it once more. It reports whether to go on.
func again(ctx context.Context, w io.Writer, m *cluster.Member) bool {
	select {
	case <-ctx.Done():
		return false
	case <-m.Exited():
	}
	fmt.Fprintf(w, "%s has ended\n", m.Name)
	timer := time.NewTimer(restartAfter)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait(ctx, timer)
		if err := m.Start(ctx); err == nil {
			fmt.Fprintf(w, "%s is back:  kill -9 %d\n", m.Name, m.PID())
			return true
		} else if ctx.Err() == nil {
			fmt.Fprintln(w, err)
			timer.Reset(restartAfter)
		}
	}
	return false
}

func wait(ctx context.Context, timer *time.Timer) {
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
