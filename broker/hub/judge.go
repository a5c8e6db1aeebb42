package hub

import (
	"cmp"
	"context"
	"errors"
)

var (
	errBeyond = errors.New("cursor is beyond what is known")
	errSlow   = errors.New("log was not read in time")
)

// judge says whether a reader may follow behind sequence number after. It waits until that is known.
func (h *hub) judge(ctx context.Context, after int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.hubs.cfg.OpenPatience, errSlow)
	defer cancel()
	err := h.verdict(ctx, after)
	if errors.Is(err, errBeyond) {
		err = h.judgeBeyond(ctx, after)
	}
	return err
}

// verdict judges by what the hub has, once it has all that it knows of, or enough.
func (h *hub) verdict(ctx context.Context, after int64) (verdict error) {
	err := h.await(ctx, func() (known bool) {
		known, verdict = h.knows(after)
		return known
	})
	if err != nil {
		return err
	}
	return verdict
}

func (h *hub) knows(after int64) (known bool, verdict error) {
	last := h.window.next - 1
	switch {
	case h.err != nil:
		return true, h.err
	case h.closed:
		return true, ErrCut
	case after+1 < h.lost:
		return true, ErrExpired
	case after < last:
		return true, nil
	case h.window.ended && after > last:
		return true, &CursorError{last}
	case h.window.ended, h.current() && after == last:
		return true, nil
	case h.current():
		return true, errBeyond
	}
	return false, nil
}

// judgeBeyond asks the leader, and asks again, while a cursor may rightly be ahead: another node may have shown an event
// that this one has yet to hear of. A leader that does not answer is no reason to refuse the cursor for good.
func (h *hub) judgeBeyond(ctx context.Context, after int64) error {
	patient, cancel := context.WithTimeoutCause(ctx, h.hubs.cfg.CursorPatience, errSlow)
	defer cancel()
	var refusal error
	for pause := 10 * retryMin; ; pause *= 2 {
		tip, err := h.tip(patient)
		if err == nil {
			h.reach(tip)
			err = h.verdict(patient, after)
			if patient.Err() == nil && !errors.Is(err, errBeyond) {
				return err
			}
		}
		if errors.Is(err, errBeyond) {
			refusal = &CursorError{h.last()}
		}
		if sleep(patient, pause, nil) != nil {
			return cmp.Or(context.Cause(ctx), refusal, err)
		}
	}
}

func (h *hub) last() int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.window.next - 1
}
