package hub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// open finds the response, in the archive or else in the log, and returns what ends its live delivery. It subscribes
// first: whatever is stored after the tip was asked arrives live. A response that has yet to begin has nothing to find.
func (h *hub) open() (stop func(), err error) {
	ctx, cancel := context.WithTimeout(h.ctx, h.hubs.cfg.OpenPatience)
	defer cancel()
	stop = func() {}
	err = insist(ctx, func() (err error) {
		live, err := h.hubs.src.Live(h.ref, h.deliver)
		if err == nil {
			stop = live
		}
		return err
	})
	if err != nil {
		return stop, fmt.Errorf("subscribe to %s: %w", h.ref, err)
	}
	if h.expected {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked = time.Now() // as if: nobody has to be asked before the first silence is over
		return stop, nil
	}
	found, err := h.openSealed(ctx)
	if err != nil || found {
		return stop, err
	}
	return stop, h.openLog(ctx)
}

func (h *hub) openSealed(ctx context.Context) (found bool, err error) {
	var frames []byte
	err = insist(ctx, func() (err error) {
		frames, found, err = h.hubs.src.Sealed(ctx, h.ref)
		return err
	})
	if err != nil || !found {
		return false, err
	}
	if err := h.load(frames); err != nil {
		h.condemn(err)
	}
	return true, nil
}

func (h *hub) openLog(ctx context.Context) error {
	var tip uint64
	err := insist(ctx, func() (err error) {
		tip, err = h.tip(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if !h.reach(tip) {
		return ErrNotFound
	}
	return nil
}

// tip asks the stream leader where the log ends.
func (h *hub) tip(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, h.hubs.cfg.AskTimeout)
	defer cancel()
	h.hubs.metrics.tips.Inc()
	tip, err := h.hubs.src.Tip(ctx, h.ref)
	if err != nil {
		return 0, fmt.Errorf("ask for the tip of %s: %w", h.ref, err)
	}
	return tip, nil
}

// insist tries again until ctx ends: a leader may be away for the length of an election. An erased response is an answer.
func insist(ctx context.Context, try func() error) error {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		err := try()
		if err == nil || errors.Is(err, ErrGone) || errors.Is(err, ErrNotFound) {
			return err
		}
		if sleep(ctx, pause, nil) != nil {
			return err
		}
	}
}

// sleep waits for d, or a kick. Its error says that ctx ended.
func sleep(ctx context.Context, d time.Duration, kick <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-kick:
	case <-t.C:
	}
	return nil
}
