package hub

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// Whoever reconnects, at whatever event, gets the same bytes as who never left, from hub, log and archive alike.
func TestFollow_ReconnectAtEveryIDYieldsTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"log", "archive"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			l := newLog()
			for i := range 100 {
				l.store(1+i%4, 200, i == 99)
			}
			if from == "archive" {
				l.seal()
				l.records = nil
			}
			h := open(t, l, Config{})
			whole, err := readAll(t.Context(), mustFollow(t, h, -1))
			if err != nil {
				t.Fatal(err)
			}
			rest := whole
			for seq := int64(-1); len(rest) > 0; seq++ {
				got, err := readAll(t.Context(), mustFollow(t, h, seq))
				if err != nil {
					t.Fatalf("behind %d: %v", seq, err)
				}
				mustEqual(t, got, rest)
				_, rest, err = schema.CutFrame(rest)
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Section 6 of the design: what a cursor is answered.
func TestFollow_AnswersCursors(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		ended bool
		after int64
		last  int64 // of the CursorError; -1 for none
		takes time.Duration
	}{
		{"start of a live response", false, -1, -1, 0},
		{"inside a live response", false, 3, -1, 0},
		{"at the end of a live response", false, 9, -1, 0},
		{"beyond the end of a live response", false, 10, 9, 2 * time.Second},
		{"far beyond the end of a live response", false, 1 << 52, 9, 2 * time.Second},
		{"inside an ended response", true, 3, -1, 0},
		{"at the terminal event", true, 9, -1, 0},
		{"beyond the terminal event", true, 10, 9, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				l.store(1, 10, false)
				l.store(9, 10, c.ended)
				h := open(t, l, Config{})
				start := time.Now()
				f, err := h.Follow(t.Context(), ref, c.after)
				if took := time.Since(start); took != c.takes {
					t.Errorf("took %v, want %v", took, c.takes)
				}
				if beyond, ok := errors.AsType[*CursorError](err); ok {
					if beyond.Last != c.last {
						t.Fatalf("refused with last %d, want %d", beyond.Last, c.last)
					}
					return
				}
				if err != nil || c.last >= 0 {
					t.Fatalf("error %v, want a refusal with %d", err, c.last)
				}
				defer f.Close()
				if want := c.ended && c.after == 9; f.Ended() != want {
					t.Errorf("ended is %v", f.Ended())
				}
				mustEqual(t, readTo(t, f, 9), l.want(c.after))
			})
		})
	}
}

// A cursor from another node may be ahead of what the leader tells: it is judged again, and served when the event comes.
func TestFollow_WaitsForACursorThatIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(3, 10, false)
		l.faults.drop = 100
		h := open(t, l, Config{})
		time.AfterFunc(1500*time.Millisecond, func() { l.store(2, 10, false) })
		f := mustFollow(t, h, 3)
		mustEqual(t, readTo(t, f, 4), l.want(3))
	})
}

// When the leader cannot be asked, a cursor is not refused for good: the error is none of the contract's.
func TestFollow_DoesNotJudgeACursorWithoutTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(3, 10, false)
		h := open(t, l, Config{})
		mustFollow(t, h, -1)
		l.set(func() { l.faults.noLeader = func() bool { return true } })
		_, err := h.Follow(t.Context(), ref, 7)
		if _, refused := errors.AsType[*CursorError](err); err == nil || refused {
			t.Fatalf("got %v", err)
		}
	})
}

// What is nowhere is not found; what was erased is gone; what lacks its head has expired; an old cursor is none of these
// as long as the archive has it all.
func TestFollow_TellsAbsencesApart(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		make func(*log)
		want error
	}{
		{"nothing", func(*log) {}, ErrNotFound},
		{"erased", func(l *log) { l.store(2, 10, true); l.gone = true }, ErrGone},
		{"head aged away", func(l *log) { l.store(2, 10, false); l.store(2, 10, false); l.records = l.records[1:] }, ErrExpired},
		{"log aged away, sealed", func(l *log) { l.store(2, 10, true); l.seal(); l.records = nil }, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				c.make(l)
				h := open(t, l, Config{})
				for range 2 {
					f, err := h.Follow(t.Context(), ref, -1)
					if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
						t.Fatalf("follow: %v, want %v", err, c.want)
					}
					if _, err := h.Fold(t.Context(), ref); c.want != nil && !errors.Is(err, c.want) {
						t.Fatalf("fold: %v, want %v", err, c.want)
					}
					if f != nil {
						f.Close()
					}
				}
				if n := counted(t, h.metrics.holes); n != 0 {
					t.Errorf("%v alarms for what is no damage", n)
				}
			})
		})
	}
}

