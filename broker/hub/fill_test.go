package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

// A record that live delivery lost is found after a second of silence, also when it was the last.
func TestHub_FindsWhatLiveDeliveryLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 10, false)
		f := mustFollow(t, open(t, l, Config{}), 0)
		l.set(func() { l.faults.drop = 100 })
		l.store(2, 10, true)
		start := time.Now()
		got, err := readAll(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, l.want(0))
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Silence is asked about after 1, 2, 4, 8, 15, 15 … seconds; a record starts the measure again, a nudge asks at once, and
// after the terminal event nobody asks.
func TestHub_AsksLessAndLessInSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 10, false)
		h := open(t, l, Config{})
		f := mustFollow(t, h, -1)
		start := time.Now()
		time.AfterFunc(50*time.Second, func() { l.store(1, 10, false) })
		time.AfterFunc(52*time.Second, h.Nudge)
		time.AfterFunc(53*time.Second, func() { l.store(1, 10, true) })
		readTo(t, f, 2)
		_ = sleep(t.Context(), 10*time.Second, nil)
		var asked []float64
		for _, at := range l.asked {
			asked = append(asked, at.Sub(start).Seconds())
		}
		want := []float64{0, 1, 3, 7, 15, 30, 45, 51, 52}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("seconds of questions (-want +got):\n%s", diff)
		}
	})
}

// A hole is read again for as long as patience lasts: if it closes, nobody notices.
func TestHub_WaitsForAHoleToClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		for i := range 5 {
			l.store(1, 10, i == 4)
		}
		l.faults.missing = l.records[2].Position
		h := open(t, l, Config{})
		time.AfterFunc(4*time.Second, func() { l.set(func() { l.faults.missing = 0 }) })
		got, err := readAll(t.Context(), mustFollow(t, h, -1))
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, l.want(-1))
	})
}

// A hole that stays cuts readers behind the last event in front of it, sends later ones away as expired, and alarms, once.
func TestHub_CutsReadersAtAHole(t *testing.T) {
	t.Parallel()
	for _, seen := range []string{"live", "replayed"} {
		t.Run(seen, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				var out bytes.Buffer
				reg := prometheus.NewRegistry()
				h := open(t, l, Config{Metrics: reg, Logger: slog.New(slog.NewTextHandler(&out, nil))})
				l.faults.missing = 16
				l.store(1, 10, false)
				if seen == "live" {
					mustFollow(t, h, -1)
				}
				for range 4 {
					l.store(1, 10, false)
				}
				f := mustFollow(t, h, -1)
				got, err := readAll(t.Context(), f)
				if !errors.Is(err, ErrCut) || errors.Is(err, io.EOF) {
					t.Fatalf("reader got %v, want ErrCut", err)
				}
				if f.Seq() != 1 || bytes.Count(got, []byte("\n\n")) != 2 {
					t.Errorf("reader was cut behind %d with %q", f.Seq(), got)
				}
				for after := range int64(3) {
					if _, err := h.Follow(t.Context(), ref, after); !errors.Is(err, ErrExpired) {
						t.Errorf("follow behind %d: %v, want ErrExpired", after, err)
					}
				}
				if n := counted(t, h.metrics.holes); n != 1 {
					t.Errorf("%v holes counted", n)
				}
				if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
					t.Errorf("%d alarms in:\n%s", n, &out)
				}
			})
		})
	}
}

// A record that lies about its frames is as good as a hole: its bytes are served to nobody.
func TestHub_ServesNoDamagedRecord(t *testing.T) {
	t.Parallel()
	first := frame("response.created", 0, 5)
	cases := map[string]Record{
		"number repeated":      {First: 1, Last: 1, Frames: frame("x", 0, 5)},
		"number skipped":       {First: 1, Last: 1, Frames: frame("x", 2, 5)},
		"header behind":        {First: 0, Last: 0, Frames: frame("x", 0, 5)},
		"header counts more":   {First: 1, Last: 2, Frames: frame("x", 1, 5)},
		"header counts less":   {First: 1, Last: 0, Frames: frame("x", 1, 5)},
		"frame cut off":        {First: 1, Last: 1, Frames: frame("x", 1, 5)[:20]},
		"rubbish":              {First: 1, Last: 1, Frames: []byte("rubbish\n\n")},
		"event after terminal": {First: 1, Last: 2, Frames: append(frame("response.failed", 1, 5), frame("x", 2, 5)...)},
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				l.records = []Record{{Position: 10, Frames: first}}
				h := open(t, l, Config{})
				f := mustFollow(t, h, -1)
				bad.Position, bad.Previous = 13, 10
				l.set(func() {
					l.records = append(l.records, bad)
					l.publish(bad)
				})
				got, err := readAll(t.Context(), f)
				if !errors.Is(err, ErrCut) {
					t.Errorf("got %v, want ErrCut", err)
				}
				mustEqual(t, got, first)
			})
		})
	}
}

