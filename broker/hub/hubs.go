package hub

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// Hubs are the hubs of one node. Safe for concurrent use.
type Hubs struct {
	src     Source
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	bytes   atomic.Int64  // what all hubs keep
	spare   atomic.Int64  // how many hubs are idle
	lagging chan struct{} // one token for each follower that reads the log by itself

	mu   sync.Mutex // guards the rest, and the readers of every hub
	open map[schema.Ref]*hub
	idle list.List // of *hub without readers, longest idle first
}

// New returns the hubs over a source. Close ends them.
func New(src Source, cfg Config) *Hubs {
	cfg = cfg.withDefaults()
	h := &Hubs{
		src: src, cfg: cfg, log: cfg.Logger, open: map[schema.Ref]*hub{}, lagging: make(chan struct{}, cfg.Laggards),
	}
	h.metrics = newMetrics(h)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends every hub, cuts every follower, and waits for all goroutines. What is called afterwards answers ErrCut.
func (h *Hubs) Close() {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.wg.Wait()
}

// Nudge makes every hub ask for the tip at once. Call it after a reconnect or a change of leader: live delivery may have
// lost records, and an erasure. So a finished response that nobody reads is dropped; its archive knows.
func (h *Hubs) Nudge() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.open {
		if over := b.nudge(); over && b.readers == 0 {
			h.drop(b)
		}
	}
}

// Drop ends the hub of a response that was erased: its followers are cut, and the next one asks the archive. It does not
// block, so it may be called where live records are delivered.
func (h *Hubs) Drop(ref schema.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b, ok := h.open[ref]; ok {
		h.drop(b)
	}
}

// Follow opens a follower behind sequence number after; -1 is the start. It blocks until it is known that there is
// something to follow. Its errors are [ErrNotFound], [ErrGone], [ErrExpired], a *[CursorError], [ErrCut] after Close,
// that of ctx, and others where log or archive cannot be reached now.
func (h *Hubs) Follow(ctx context.Context, ref schema.Ref, after int64) (*Follower, error) {
	after = max(after, -1)
	b, err := h.join(ref, func(b *hub) error { return b.judge(ctx, after) })
	if err != nil {
		return nil, fmt.Errorf("follow %s behind %d: %w", ref, after, err)
	}
	h.metrics.followers.Inc()
	return &Follower{hub: b, seq: after}, nil
}

// Expect listens for a response that is about to begin on this node: its first record then opens the hub by itself, where
// Follow and Fold would have to ask archive and log. Call it before the request record is written, and only for an id
// that was never used. It does not block. Release it when the response has been followed, or will not begin.
func (h *Hubs) Expect(ref schema.Ref) (release func()) {
	b, _ := h.attach(ref, true)
	if b == nil {
		return func() {}
	}
	return sync.OnceFunc(func() { h.leave(b) })
}

// Fold returns the response now. Its errors are those of [Hubs.Follow], and a *[schema.Violation] where the log breaks
// the canonical order. The state is shared: the caller must not change it.
func (h *Hubs) Fold(ctx context.Context, ref schema.Ref) (*schema.State, error) {
	return h.stateOf(ref, func(b *hub) (*schema.State, error) { return b.fold(ctx) })
}

// Ended is like [Hubs.Fold], but nil as long as the response has not ended, which costs less to find out.
func (h *Hubs) Ended(ctx context.Context, ref schema.Ref) (*schema.State, error) {
	return h.stateOf(ref, func(b *hub) (*schema.State, error) { return b.outcome(ctx) })
}

func (h *Hubs) stateOf(ref schema.Ref, read func(*hub) (*schema.State, error)) (s *schema.State, err error) {
	b, err := h.join(ref, func(b *hub) (err error) {
		s, err = read(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fold %s: %w", ref, err)
	}
	h.leave(b)
	return s, nil
}

// join attaches a reader to the response's hub, opened if need be, and keeps it there if use succeeds. A hub that others
// opened may have asked for the response before this reader's was made, and one that was dropped meanwhile has nothing more
// to say: then a new one is opened.
func (h *Hubs) join(ref schema.Ref, use func(*hub) error) (*hub, error) {
	for {
		b, mine := h.attach(ref, false)
		if b == nil {
			return nil, ErrCut
		}
		err := use(b)
		if err == nil {
			return b, nil
		}
		h.leave(b)
		if !errors.Is(err, ErrCut) && (mine || !errors.Is(err, ErrNotFound)) {
			return nil, err
		}
	}
}

// attach counts a reader in, and opens a hub where there is none: for a response that is about to begin, or for one that
// has. It returns nil after Close.
func (h *Hubs) attach(ref schema.Ref, expected bool) (b *hub, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, false
	}
	b, ok := h.open[ref]
	if !ok {
		b = newHub(h, ref)
		b.expected = expected
		h.open[ref] = b
		h.wg.Go(b.run)
	}
	b.readers++
	h.unidle(b)
	return b, !ok
}

// leave counts a reader out. The last one makes the hub idle.
func (h *Hubs) leave(b *hub) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.readers--
	if b.readers > 0 || h.open[b.ref] != b {
		return
	}
	b.idleSince = time.Now()
	b.idle = h.idle.PushBack(b)
	h.spare.Add(1)
	b.prod()
	h.shrink()
}

// stay reports how long a hub may still live as things are, and whether it may at all; if not, it is out of the map.
func (h *Hubs) stay(b *hub) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shrink()
	switch {
	case h.open[b.ref] != b:
		return 0, false
	case b.readers > 0:
		return 1<<63 - 1, true // whoever leaves prods the hub
	}
	left := h.cfg.Linger - time.Since(b.lastUse(b.idleSince))
	if left <= 0 {
		h.drop(b)
		return 0, false
	}
	return left, true
}

// shrink ends idle hubs while the node keeps too much, or too many.
func (h *Hubs) shrink() {
	for h.idle.Len() > 0 && (h.crowded() || h.idle.Len() > h.cfg.IdleHubs) {
		h.drop(h.idle.Front().Value.(*hub))
	}
}

func (h *Hubs) crowded() bool { return h.bytes.Load() > int64(h.cfg.NodeBytes) }

// forget takes a hub out of the map: the next reader opens another.
func (h *Hubs) forget(b *hub) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(b)
}

func (h *Hubs) drop(b *hub) {
	b.end() // gives its bytes back before it stops to count as spare
	h.remove(b)
}

func (h *Hubs) remove(b *hub) {
	if h.open[b.ref] == b {
		delete(h.open, b.ref)
	}
	h.unidle(b)
}

func (h *Hubs) unidle(b *hub) {
	if b.idle != nil {
		h.idle.Remove(b.idle)
		h.spare.Add(-1)
		b.idle = nil
	}
}

func (h *Hubs) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}
