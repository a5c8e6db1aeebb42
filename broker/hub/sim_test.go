package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// scenario is one history of a response on two nodes, drawn before it is run.
type scenario struct {
	seed    uint64
	records []step
	readers []reader
	faults  faults
	away    [2]time.Duration // from when to when the leader does not answer
	nudges  []time.Duration
	sealed  time.Duration // how long after the terminal event
	bounds  Config
}

// step is a record and how long after the one before it is stored.
type step struct {
	frames, size int
	after        time.Duration
}

// reader is a client: when it comes, how slow it is, and after how many pieces it breaks off and comes back.
type reader struct {
	at, pace time.Duration
	breaks   int
	skip     int64 // its first cursor, as far as there are events then
}

func drawScenario(t *rapid.T) *scenario {
	gap := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 30 * time.Millisecond, 900 * time.Millisecond, 4 * time.Second, 40 * time.Second})
	percent := rapid.SampledFrom([]int{0, 0, 10, 30, 60})
	delay := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 50 * time.Millisecond, 2 * time.Second})
	s := &scenario{
		seed: rapid.Uint64().Draw(t, "seed"),
		records: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				rapid.SampledFrom([]int{0, 1, 1, 1, 2, 5, 16}).Draw(t, "frames"),
				rapid.SampledFrom([]int{0, 20, 300, 3000}).Draw(t, "size"),
				gap.Draw(t, "after"),
			}
		}), 1, 60).Draw(t, "records"),
		readers: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) reader {
			return reader{
				gap.Draw(t, "at"), gap.Draw(t, "pace"), rapid.IntRange(1, 9).Draw(t, "breaks"),
				rapid.Int64Range(-1, 80).Draw(t, "skip"),
			}
		}), 1, 6).Draw(t, "readers"),
		faults: faults{
			drop: percent.Draw(t, "drop"), repeat: percent.Draw(t, "repeat"), stale: percent.Draw(t, "stale"),
			broken: percent.Draw(t, "broken"), liveDelay: delay.Draw(t, "live delay"), readDelay: delay.Draw(t, "read delay"),
		},
		nudges: rapid.SliceOfN(gap, 0, 3).Draw(t, "nudges"),
		sealed: gap.Draw(t, "sealed"),
		bounds: Config{
			HubBytes:  rapid.SampledFrom([]int{1, 8 << 10, 8 << 20}).Draw(t, "hub bytes"),
			NodeBytes: rapid.SampledFrom([]int{1, 64 << 10, 512 << 20}).Draw(t, "node bytes"),
			LagBytes:  rapid.SampledFrom([]int{1, 4 << 10, 64 << 10}).Draw(t, "lag bytes"),
			Laggards:  rapid.IntRange(1, 2).Draw(t, "laggards"),
		},
	}
	s.away[0] = gap.Draw(t, "leader away at")
	s.away[1] = s.away[0] + rapid.SampledFrom([]time.Duration{0, time.Second, 9 * time.Second, 40 * time.Second}).Draw(t, "for")
	return s
}

// Whatever live delivery loses, repeats or delays, however stale the replicas, slow the readers, small the bounds and
// long the leader is away: a client that comes back with its last event's number, on either node, gets exactly the bytes
// of the log from its first cursor on, once, in order, the terminal event last. Nobody is cut, nobody is refused.
func TestFollow_ExactlyOnceInOrderUnderFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		var err error
		// rapid must not be spoken to from within the bubble: its failures are panics of its own goroutine.
		synctest.Test(t, func(*testing.T) { err = s.run() })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func (s *scenario) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Hour)
	defer cancel()
	l, start := newLog(), time.Now()
	l.rnd, l.faults = rand.New(rand.NewPCG(s.seed, 1)), s.faults
	l.faults.noLeader = func() bool { t := time.Since(start); return t >= s.away[0] && t < s.away[1] }
	nodes := []*Hubs{New(l, s.bounds), New(l, s.bounds)}
	l.store(1, 20, false)
	go s.write(ctx, l)
	go s.nudge(ctx, nodes)
	errs := make(chan error)
	for i, r := range s.readers {
		go func() {
			err := r.run(ctx, l, nodes)
			if err != nil {
				err = fmt.Errorf("reader %d after %v: %w", i, time.Since(start), err)
			}
			errs <- err
		}()
	}
	var all []error
	for range s.readers {
		all = append(all, <-errs)
	}
	cancel()
	for _, h := range nodes {
		h.Close()
		if n := h.bytes.Load(); n != 0 {
			all = append(all, fmt.Errorf("%d bytes are kept after close", n))
		}
	}
	return errors.Join(all...)
}

func (s *scenario) write(ctx context.Context, l *log) {
	for i, r := range s.records {
		end := i == len(s.records)-1
		if sleep(ctx, r.after, nil) != nil {
			return
		}
		if end {
			r.frames = max(r.frames, 1)
		}
		l.store(r.frames, r.size, end)
	}
	if sleep(ctx, s.sealed, nil) == nil {
		l.seal()
	}
}

func (s *scenario) nudge(ctx context.Context, nodes []*Hubs) {
	for i, at := range s.nudges {
		if sleep(ctx, at, nil) != nil {
			return
		}
		nodes[i%2].Nudge()
	}
}

func (r *reader) run(ctx context.Context, l *log, nodes []*Hubs) error {
	if err := sleep(ctx, r.at, nil); err != nil {
		return err
	}
	first := min(r.skip, l.last())
	var got []byte
	for visit, after, ended := 0, first, false; !ended; visit++ {
		f, err := nodes[visit%2].Follow(ctx, ref, after)
		if err != nil {
			if err := transient(ctx, err); err != nil {
				return err
			}
			continue
		}
		var b []byte
		b, ended, err = r.visit(ctx, f)
		got, after = append(got, b...), f.Seq()
		f.Close()
		if err != nil {
			return err
		}
	}
	if want := l.want(first); !bytes.Equal(got, want) {
		return fmt.Errorf("got %d bytes behind %d, want %d", len(got), first, len(want))
	}
	return nil
}

// visit reads until it breaks off or the response has ended.
func (r *reader) visit(ctx context.Context, f *Follower) (got []byte, ended bool, err error) {
	if f.Ended() {
		_, err := f.Next(ctx)
		if err != io.EOF {
			return nil, false, fmt.Errorf("ended, and then: %w", err)
		}
		return nil, true, nil
	}
	for range r.breaks {
		b, err := f.Next(ctx)
		if err == io.EOF {
			return got, true, nil
		}
		if err != nil {
			return got, false, err
		}
		got = append(got, b...)
		if err := sleep(ctx, r.pace, nil); err != nil {
			return got, false, err
		}
	}
	return got, false, nil
}

// transient lets through what a client would retry: log, archive or leader could not be reached.
func transient(ctx context.Context, err error) error {
	for _, final := range []error{ErrNotFound, ErrGone, ErrExpired, ErrCut} {
		if errors.Is(err, final) {
			return err
		}
	}
	if _, refused := errors.AsType[*CursorError](err); refused {
		return err
	}
	return sleep(ctx, time.Second, nil)
}
