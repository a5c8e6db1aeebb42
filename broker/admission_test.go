package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// wantFull enqueues a new run with a context that has ended: only an answer that asks nobody can be the bound.
func wantFull(tb testing.TB, b *Broker, want Bound) {
	tb.Helper()
	ctx, cancel := context.WithCancel(testContext(tb))
	cancel()
	var full *FullError
	err := b.Enqueue(ctx, command("resp_refused"), nil)
	if !errors.As(err, &full) || full.Bound != want || !errors.Is(err, ErrFull) || full.RetryAfter <= 0 {
		tb.Fatalf("enqueue: %v, want %s", err, want)
	}
}

// So many runs wait for a worker, and not one more: those that this node has enqueued count before anybody has looked.
func TestAdmission_BoundsTheLine(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Queued = 3 })
	for i := range 3 {
		must(t, b.Enqueue(testContext(t), command(fmt.Sprintf("resp_line%d", i)), nil))
	}
	wantFull(t, b, BoundQueued)
	b.watch.look(testContext(t))
	wantFull(t, b, BoundQueued)
	job, err := b.Claim(testContext(t))
	must(t, err)
	must(t, b.Enqueue(testContext(t), command("resp_line3"), nil))
	wantFull(t, b, BoundQueued)
	must(t, job.Ack(testContext(t)))
}

// A crowd that comes at once, on a disk that takes its time, does not slip past the bound before the first of it is counted.
func TestAdmission_BoundsACrowd(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Queued, c.SyncInterval = 3, 0 })
	var all sync.WaitGroup
	var taken atomic.Int64
	for i := range 100 {
		all.Go(func() {
			switch err := b.Enqueue(testContext(t), command(fmt.Sprintf("resp_crowd%d", i)), nil); {
			case err == nil:
				taken.Add(1)
			case !errors.Is(err, ErrFull):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := taken.Load(); n == 0 || n > 3 {
		t.Errorf("%d of a crowd were taken, bound 3", n)
	}
}

// A run that has waited for too long closes the line behind it, whoever enqueued it; once it is worked at, the line is open.
func TestAdmission_BoundsTheWait(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.QueueWait = time.Millisecond })
	must(t, b.Enqueue(testContext(t), command("resp_waits"), nil))
	waitUntil(t, "the wait is seen", func() bool {
		b.watch.look(testContext(t))
		return b.watch.seen().judge(&b.cfg, 0, false, time.Now()) != ""
	})
	wantFull(t, b, BoundQueueWait)
	_, err := b.Claim(testContext(t))
	must(t, err)
	b.watch.look(testContext(t))
	must(t, b.Enqueue(testContext(t), command("resp_next"), nil))
}

// Above its level a partition takes no new run, and the open ones have all the rest; another partition takes new ones.
func TestAdmission_LeavesTheLogToOpenRuns(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	b := mustOpen(t, func(c *Config) { c.Partitions, c.LogBytes = 1, size })
	w := mustWriter(t, b, mustBegin(t, b, "resp_open"), 1, "n1")
	text := strings.Repeat("x", 32<<10)
	n := int64(0)
	speak := func() {
		n++
		must(t, w.Append(testContext(t), schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &text}))
		must(t, w.Flush(testContext(t)))
		b.watch.look(testContext(t))
	}
	for b.watch.seen().logs[0].ratio() <= admitBelow {
		must(t, b.admit(place{}, false))
		speak()
	}
	wantFull(t, b, BoundLog)
	for b.watch.seen().logs[0].ratio() < 0.9 {
		speak()
	}
}

// Where NATS is away, a run of which nothing could be sent is refused in the end, and those that come later at once. When it
// is back, runs are taken again.
func TestAdmission_SilenceIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustServe(t, dir, "127.0.0.1:0")
	address := host(t, s)
	b := mustOpen(t, external(address))
	mustStop(t, s)
	waitUntil(t, "the loss is noticed", func() bool { return !b.conns.publish.IsConnected() }) // else the outcome is in doubt
	var full *FullError
	if err := b.Enqueue(testContext(t), command("resp_early"), nil); !errors.As(err, &full) || full.Bound != BoundSilent {
		t.Errorf("enqueue without NATS: %v", err)
	}
	waitUntil(t, "the silence is seen", func() bool {
		return b.watch.seen().judge(&b.cfg, 0, false, time.Now()) == BoundSilent
	})
	wantFull(t, b, BoundSilent)
	if err := b.admitConversation(); !errors.Is(err, ErrFull) {
		t.Errorf("a conversation: %v", err)
	}
	s = mustServe(t, dir, address)
	t.Cleanup(func() { mustStop(t, s) })
	waitUntil(t, "runs are taken again", func() bool {
		return b.Enqueue(testContext(t), command("resp_late"), nil) == nil
	})
}

// A server that answers questions and no append is given one run now and then to answer.
func TestBreaker(t *testing.T) {
	t.Parallel()
	var k breaker
	k.note(context.DeadlineExceeded)
	now := time.Now()
	if k.broken(now) {
		t.Error("broken at once")
	}
	now = now.Add(deafAfter + time.Second)
	if k.broken(now) || !k.broken(now) || !k.broken(now.Add(probeEvery-1)) {
		t.Error("it lets through other than one probe")
	}
	if k.broken(now.Add(probeEvery)) {
		t.Error("no second probe")
	}
	k.note(nil)
	if k.broken(now) {
		t.Error("broken after an answer")
	}
}

// What an account may store in all is a bound too: of the archive it is the only one.
func TestAdmission_WatchesTheStore(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"jetstream":{"config":{"sync_always":true,"max_storage":1000},"stats":{"storage":901}}}`))
	}))
	t.Cleanup(monitor.Close)
	b := mustOpen(t, external(host(t, s)), func(c *Config) { c.Monitor = []string{monitor.URL} })
	wantFull(t, b, BoundStore)
}

// A monitor that does not answer takes no time from the others, and lifts no bound that was seen.
func TestAdmission_OneSilentMonitorHidesNothing(t *testing.T) {
	t.Parallel()
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"jetstream":{"config":{"max_storage":1000},"stats":{"storage":901}}}`))
	}))
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(full.Close)
	t.Cleanup(silent.Close)
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	store, all := fullestStore(ctx, []string{silent.URL, full.URL})
	if store != (level{901, 1000}) || all {
		t.Errorf("%+v, all have told: %t", store, all)
	}
}
