//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ram is a disk of its own, in memory, whose free space a test chooses.
type ram struct {
	t   *testing.T
	dir string
}

// mount needs the right to; root has it.
func mount(t *testing.T) (*ram, error) {
	r := &ram{t, t.TempDir()}
	if err := syscall.Mount("tmpfs", r.dir, "tmpfs", 0, "size=20g"); err != nil {
		return nil, fmt.Errorf("mount a disk: %w", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(r.dir, 0); err != nil {
			t.Error(err)
		}
	})
	return r, nil
}

// leave makes the disk so large that this much is free.
func (r *ram) leave(free int64) {
	r.t.Helper()
	var fs syscall.Statfs_t
	err := syscall.Statfs(r.dir, &fs)
	if err == nil {
		size := int64(fs.Blocks-fs.Bfree) + free/fs.Bsize
		err = syscall.Mount("tmpfs", r.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("nr_blocks=%d", size))
	}
	if err != nil {
		r.t.Fatalf("resize the disk: %v", err)
	}
}

// TestFullDisk promises that a full disk costs time alone: what is new is refused, what has begun waits and goes on when
// there is room again, in the same process, and in the next one after kill -9.
func TestFullDisk(t *testing.T) {
	r, err := mount(t)
	if err != nil {
		t.Logf("%v: only root may. What a writer does without room is shown by TestDisk in broker/.", err)
		return
	}
	first, second := newDam(t), newDam(t)
	g := launch(t, fmt.Sprintf(`
listen: 127.0.0.1:0
demo: on
nats: {data: %q}
upstreams:
  - {name: first, dialect: chat, base_url: %q, models: [first]}
  - {name: second, dialect: chat, base_url: %q, models: [second]}
`, r.dir, first.url, second.url))

	t.Run("goes on", func(t *testing.T) {
		clients := begin(t, g, "first")
		g.fills(t, r)
		first.open()
		g.stalls(t)
		r.leave(1 << 30)
		for _, c := range clients {
			if logged := c.finish(t, g); strings.Count(logged.text, "w") != damWords {
				t.Errorf("the log has %q, want %d words", logged.text, damWords)
			}
		}
	})
	t.Run("goes on after kill -9", func(t *testing.T) {
		clients := begin(t, g, "second")
		g.fills(t, r)
		second.open()
		g.stalls(t)
		g.kill(t)
		for _, c := range clients {
			if err := c.rest(); err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("the connection ended with %v, want an abort", err)
			}
		}
		r.leave(1 << 30)
		g.again(t)
		for _, c := range clients {
			c.resume(t, g.url)
			c.finish(t, g)
		}
	})
}

// begin has some clients in the middle of their responses.
func begin(t *testing.T, g *gateway, model string) []*wire {
	clients := make([]*wire, 4)
	for i := range clients {
		clients[i] = &wire{}
		clients[i].post(t, g.url, model, "Tell me about rivers.")
		clients[i].until(t, damHeld)
	}
	return clients
}

// fills fills the disk, and returns once what is new is refused.
func (g *gateway) fills(t *testing.T, r *ram) {
	t.Helper()
	r.leave(0)
	eventually(t, "new responses are refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a := g.createBefore(ctx, true)
		if a.err != nil && ctx.Err() == nil {
			t.Fatal(a.err)
		}
		// In the moment in which the disk became full nobody knew: what was let in then waits for room.
		return a.status == http.StatusServiceUnavailable
	})
	var c crowd
	for range 200 {
		c.add(g.create(true))
	}
	t.Logf("refusals took %s", refusalTimes(c.answers))
	for _, a := range c.answers {
		if a.status != http.StatusServiceUnavailable || a.err != nil {
			t.Errorf("%+v, want 503", a)
		}
	}
}

// stalls returns once open runs wait for room.
func (g *gateway) stalls(t *testing.T) {
	t.Helper()
	eventually(t, "appends wait for room", func() bool {
		return g.metrics(t)[`midstream_append_retries_total{reason="disk_full"}`] > 0
	})
}
