package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/midstream-dev/midstream/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a Source in memory: one response, with the faults that JetStream has. All of it is truth that the leader knows;
// faults decide what readers get to see of it.
type log struct {
	mu      sync.Mutex
	records []Record
	sealed  []byte
	gone    bool
	live    map[int]func(Record)
	subs    int
	faults  faults
	rnd     *rand.Rand
	calls   struct{ live, tip, read, sealed int }
	asked   []time.Time
}

// faults are chances in percent, and bounds of delays.
type faults struct {
	drop, repeat, stale, broken int
	liveDelay, readDelay        time.Duration
	noLeader                    func() bool // the leader does not answer
	missing                     uint64      // a record that no read and no live delivery brings
}

func newLog() *log {
	return &log{live: map[int]func(Record){}, rnd: rand.New(rand.NewPCG(1, 2))}
}

func (l *log) chance(percent int) bool { return percent > 0 && l.rnd.IntN(100) < percent }

func (l *log) delay(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(l.rnd.Int64N(int64(most)))
}

// frame returns one frame with so many bytes of content.
func frame(t schema.EventType, seq int64, size int) []byte {
	text := strings.Repeat("x", size)
	b, err := schema.AppendFrame(nil, &schema.Event{Type: t, SequenceNumber: seq, Delta: &text})
	if err != nil {
		panic(err)
	}
	return b
}

// store appends a record of n frames, the last terminal if end, and delivers it live as the faults allow.
func (l *log) store(n, size int, end bool) Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec := Record{Position: uint64(10 + 3*len(l.records))}
	if i := len(l.records); i > 0 {
		rec.Previous, rec.First = l.records[i-1].Position, l.records[i-1].Last+1
	}
	rec.Last = rec.First + int64(n) - 1
	for seq := rec.First; seq <= rec.Last; seq++ {
		t := schema.TextDelta
		if end && seq == rec.Last {
			t = schema.Completed
		}
		rec.Frames = append(rec.Frames, frame(t, seq, size)...)
	}
	l.records = append(l.records, rec)
	l.publish(rec)
	return rec
}

// publish delivers a record to whoever subscribes now. The lock is held, so that deliveries without a delay stay in order.
func (l *log) publish(rec Record) {
	times := 1
	if l.chance(l.faults.drop) || rec.Position == l.faults.missing {
		times = 0
	} else if l.chance(l.faults.repeat) {
		times = 2
	}
	for id, deliver := range l.live {
		for range times {
			l.deliverTo(id, deliver, rec)
		}
	}
}

func (l *log) deliverTo(id int, deliver func(Record), rec Record) {
	d := l.delay(l.faults.liveDelay)
	if d == 0 {
		deliver(rec)
		return
	}
	time.AfterFunc(d, func() {
		l.mu.Lock()
		_, on := l.live[id]
		l.mu.Unlock()
		if on {
			deliver(rec)
		}
	})
}

func (l *log) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = l.bytes(0)
}

// bytes returns the frames from seq on.
func (l *log) bytes(seq int64) []byte {
	var all []byte
	for _, rec := range l.records {
		all = append(all, rec.Frames...)
	}
	for ; seq > 0; seq-- {
		_, rest, err := schema.CutFrame(all)
		if err != nil {
			panic(err)
		}
		all = rest
	}
	return all
}

func (l *log) want(after int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes(after + 1)
}

func (l *log) last() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		return -1
	}
	return l.records[len(l.records)-1].Last
}

func (l *log) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *log) Live(_ schema.Ref, deliver func(Record)) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.live++
	if l.chance(l.faults.broken) {
		return nil, errors.New("no connection")
	}
	l.subs++
	id := l.subs
	l.live[id] = deliver
	return func() { l.set(func() { delete(l.live, id) }) }, nil
}

func (l *log) Tip(ctx context.Context, _ schema.Ref) (uint64, error) {
	l.mu.Lock()
	l.calls.tip++
	l.asked = append(l.asked, time.Now())
	away := l.faults.noLeader != nil && l.faults.noLeader()
	d := l.delay(l.faults.readDelay)
	l.mu.Unlock()
	if away {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if err := sleep(ctx, d, nil); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		return 0, nil
	}
	return l.records[len(l.records)-1].Position, nil
}

func (l *log) Read(ctx context.Context, _ schema.Ref, after, upto uint64, yield func(Record) error) error {
	l.mu.Lock()
	l.calls.read++
	records := slices.Clone(l.records)
	if l.chance(l.faults.stale) {
		records = records[:l.rnd.IntN(len(records)+1)]
	}
	stop := len(records)
	if l.chance(l.faults.broken) {
		stop = l.rnd.IntN(stop + 1)
	}
	d, missing := l.delay(l.faults.readDelay), l.faults.missing
	l.mu.Unlock()
	for i, rec := range records {
		switch {
		case i >= stop:
			return errors.New("connection lost")
		case rec.Position <= after || rec.Position > upto || rec.Position == missing:
			continue
		}
		if err := sleep(ctx, d/time.Duration(len(records)), nil); err != nil {
			return err
		}
		rec.Previous = 0 // a batch read knows only its own
		if err := yield(rec); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	return nil
}

func (l *log) Sealed(context.Context, schema.Ref) ([]byte, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.sealed++
	switch {
	case l.gone:
		return nil, false, ErrGone
	case l.chance(l.faults.broken):
		return nil, false, errors.New("no responders")
	}
	return l.sealed, l.sealed != nil, nil
}

var ref = mustRef("tenant", "resp_1")

func mustRef(tenant, response string) schema.Ref {
	r, err := schema.NewRef(tenant, response)
	if err != nil {
		panic(err)
	}
	return r
}

// open returns hubs that are closed at the end of the test.
func open(tb testing.TB, src Source, cfg Config) *Hubs {
	h := New(src, cfg)
	tb.Cleanup(h.Close)
	return h
}

func mustFollow(tb testing.TB, h *Hubs, after int64) *Follower {
	tb.Helper()
	f, err := h.Follow(tb.Context(), ref, after)
	if err != nil {
		tb.Fatalf("follow behind %d: %v", after, err)
	}
	tb.Cleanup(f.Close)
	return f
}

// readTo reads until sequence number last was handed out.
func readTo(tb testing.TB, f *Follower, last int64) []byte {
	tb.Helper()
	var got []byte
	for f.Seq() < last {
		b, err := f.Next(tb.Context())
		if err != nil {
			tb.Fatalf("next behind %d: %v", f.Seq(), err)
		}
		got = append(got, b...)
	}
	return got
}

// readAll reads to the terminal event.
func readAll(ctx context.Context, f *Follower) ([]byte, error) {
	var got []byte
	for {
		b, err := f.Next(ctx)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, b...)
	}
}

// mustEqual compares frames by length first: a diff of half a megabyte tells nobody anything.
func mustEqual(tb testing.TB, got, want []byte) {
	tb.Helper()
	if !bytes.Equal(got, want) {
		tb.Fatalf("got %d bytes beginning %.60q, want %d beginning %.60q", len(got), got, len(want), want)
	}
}
