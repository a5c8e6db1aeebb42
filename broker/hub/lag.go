package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var errEnough = errors.New("batch is full")

// lag reads the next batch behind the cursor from the log, for this follower alone: the hub has dropped it. It waits for
// its turn among the node's laggards, and holds the turn only while it reads, not while its reader takes its time.
func (f *Follower) lag(ctx context.Context) ([]byte, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.hub.ctx, cancel)()
	var torn, empty doubt
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		b, err := f.readTurn(ctx)
		patience := f.hub.hubs.cfg.HolePatience
		switch {
		case len(b.frames) > 0:
			f.position = b.position
			return b.frames, b.next - 1, nil
		case b.hole != nil && torn.grows(patience):
			return nil, 0, f.lose(b.hole)
		case err == nil && pause == retryMax && f.vanished(ctx) && empty.grows(patience):
			return nil, 0, f.lose(errVanished)
		}
		if err := sleep(ctx, pause, nil); err != nil {
			return nil, 0, f.stopped(err)
		}
	}
}

// stopped tells the end of the hub from that of the reader.
func (f *Follower) stopped(err error) error {
	if f.hub.ctx.Err() != nil {
		return ErrCut
	}
	return err
}

// lose cuts the follower: its next frame is nowhere. Whoever comes back with such a cursor is told that it has expired.
func (f *Follower) lose(err error) error {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	f.hub.lost = max(f.hub.lost, f.seq+2)
	return fmt.Errorf("%w: %w", ErrCut, err)
}

func (f *Follower) vanished(ctx context.Context) bool {
	tip, err := f.hub.tip(ctx)
	return err == nil && tip == 0
}

// batch is what one read of a laggard brings.
type batch struct {
	limit    int
	next     int64  // the sequence number that is due
	position uint64 // of the last record that was read
	frames   []byte
	hole     error
	ends     []uint32
}

// readTurn reads one batch when it is this follower's turn.
func (f *Follower) readTurn(ctx context.Context) (*batch, error) {
	h := f.hub
	b := &batch{limit: h.hubs.cfg.LagBytes, next: f.seq + 1}
	select {
	case <-ctx.Done():
		return b, ctx.Err()
	case h.hubs.lagging <- struct{}{}:
	}
	defer func() { <-h.hubs.lagging }()
	h.mu.RLock()
	after, upto := max(f.position, h.window.before(b.next)), h.position
	h.mu.RUnlock()
	h.hubs.metrics.lagReads.Inc()
	err := h.hubs.src.Read(ctx, h.ref, after, upto, b.add)
	if b.hole == nil && errors.Is(err, ErrHole) {
		b.hole = err
	}
	if errors.Is(err, errEnough) || b.hole != nil {
		err = nil
	}
	return b, err
}

// add takes the frames of the record that lie behind the cursor. Where one record fills the batch nothing is copied.
func (b *batch) add(rec Record) error {
	if rec.Last < b.next {
		b.position = rec.Position
		return nil
	}
	ends, _, err := checkRecord(b.ends[:0], rec, min(rec.First, b.next))
	if err != nil {
		b.hole = err
		return err
	}
	b.ends = ends
	frames := rec.Frames
	if n := b.next - rec.First; n > 0 {
		frames = frames[ends[n-1]:]
	}
	if b.frames == nil {
		b.frames = slices.Clip(frames)
	} else {
		b.frames = append(b.frames, frames...)
	}
	b.next, b.position = rec.Last+1, rec.Position
	if len(b.frames) >= b.limit {
		return errEnough
	}
	return nil
}
