package upstream

import (
	"context"
	"io"
	"time"
)

// watch ends a call whose upstream falls silent. It runs only while the call waits for the upstream: the time that an
// event takes downstream is not the upstream's.
type watch struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	cause  error
	heard  bool          // the first byte is there
	grace  time.Duration // shorter patience, once the answer has ended
}

func (w *watch) start(patience time.Duration, cause error) {
	w.stop()
	if w.grace > 0 {
		patience = min(patience, w.grace)
	}
	if w.timer != nil && w.cause == cause {
		w.timer.Reset(patience)
		return
	}
	w.cause = cause
	w.timer = time.AfterFunc(patience, func() { w.cancel(cause) })
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// guardedBody is the body of an answer under the limits of its exchange.
type guardedBody struct {
	io.ReadCloser
	x *exchange
}

func (b *guardedBody) Read(p []byte) (int, error) {
	x := b.x
	patience, cause := x.cfg.Idle, errIdle
	if !x.watch.heard {
		patience, cause = x.cfg.FirstByte, errFirstByte
	}
	x.watch.start(patience, cause)
	n, err := b.ReadCloser.Read(p)
	x.watch.stop()
	x.watch.heard = x.watch.heard || n > 0
	if x.bytes += n; x.bytes > x.cfg.MaxBytes {
		return n, errTooLarge
	}
	return n, err
}
