package hub

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// A reader that lags beyond the hub's bound reads the log by itself, catches up, and goes on in the hub; meanwhile the
// hub and its other readers are not held up, and the hub stays bounded.
func TestLag_ReadsTheLogAndReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 1000, false)
		h := open(t, l, Config{HubBytes: 128 << 10})
		slow, quick := mustFollow(t, h, -1), mustFollow(t, h, -1)
		first, err := slow.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.set(func() { l.faults.readDelay = time.Minute })
		for range 1000 {
			rec := l.store(1, 1000, false)
			readTo(t, quick, rec.Last)
			if n := h.bytes.Load(); n > 128<<10 {
				t.Fatalf("hub keeps %d bytes", n)
			}
		}
		got := append(first, readTo(t, slow, 1000)...)
		mustEqual(t, got, l.want(-1))
		reads := l.calls.read
		l.store(1, 1000, true)
		rest, err := readAll(t.Context(), slow)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, rest, l.want(1000))
		if l.calls.read != reads {
			t.Error("it reads the log although it has caught up")
		}
	})
}

// Only so many laggards read at a time, and a batch of each is bounded, so that none of them starves another.
func TestLag_IsBudgeted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		for i := range 300 {
			l.store(1, 1000, i == 299)
		}
		reads := &countedReads{log: l}
		h := open(t, reads, Config{HubBytes: 1, Laggards: 2, LagBytes: 10 << 10})
		mustFollow(t, h, 298)
		l.set(func() { l.faults.readDelay = time.Second })
		done := make(chan error)
		for range 20 {
			f := mustFollow(t, h, -1)
			go func() {
				for f.Seq() < 200 {
					b, err := f.Next(t.Context())
					if err == nil && len(b) > 12<<10 {
						err = errors.New("batch is too large")
					}
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if reads.most != 2 {
			t.Errorf("%d read at a time, want 2", reads.most)
		}
	})
}

// A laggard whose next event is nowhere any more is cut, and told when it comes back.
func TestLag_EndsWhereTheLogHasNoMore(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*log){
		"aged away":     func(l *log) { l.records = nil },
		"head is gone":  func(l *log) { l.records = l.records[50:] },
		"record damage": func(l *log) { l.records[10].Frames = l.records[11].Frames },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				for range 100 {
					l.store(1, 1000, false)
				}
				h := open(t, l, Config{HubBytes: 1, LagBytes: 1, QuietMin: time.Hour, QuietMax: time.Hour})
				mustFollow(t, h, 98) // the hub has read it all, and dropped the head
				f := mustFollow(t, h, 9)
				l.set(func() { lose(l) })
				if _, err := f.Next(t.Context()); !errors.Is(err, ErrCut) {
					t.Fatalf("got %v, want ErrCut", err)
				}
				if _, err := h.Follow(t.Context(), ref, 9); !errors.Is(err, ErrExpired) {
					t.Errorf("follow again: %v, want ErrExpired", err)
				}
				mustFollow(t, h, 98)
			})
		})
	}
}

// Closing does not wait for a laggard's slow read.
func TestLag_EndsWithTheHub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		for range 100 {
			l.store(1, 1000, false)
		}
		h := New(l, Config{HubBytes: 1})
		mustFollow(t, h, 98) // the hub has read it all, and dropped the head
		f := mustFollow(t, h, -1)
		l.set(func() { l.faults.readDelay = 1000 * time.Hour })
		start := time.Now()
		time.AfterFunc(time.Second, h.Close)
		if _, err := f.Next(t.Context()); !errors.Is(err, ErrCut) {
			t.Errorf("got %v, want ErrCut", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A laggard goes on where its last batch ended: no record is read twice, but for those in front of its first.
func TestLag_ReadsARecordOnce(t *testing.T) {
	t.Parallel()
	l := newLog()
	for i := range 300 {
		l.store(1, 1000, i == 299)
	}
	reads := &countedReads{log: l}
	h := open(t, reads, Config{HubBytes: 1, LagBytes: 1})
	mustFollow(t, h, 298)
	reads.yielded = 0
	if got := readTo(t, mustFollow(t, h, 120), 200); len(got) == 0 {
		t.Fatal("nothing was read")
	}
	if most := 80 + segmentMax/1000; reads.yielded > most {
		t.Errorf("%d records were read for 80", reads.yielded)
	}
}

// countedReads notes how many read at a time, and how much.
type countedReads struct {
	*log
	mu                 sync.Mutex
	now, most, yielded int
}

func (c *countedReads) Read(ctx context.Context, r schema.Ref, after, upto uint64, yield func(Record) error) error {
	c.count(1)
	defer c.count(-1)
	return c.log.Read(ctx, r, after, upto, func(rec Record) error {
		c.mu.Lock()
		c.yielded++
		c.mu.Unlock()
		return yield(rec)
	})
}

func (c *countedReads) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}
