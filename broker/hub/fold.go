package hub

import (
	"context"

	"github.com/midstream-dev/midstream/schema"
)

// folded is a fold and how far it goes.
type folded struct {
	state *schema.State
	last  int64
}

// fold folds the response as far as it is known, once for all who ask until more comes.
func (h *hub) fold(ctx context.Context) (*schema.State, error) {
	last, err := h.settled(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case h.folds <- struct{}{}:
	}
	defer func() { <-h.folds }()
	if f := h.folded.Load(); f != nil && f.last >= last {
		return f.state, nil
	}
	f, err := h.foldTo(ctx, last)
	if err != nil {
		return nil, err
	}
	h.folded.Store(f)
	return f.state, nil
}

// outcome returns the response as it ended, nil as long as it has not.
func (h *hub) outcome(ctx context.Context) (*schema.State, error) {
	if _, err := h.settled(ctx); err != nil {
		return nil, err
	}
	if _, ended := h.terminal(); !ended {
		return nil, nil
	}
	return h.fold(ctx)
}

// settled waits until the hub has all that it knows to be in the log, and returns the last sequence number.
func (h *hub) settled(ctx context.Context) (last int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.hubs.cfg.OpenPatience, errSlow)
	defer cancel()
	waited := h.await(ctx, func() bool {
		_, err = h.knows(-1)
		last = h.window.next - 1
		return err != nil || h.current()
	})
	if waited != nil {
		return 0, waited
	}
	return last, err
}

// foldTo reads as a follower does, so also what the hub has dropped. The terminal event alone tells all.
func (h *hub) foldTo(ctx context.Context, last int64) (*folded, error) {
	if last, ended := h.terminal(); ended {
		f := Follower{hub: h, seq: last - 1}
		frame, err := f.Next(ctx)
		if err != nil {
			return nil, err
		}
		s, err := schema.FoldTerminal(frame)
		return &folded{s, last}, err
	}
	f := Follower{hub: h, seq: -1}
	var s schema.State
	for f.seq < last {
		frames, err := f.Next(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.ApplyFrames(frames); err != nil {
			return nil, err
		}
	}
	return &folded{&s, f.seq}, nil
}

// terminal returns the number of the terminal event, if that is there.
func (h *hub) terminal() (last int64, ended bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.window.next - 1, h.window.ended
}
