package hub

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

// A hub stays for a minute after its last reader and after the terminal event, and then leaves nothing behind.
func TestHubs_Linger(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name         string
		left, ended  time.Duration // ended 0: never
		gone, reader time.Duration // when a reader comes back, 0: never
	}{
		{"reader left, still live", 10 * time.Second, 0, 70 * time.Second, 0},
		{"reader left before the end", 10 * time.Second, 30 * time.Second, 90 * time.Second, 0},
		{"reader left after the end", 30 * time.Second, 10 * time.Second, 90 * time.Second, 0},
		{"another came in between", 10 * time.Second, 0, 0, 50 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				l.store(1, 10, false)
				h := open(t, l, Config{})
				f, err := h.Follow(t.Context(), ref, -1)
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(c.left, f.Close)
				if c.ended > 0 {
					time.AfterFunc(c.ended, func() { l.store(1, 10, true) })
				}
				if c.reader > 0 {
					time.AfterFunc(c.reader, func() { mustFollow(t, h, -1) })
				}
				gone := c.gone
				if gone == 0 {
					gone = time.Hour
				}
				_ = sleep(t.Context(), gone-time.Millisecond, nil)
				if h.count() != 1 {
					t.Error("hub ended early")
				}
				_ = sleep(t.Context(), 2*time.Millisecond, nil)
				synctest.Wait()
				if there := h.count() == 1; there != (c.gone == 0) {
					t.Errorf("after %v hub is there: %v", gone, there)
				}
				if c.gone > 0 && (len(l.live) > 0 || h.bytes.Load() > 0) {
					t.Errorf("left behind: %d subscriptions, %d bytes", len(l.live), h.bytes.Load())
				}
			})
		})
	}
}

