package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// ram is a disk of its own, in memory, whose free space a test chooses.
type ram struct {
	testing.TB
	dir string
}

// mustMount needs the right to mount, which root has. Without it testLogIsFull shows what it can.
func mustMount(tb testing.TB) *ram {
	tb.Helper()
	r := &ram{tb, tb.TempDir()}
	if err := syscall.Mount("tmpfs", r.dir, "tmpfs", 0, "size=20g"); err != nil {
		tb.Logf("no disk of its own, since mounting one failed: %v", err)
		return nil
	}
	tb.Cleanup(func() { must(tb, syscall.Unmount(r.dir, 0)) })
	return r
}

// leave makes the disk so large that this much is free.
func (r *ram) leave(free int64) {
	r.Helper()
	var fs syscall.Statfs_t
	must(r, syscall.Statfs(r.dir, &fs))
	pages := int64(fs.Blocks-fs.Bfree) + free/fs.Bsize
	must(r, syscall.Mount("tmpfs", r.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("nr_blocks=%d", pages)))
}

// talker appends until it is stalled.
type talker struct {
	testing.TB
	w *Writer
	n int64
}

func (t *talker) say(ctx context.Context, bytes int) error {
	text := strings.Repeat("x", bytes)
	err := t.w.Append(ctx, schema.Event{Type: schema.TextDelta, SequenceNumber: t.n + 1, Delta: &text})
	if err == nil {
		t.n++
	}
	return err
}

// stall talks until the writer takes no more, which must be soon.
func (t *talker) stall() {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), 2*time.Second)
	defer cancel()
	for t.say(ctx, 16<<10) == nil {
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.w.err != nil || t.w.queue.bytes > maxBuffered+64<<10 {
		t.Fatalf("the writer holds %d bytes, error %v", t.w.queue.bytes, t.w.err)
	}
}

// finish flushes, and finds all that was said.
func (t *talker) finish(b *Broker, ref schema.Ref) {
	t.Helper()
	must(t, t.w.Flush(testContext(t)))
	if got := mustRead(t, b, ref).Records; got[len(got)-1].Last != t.n {
		t.Errorf("the log ends at %d, not %d", got[len(got)-1].Last, t.n)
	}
}

// On a disk that fills up, first new runs are refused while open ones go on; then those wait too, before NATS could fail at
// the disk; and all goes on when there is room.
func TestDisk_WaitsBeforeItIsFull(t *testing.T) {
	t.Parallel()
	r := mustMount(t)
	if r == nil {
		testLogIsFull(t)
		return
	}
	const left = 64 << 20
	b := mustOpen(t, func(c *Config) { c.DataDir, c.DiskFree = r.dir, left })
	h := mustBegin(t, b, "resp_open")
	talk := &talker{TB: t, w: mustWriter(t, b, h, 1, "n1")}

	r.leave(left / 2)
	b.watch.look(testContext(t))
	wantFull(t, b, BoundDisk)
	must(t, talk.say(testContext(t), 100))
	must(t, talk.w.Flush(testContext(t)))

	r.leave(left / holdShare / 2)
	b.watch.look(testContext(t))
	talk.stall()
	wantFull(t, b, BoundDisk)
	if b.server.Broken() {
		t.Error("NATS has failed at the disk")
	}

	r.leave(2 * left)
	talk.finish(b, h.Ref)
	waitUntil(t, "runs are taken again", func() bool { return b.Enqueue(testContext(t), command("resp_new"), nil) == nil })
}

// A disk that others fill in a moment makes NATS fail: it would take nothing until its next start. Writers wait, new runs are
// refused, and once there is room NATS is started anew: what was acknowledged is there, and what waited comes behind it.
func TestDisk_RecoversFromENOSPC(t *testing.T) {
	t.Parallel()
	r := mustMount(t)
	if r == nil {
		testLogIsFull(t)
		return
	}
	dir := r.dir
	b := mustOpen(t, func(c *Config) { c.DataDir, c.DiskFree, c.SyncInterval = dir, 1, 0 })
	h := mustBegin(t, b, "resp_open")
	talk := &talker{TB: t, w: mustWriter(t, b, h, 1, "n1")}
	must(t, b.Enqueue(testContext(t), command("resp_accepted"), nil))
	must(t, talk.say(testContext(t), 100))
	must(t, talk.w.Flush(testContext(t)))

	r.leave(0)
	talk.stall()
	accepted := []string{"resp_accepted"}
	switch err := b.Enqueue(testContext(t), command("resp_early"), nil); { // nobody has looked yet
	case err == nil: // the file of the queue has room left in its last page
		accepted = append(accepted, "resp_early")
	case !errors.Is(err, ErrFull):
		t.Errorf("enqueue: %v", err)
	}
	waitUntil(t, "the failure is seen", func() bool { b.watch.look(testContext(t)); return b.watch.seen().disk.failed })
	wantFull(t, b, BoundDisk)

	r.leave(256 << 20)
	talk.finish(b, h.Ref)
	for _, want := range accepted {
		job, err := b.Claim(testContext(t))
		must(t, err)
		if job.Command.Response != want {
			t.Errorf("claimed %s, want %s", job.Command.Response, want)
		}
		must(t, job.Ack(testContext(t)))
	}
	waitUntil(t, "runs are taken again", func() bool { return b.Enqueue(testContext(t), command("resp_new"), nil) == nil })
}

// testLogIsFull is what can be shown without a disk: a writer waits for room in its stream.
func testLogIsFull(t *testing.T) {
	b := mustOpen(t, func(c *Config) { c.Partitions, c.LogBytes = 1, 1<<20 })
	h := mustBegin(t, b, "resp_open")
	talk := &talker{TB: t, w: mustWriter(t, b, h, 1, "n1")}
	talk.stall()
	b.watch.look(testContext(t))
	wantFull(t, b, BoundLog)
	s, err := b.js.Stream(testContext(t), logStream+"0")
	must(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = 64 << 20
	_, err = b.js.UpdateStream(testContext(t), cfg)
	must(t, err)
	talk.finish(b, h.Ref)
}
