package hub

import (
	"errors"
	"fmt"
	"time"
)

var errVanished = errors.New("the log is empty now")

// run is the hub's goroutine: it opens the hub, keeps it filled, and ends it when nobody has needed it for the linger.
func (h *hub) run() {
	stop, err := h.open()
	if err != nil {
		// Out of the map first: who is refused and tries again must not meet this hub.
		h.hubs.forget(h)
		h.fail(err)
	} else {
		h.fill()
	}
	stop()
	h.end()
}

// fill does the next thing that is due, until the hub ends: read what is missing, ask after a silence, or rest.
func (h *hub) fill() {
	var pause time.Duration // after reads that brought nothing
	for h.ctx.Err() == nil {
		rest, stays := h.hubs.stay(h)
		if !stays {
			return
		}
		switch task, quiet := h.due(); task {
		case toRead:
			pause = h.readOrRest(pause)
		case toAsk:
			h.ask()
		case toWait:
			_ = sleep(h.ctx, min(rest, quiet), h.kick)
		case toLinger:
			_ = sleep(h.ctx, rest, h.kick)
		}
	}
}

type task int

const (
	toLinger task = iota // nothing more will come
	toRead
	toAsk
	toWait // for live records, or for the silence to end
)

// due says what is to be done next, and how long a silence may still last.
func (h *hub) due() (task, time.Duration) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	quiet := h.quiet - min(time.Since(h.touched), time.Since(h.asked))
	switch {
	case h.over():
		return toLinger, 0
	case h.position < h.target:
		return toRead, 0
	case h.nudged || quiet <= 0:
		return toAsk, 0
	}
	return toWait, quiet
}

// readOrRest reads, and rests when that brought nothing, each time longer. Live records do not cut the rest short: each
// would cost a read.
func (h *hub) readOrRest(pause time.Duration) time.Duration {
	if h.readOn() {
		return 0
	}
	if pause = min(max(2*pause, retryMin), retryMax); pause == retryMax {
		h.ask() // whether the log is still there
	}
	_ = sleep(h.ctx, pause, nil)
	return pause
}

// readOn reads from the position to the target, and reports whether that brought anything. A stale replica brings less
// than all, which is no cause for doubt; a hole is.
func (h *hub) readOn() (progress bool) {
	h.mu.RLock()
	after, upto := h.position, h.target
	h.mu.RUnlock()
	h.hubs.metrics.hubReads.Inc()
	var hole error
	err := h.hubs.src.Read(h.ctx, h.ref, after, upto, func(rec Record) error {
		hole = h.read(rec)
		return hole
	})
	if hole == nil && errors.Is(err, ErrHole) {
		hole = err
	}
	h.mu.RLock()
	progress = h.position > after
	h.mu.RUnlock()
	switch {
	case progress:
		h.torn, h.stuck = doubt{}, doubt{}
	case hole != nil && h.torn.grows(h.hubs.cfg.HolePatience):
		h.condemn(hole)
	case hole == nil && h.stuck.grows(h.hubs.cfg.OpenPatience):
		h.hubs.log.Warn("log cannot be read to its tip", "response", h.ref, "position", after, "tip", upto, "error", err)
	}
	return progress
}

// ask asks the leader whether live delivery lost something, and whether the log is still there.
func (h *hub) ask() {
	h.mu.Lock()
	h.nudged = false
	h.mu.Unlock()
	tip, err := h.tip(h.ctx)
	h.mu.Lock()
	h.asked = time.Now()
	if err == nil {
		h.quiet = min(2*h.quiet, h.hubs.cfg.QuietMax)
	}
	h.mu.Unlock()
	switch {
	case err != nil:
		h.hubs.log.Debug("leader does not answer", "response", h.ref, "error", err)
	case tip > 0:
		h.empty = doubt{}
		h.reach(tip)
		h.tellSilence()
	case h.awaited(): // it has yet to begin
	case h.empty.grows(h.hubs.cfg.HolePatience):
		h.fail(fmt.Errorf("%w: %w", ErrExpired, errVanished))
	}
}

// tellSilence says that the response has not ended, and that its log, looked at a moment ago, has been silent for long.
func (h *hub) tellSilence() {
	cfg := &h.hubs.cfg
	h.mu.RLock()
	silent := !h.over() && h.position >= h.target && time.Since(h.touched) >= cfg.Silence
	h.mu.RUnlock()
	if silent && cfg.Silent != nil {
		cfg.Silent(h.ctx, h.ref)
	}
}

// awaited reports whether nothing of the response has been seen yet.
func (h *hub) awaited() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return !h.opened
}

// condemn ends the hub of a damaged log or archive: readers are cut, later ones are told that it has expired. A log that
// lacks its head has aged away, which is no damage.
func (h *hub) condemn(err error) {
	if cause, ok := errors.AsType[*hole](err); !ok || cause.due > 0 {
		h.hubs.metrics.holes.Inc()
		h.hubs.log.Error("log or archive is damaged", "response", h.ref, "error", err)
	}
	h.fail(fmt.Errorf("%w: %w", ErrExpired, err))
}

// doubt is since when something has looked wrong.
type doubt struct {
	since time.Time
	told  bool
}

// grows reports, once, that it has looked wrong for as long as patience lasts.
func (d *doubt) grows(patience time.Duration) bool {
	if d.since.IsZero() {
		d.since = time.Now()
	}
	if d.told || time.Since(d.since) < patience {
		return false
	}
	d.told = true
	return true
}