// However many finished responses are asked for in a minute, memory stays bounded: what nobody reads goes first, longest
// idle first.
func TestHubs_BoundTheNode(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(100, 1000, true)
	l.seal()
	const bound = 1 << 20
	h := open(t, l, Config{NodeBytes: bound})
	for i := range 100 {
		f, err := h.Follow(t.Context(), mustRef("tenant", fmt.Sprint(i)), -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if n := h.bytes.Load(); n > bound {
			t.Fatalf("%d bytes after %d responses", n, i)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[mustRef("tenant", "99")] == nil || h.open[mustRef("tenant", "0")] != nil {
		t.Errorf("not the oldest of %d hubs went", len(h.open))
	}
}

// However small responses are, no more hubs are idle than may be.
func TestHubs_BoundTheIdle(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(1, 10, true)
	l.seal()
	h := open(t, l, Config{IdleHubs: 3})
	for i := range 10 {
		f, err := h.Follow(t.Context(), mustRef("tenant", fmt.Sprint(i)), -1)
		if err != nil {
			t.Fatal(err)
		}
		if n := h.count(); n > 4 {
			t.Fatalf("%d hubs, one of them with a reader", n)
		}
		f.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[mustRef("tenant", "9")] == nil || len(h.open) != 3 {
		t.Errorf("%d hubs, not the last three", len(h.open))
	}
}

// A live response that grows drives out what nobody reads, without waiting for another reader to come or go.
func TestHubs_GrowingHubsDriveOutIdleOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		idle := newLog()
		idle.store(100, 1000, true)
		live := newLog()
		live.store(1, 10, false)
		other := mustRef("tenant", "resp_2")
		h := open(t, &twoLogs{log: live, other: idle, ref: other}, Config{NodeBytes: 400 << 10})
		f, err := h.Follow(t.Context(), other, -1)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		reader := mustFollow(t, h, -1)
		for range 24 { // each fits alone, both do not
			live.store(10, 1000, false)
		}
		synctest.Wait()
		if n := h.count(); n != 1 {
			t.Errorf("%d hubs, %d bytes", n, h.bytes.Load())
		}
		if head := reader.hub.window.head(); head != 0 {
			t.Errorf("live response lost its head, to %d", head)
		}
	})
}

// twoLogs has another log besides.
type twoLogs struct {
	*log
	other *log
	ref   schema.Ref
}

func (w *twoLogs) of(r schema.Ref) *log {
	if r == w.ref {
		return w.other
	}
	return w.log
}

func (w *twoLogs) Live(r schema.Ref, deliver func(Record)) (func(), error) {
	return w.of(r).Live(r, deliver)
}

func (w *twoLogs) Tip(ctx context.Context, r schema.Ref) (uint64, error) { return w.of(r).Tip(ctx, r) }

func (w *twoLogs) Read(ctx context.Context, r schema.Ref, after, upto uint64, yield func(Record) error) error {
	return w.of(r).Read(ctx, r, after, upto, yield)
}

// While the node keeps too much, a live hub is held to a quarter of a megabyte and its readers still get everything.
func TestHubs_HoldGrowingHubsDown(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(1, 10, false)
	h := open(t, l, Config{NodeBytes: 512 << 10})
	f := mustFollow(t, h, -1)
	for i := range 200 {
		l.store(10, 1000, i == 199)
	}
	if n := h.bytes.Load(); n > 512<<10 {
		t.Errorf("%d bytes", n)
	}
	got, err := readAll(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, got, l.want(-1))
}

// A reconnect may have missed the news of an erasure: a finished response that nobody reads is asked for anew.
func TestNudge_DropsFinishedHubs(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(1, 10, true)
	h := open(t, l, Config{})
	mustFollow(t, h, -1).Close()
	h.Nudge()
	if n := h.count(); n != 0 {
		t.Errorf("%d hubs are left", n)
	}
	mustFollow(t, h, -1)
	h.Nudge()
	if n := h.count(); n != 1 {
		t.Error("a hub that is read was dropped")
	}
}

// The news of an erasure may come late, and drop a hub that is just being opened: its reader is not told of that, but asks
// again.
func TestDrop_WhileTheHubOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 10, true)
		h := open(t, l, Config{})
		l.set(func() { l.faults.noLeader = func() bool { return true } })
		followed := make(chan error)
		go func() {
			f, err := h.Follow(t.Context(), ref, -1)
			if err == nil {
				f.Close()
			}
			followed <- err
		}()
		synctest.Wait()
		l.set(func() { l.faults.noLeader = nil })
		h.Drop(ref)
		if err := <-followed; err != nil {
			t.Error(err)
		}
		dropped := newHub(h, ref)
		dropped.end()
		dropped.fail(errors.New("what its goroutine met on the way out")) // the order that loses once in a thousand times
		if _, err := dropped.knows(-1); !errors.Is(err, ErrCut) {
			t.Error(err)
		}
	})
}

// The fold is the response now: it grows with the log, is the same one until it does, and comes from the log where the
// hub has dropped its head.
func TestFold(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int{1, 8 << 20} {
		t.Run(fmt.Sprintf("hub of %d bytes", bytes), func(t *testing.T) {
			t.Parallel()
			l := newLog()
			h := open(t, l, Config{HubBytes: bytes})
			story := newStory()
			l.add(story.begin())
			if s := mustFold(t, h); s.Response().Status != schema.StatusInProgress || s.Ended() {
				t.Errorf("a begun response is %q", s.Response().Status)
			}
			l.add(story.say(20))
			before := mustFold(t, h)
			if again := mustFold(t, h); again != before {
				t.Error("nothing came, and it was folded again")
			}
			l.add(story.say(20))
			l.add(story.end())
			s := mustFold(t, h)
			if !s.Ended() || s.Response().Status != schema.StatusCompleted {
				t.Errorf("a completed response is %q", s.Response().Status)
			}
			if before.Ended() {
				t.Error("a state that was handed out has changed")
			}
		})
	}
}

func mustFold(t *testing.T, h *Hubs) *schema.State {
	t.Helper()
	s, err := h.Fold(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Metrics are registered once, and a second set on one registry is no panic.
func TestNew_RegistersMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	for range 2 {
		open(t, newLog(), Config{Metrics: reg})
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 6 {
		t.Errorf("%d metrics", len(families))
	}
}