// An archive that is damaged is served to nobody.
func TestHub_ServesNoDamagedArchive(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(3, 10, true)
	l.sealed = l.bytes(0)[:len(l.bytes(0))-20]
	h := open(t, l, Config{})
	if _, err := h.Follow(t.Context(), ref, -1); !errors.Is(err, ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
	if n := counted(t, h.metrics.holes); n != 1 {
		t.Errorf("%v holes counted", n)
	}
}

// When age has emptied the log of a response that never ended, its readers do not wait for ever.
func TestHub_CutsReadersOfAVanishedLog(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("hub is behind=%v", behind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				l.store(1, 10, false)
				h := open(t, l, Config{})
				f := mustFollow(t, h, -1)
				if behind {
					l.set(func() { l.faults.missing = 13 })
					l.store(1, 10, false)
					h.Nudge()
					synctest.Wait()
				}
				l.set(func() { l.records = nil })
				if _, err := readAll(t.Context(), f); !errors.Is(err, ErrCut) {
					t.Errorf("got %v, want ErrCut", err)
				}
				if _, err := h.Follow(t.Context(), ref, 0); !errors.Is(err, ErrExpired) {
					t.Errorf("follow: %v, want ErrExpired", err)
				}
			})
		})
	}
}

// A leader that is away for an election delays readers; one that stays away is an error that may be retried.
func TestHub_OutwaitsAnElection(t *testing.T) {
	t.Parallel()
	for away, want := range map[time.Duration]bool{9 * time.Second: true, time.Hour: false} {
		t.Run(away.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				l.store(2, 10, true)
				back := time.Now().Add(away)
				l.faults.noLeader = func() bool { return time.Now().Before(back) }
				h := open(t, l, Config{})
				start := time.Now()
				_, err := h.Follow(t.Context(), ref, -1)
				if took := time.Since(start); (err == nil) != want || took > h.cfg.OpenPatience {
					t.Errorf("after %v: %v", took, err)
				}
				if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCut) {
					t.Errorf("error is final: %v", err)
				}
			})
		})
	}
}

// Many live records in front of a gap are not kept without bound: what does not fit is read from the log.
func TestHub_HoldsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 10, false)
		l.faults.readDelay = 10 * time.Second
		h := open(t, l, Config{})
		go func() {
			for i := range 3 * heldRecords {
				l.store(1, 5000, i == 3*heldRecords-1)
			}
		}()
		f := mustFollow(t, h, -1)
		got, err := readAll(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, l.want(-1))
		if n := len(f.hub.held); n > 0 || f.hub.heldSize != 0 {
			t.Errorf("%d records of %d bytes are still held", n, f.hub.heldSize)
		}
	})
}

// What was read while records were held does not keep later ones from being held: each gap costs one read.
func TestHub_ReadsAGapOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 10, false)
		pass := make(chan struct{})
		h := open(t, &gatedReads{log: l, pass: pass}, Config{})
		followed := make(chan *Follower)
		go func() { followed <- mustFollow(t, h, -1) }()
		synctest.Wait() // in the first read
		for range heldRecords + 50 {
			l.store(1, 10, false)
		}
		pass <- struct{}{}
		synctest.Wait() // in the second, for those 50 that could not be held
		for i := range 50 {
			l.store(1, 10, i == 49)
		}
		pass <- struct{}{}
		got, err := readAll(t.Context(), <-followed)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, l.want(-1))
	})
}

// gatedReads knows at once what is there, and yields it when it may pass.
type gatedReads struct {
	*log
	pass chan struct{}
}

func (g *gatedReads) Read(ctx context.Context, r schema.Ref, after, upto uint64, yield func(Record) error) error {
	var there []Record
	err := g.log.Read(ctx, r, after, upto, func(rec Record) error {
		there = append(there, rec)
		return nil
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-g.pass:
	}
	for _, rec := range there {
		if err := yield(rec); err != nil {
			return err
		}
	}
	return err
}

// A log that cannot be read to its tip is no hole: readers wait, an operator is warned once, and reading goes on.
func TestHub_WarnsOfALogThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(1, 10, false)
		var out bytes.Buffer
		h := open(t, l, Config{Logger: slog.New(slog.NewTextHandler(&out, nil))})
		f := mustFollow(t, h, 0)
		l.set(func() { l.faults.missing = 13 })
		l.store(1, 10, true)
		time.AfterFunc(time.Minute, func() { l.set(func() { l.faults.missing = 0 }) })
		if _, err := readAll(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings in:\n%s", n, &out)
		}
	})
}

func counted(tb testing.TB, c prometheus.Collector) float64 {
	tb.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}