// A reader that came too early does not spoil it for the creator: who comes after the request record is stored finds it.
func TestFollow_FindsWhatWasStoredWhileOthersSearched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		tip := make(chan struct{})
		h := open(t, &slowTip{log: l, answer: tip}, Config{})
		early := make(chan error)
		go func() {
			_, err := h.Follow(t.Context(), ref, -1)
			early <- err
		}()
		synctest.Wait() // the early reader's hub was told that there is nothing, and has yet to hear it
		l.faults.drop = 100
		l.store(1, 10, false)
		late := make(chan error)
		go func() {
			f, err := h.Follow(t.Context(), ref, -1)
			if err == nil {
				f.Close()
			}
			late <- err
		}()
		synctest.Wait()
		close(tip)
		if err := <-early; !errors.Is(err, ErrNotFound) {
			t.Fatalf("early reader: %v", err)
		}
		if err := <-late; err != nil {
			t.Fatalf("late reader: %v", err)
		}
	})
}

// slowTip gives its answers late.
type slowTip struct {
	*log
	answer chan struct{}
}

func (s *slowTip) Tip(ctx context.Context, r schema.Ref) (uint64, error) {
	tip, err := s.log.Tip(ctx, r)
	<-s.answer
	return tip, err
}

// However many come at once, a response is opened once.
func TestFollow_OpensOneHub(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(5, 10, true)
	h := open(t, l, Config{})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			f, err := h.Follow(t.Context(), ref, -1)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if _, err := readAll(t.Context(), f); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c := l.calls; c.live != 1 || c.tip != 1 || c.sealed != 1 {
		t.Errorf("asked the source %+v times", c)
	}
}

// A finished response never touches the log: reading it there would slow the writers of others.
func TestFollow_ReadsTheArchiveOfAFinishedResponse(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(1000, 500, true)
	l.seal()
	h := open(t, l, Config{HubBytes: 4 << 10})
	got, err := readAll(t.Context(), mustFollow(t, h, -1))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, got, l.sealed)
	if l.calls.tip+l.calls.read > 0 {
		t.Errorf("asked the log %+v times", l.calls)
	}
}

// A thousand readers of one response each get all of it.
func TestFollow_ThousandFollowers(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(1, 100, false)
	h := open(t, l, Config{})
	var wg sync.WaitGroup
	got := make([][]byte, 1000)
	for i := range got {
		f := mustFollow(t, h, -1)
		wg.Go(func() {
			var err error
			if got[i], err = readAll(t.Context(), f); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 200 {
		l.store(1+i%3, 100, i == 199)
	}
	wg.Wait()
	want := l.want(-1)
	for _, b := range got {
		mustEqual(t, b, want)
	}
}

// Closing cuts who still reads, at once, and never ends a stream cleanly that has not ended.
func TestClose_CutsFollowers(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(2, 10, false)
	h := New(l, Config{})
	errs := make(chan error)
	for range 10 {
		f := mustFollow(t, h, -1)
		go func() {
			_, err := readAll(t.Context(), f)
			errs <- err
		}()
	}
	h.Close()
	for range 10 {
		if err := <-errs; !errors.Is(err, ErrCut) || errors.Is(err, io.EOF) {
			t.Errorf("got %v, want ErrCut", err)
		}
	}
	if _, err := h.Follow(t.Context(), ref, -1); !errors.Is(err, ErrCut) {
		t.Errorf("follow after close: %v", err)
	}
	if n := len(l.live); n != 0 {
		t.Errorf("%d live deliveries are left", n)
	}
	h.Close()
}

// After an erasure was announced nobody is served another byte from memory, and the next reader is told.
func TestDrop_ForgetsTheErased(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.store(2, 10, true)
	h := open(t, l, Config{})
	f := mustFollow(t, h, -1)
	l.set(func() { l.gone = true })
	h.Drop(ref)
	if b, err := f.Next(t.Context()); !errors.Is(err, ErrCut) {
		t.Errorf("next: %q, %v", b, err)
	}
	if _, err := h.Follow(t.Context(), ref, -1); !errors.Is(err, ErrGone) {
		t.Errorf("follow: %v", err)
	}
	if n := h.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are still kept", n)
	}
}

// A reader that gives up is not held: Follow and Next end with their context.
func TestFollow_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.store(2, 10, false)
		h := open(t, l, Config{})
		f := mustFollow(t, h, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		left := errors.New("client left")
		time.AfterFunc(time.Second, func() { cancel(left) })
		if _, err := f.Next(ctx); !errors.Is(err, left) {
			t.Errorf("next: %v", err)
		}
		if _, err := h.Follow(ctx, ref, 7); !errors.Is(err, left) {
			t.Errorf("follow: %v", err)
		}
	})
}
