package hub

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// hub is one response in memory.
type hub struct {
	ref    schema.Ref
	hubs   *Hubs
	ctx    context.Context // of the hub's own work, not of any reader
	cancel context.CancelFunc
	kick   chan struct{}          // tells the hub's goroutine to look again
	folds  chan struct{}          // one fold at a time
	folded atomic.Pointer[folded] // the last one

	expected bool // the response had not begun when the hub was made

	torn, stuck, empty doubt // of the hub's goroutine: there is a hole, nothing can be read, the log is empty

	readers   int           // guarded by Hubs.mu, as the next two
	idleSince time.Time     // when the last reader left
	idle      *list.Element // in Hubs.idle, where there are no readers

	mu       sync.RWMutex // guards all below
	window   window
	position uint64 // the log is taken in up to here,
	target   uint64 // and known to reach to here at least
	opened   bool   // a tip or an archive was found
	held     map[uint64]Record
	heldSize int
	touched  time.Time     // when the last record was taken
	asked    time.Time     // when the tip was last asked
	quiet    time.Duration // how much silence until it is asked again
	nudged   bool
	lost     int64 // cursors below it are expired: what is behind them is neither here nor in the log
	err      error // why nothing more will come, other than the terminal event
	closed   bool
	wake     chan struct{} // closed when anything changed, if somebody waits
	waiting  atomic.Bool
}

func newHub(hubs *Hubs, ref schema.Ref) *hub {
	h := &hub{
		ref: ref, hubs: hubs, kick: make(chan struct{}, 1), folds: make(chan struct{}, 1),
		held: map[uint64]Record{}, quiet: hubs.cfg.QuietMin, wake: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(hubs.ctx)
	return h
}

// deliver takes in a live record. It never blocks for long: what cannot be taken at once is held or left to the log.
func (h *hub) deliver(rec Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over() || rec.Position <= max(h.position, rec.Previous) {
		return
	}
	h.target = max(h.target, rec.Position)
	begins := h.expected && rec.Previous == 0
	if (h.opened || begins) && rec.Previous == h.position && h.take(rec) == nil {
		h.opened = true
		h.signal()
		return
	}
	h.hold(rec)
	h.prod()
}

// hold keeps a live record until the log in front of it has been read. One that does not fit is read as well.
func (h *hub) hold(rec Record) {
	full := func() bool { return len(h.held) >= heldRecords || h.heldSize+len(rec.Frames) > heldBytes }
	if full() {
		h.prune()
	}
	if _, twice := h.held[rec.Previous]; twice || full() {
		return
	}
	h.held[rec.Previous] = rec
	h.heldSize += len(rec.Frames)
}

// prune lets go of the held records that were read from the log meanwhile.
func (h *hub) prune() {
	for previous, rec := range h.held {
		if rec.Position <= h.position {
			delete(h.held, previous)
			h.heldSize -= len(rec.Frames)
		}
	}
}

// read takes in a record that was read from the log behind the position.
func (h *hub) read(rec Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over() || rec.Position <= h.position {
		return nil
	}
	if err := h.take(rec); err != nil {
		return err
	}
	h.opened = true
	h.signal()
	return nil
}

// take adds the next record, and the held ones that follow it. Its error is the *hole in front of rec.
func (h *hub) take(rec Record) error {
	if err := h.add(rec); err != nil {
		return err
	}
	h.takeHeld()
	h.touched = time.Now()
	if h.quiet > h.hubs.cfg.QuietMin { // the goroutine sleeps by the old measure
		h.quiet = h.hubs.cfg.QuietMin
		h.prod()
	}
	return nil
}

func (h *hub) takeHeld() {
	for len(h.held) > 0 && !h.over() {
		rec, ok := h.held[h.position]
		if !ok || h.add(rec) != nil {
			break
		}
	}
	if len(h.held) > 0 && h.position >= h.target {
		h.prune()
	}
}

func (h *hub) add(rec Record) error {
	size := h.window.size
	if err := h.window.add(rec, h.position); err != nil {
		return err
	}
	h.position = rec.Position
	limit := h.hubs.cfg.HubBytes
	switch {
	case h.hubs.crowded() && h.hubs.spare.Load() > 0:
		h.prod() // its goroutine makes room
	case h.hubs.crowded():
		limit = min(limit, floorBytes)
	}
	h.window.trim(limit)
	h.hubs.bytes.Add(int64(h.window.size - size))
	return nil
}

// load takes the whole response from its archive.
func (h *hub) load(frames []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	if err := h.window.load(frames); err != nil {
		return err
	}
	h.hubs.bytes.Add(int64(h.window.size))
	h.opened, h.touched = true, time.Now()
	h.signal()
	return nil
}

// reach notes that the log was seen to reach to tip, and reports whether there is a log at all.
func (h *hub) reach(tip uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.target = max(h.target, tip)
	if !h.opened && h.target > 0 {
		h.opened = true
		h.takeHeld()
		h.signal()
	}
	if h.position < h.target {
		h.prod()
	}
	return h.opened
}

// over reports whether no more records are wanted.
func (h *hub) over() bool { return h.window.ended || h.err != nil || h.closed }

// current reports whether the hub has all that it knows to be in the log.
func (h *hub) current() bool { return h.opened && (h.window.ended || h.position >= h.target) }

// signal wakes everybody who waits for a change: one close, however many there are.
func (h *hub) signal() {
	if h.waiting.Swap(false) {
		close(h.wake)
		h.wake = make(chan struct{})
	}
}

// prod tells the hub's goroutine to look again.
func (h *hub) prod() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// after returns frames behind seq, or what to do instead: wait for wake, read the log (errLagging), stop.
func (h *hub) after(seq int64) (frames []byte, last int64, wake <-chan struct{}, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	frames, last = h.window.after(seq)
	switch {
	case frames != nil:
		return frames, last, nil, nil
	case h.closed:
		return nil, seq, nil, h.cut()
	case seq+1 < h.window.head():
		return nil, seq, nil, errLagging
	case h.window.ended:
		return nil, seq, nil, io.EOF
	case h.err != nil:
		return nil, seq, nil, h.cut()
	}
	h.waiting.Store(true)
	return nil, seq, h.wake, nil
}

func (h *hub) cut() error {
	if h.err == nil {
		return ErrCut
	}
	return fmt.Errorf("%w: %w", ErrCut, h.err)
}

// await blocks until ready, which is called under the lock, says so.
func (h *hub) await(ctx context.Context, ready func() bool) error {
	for {
		h.mu.RLock()
		ok, wake := ready(), h.wake
		if !ok {
			h.waiting.Store(true)
		}
		h.mu.RUnlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wake:
		}
	}
}

// fail ends the hub for a reason; frames that are there are still handed out. What goes wrong in a hub because it was dropped
// says nothing of the response.
func (h *hub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && !h.closed {
		h.err = err
	}
	h.signal()
}

// end gives the frames back and cuts who still reads. It may be called twice.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.cancel() // only now: its goroutine must not take this for a failure
	h.hubs.bytes.Add(-int64(h.window.size))
	h.window = window{next: h.window.next, ended: h.window.ended}
	clear(h.held)
	h.signal()
}

// nudge makes the hub ask for the tip at once, and reports whether there is nothing left to ask for.
func (h *hub) nudge() (over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nudged, h.quiet = true, h.hubs.cfg.QuietMin
	h.prod()
	return h.over()
}

// lastUse is when the hub was last of use to a reader that left at left: a response that ended later may still be asked
// for.
func (h *hub) lastUse(left time.Time) time.Time {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.window.ended && h.touched.After(left) {
		return h.touched
	}
	return left
}
