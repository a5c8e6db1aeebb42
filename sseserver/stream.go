package sseserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

var (
	// doneFrame ends a stream as Open Responses asks for; it has no id, and the SDKs stop at it.
	doneFrame = []byte("data: " + schema.DoneMark + "\n\n")
	// heartbeat is a comment: it has no sequence number, and no client shows it.
	heartbeat = []byte(": keep-alive\n\n")
)

// stream serves one subscriber from its follower until the terminal event. Anything else aborts the connection: what
// has been sent by then must not look whole.
func (s *Server) stream(ctx context.Context, c echo.Context, f Follower, began time.Time, kind string) {
	defer f.Close()
	s.metrics.subscribers.Inc()
	defer s.metrics.subscribers.Dec()
	sub := &sender{pace: s.pace(c), f: f, seen: f.Seq(), every: s.cfg.Heartbeat, metrics: s.metrics, began: began, kind: kind}
	if err := sub.run(ctx, c.Response()); err != nil {
		s.abort(c, errors.Join(context.Cause(ctx), err))
	}
}

// sender writes frames as they come, and a heartbeat where none come.
type sender struct {
	pace
	f     Follower
	seen  int64         // sequence number of the last frame written
	every time.Duration // of silence before a heartbeat
	wrote time.Time

	// beat ends when the silence may have lasted long enough. It outlives many writes, since a timer for each of them
	// would cost a busy stream more than the write.
	beat     context.Context
	stopBeat context.CancelFunc

	metrics *metrics
	began   time.Time // of the request
	kind    string
	first   bool // the first frames are out
}

func (s *sender) run(ctx context.Context, w *echo.Response) error {
	if err := s.open(w); err != nil {
		return err
	}
	s.rearm(ctx)
	defer func() { s.stopBeat() }()
	for {
		frames, err := s.next(ctx)
		if errors.Is(err, io.EOF) {
			return s.send(doneFrame)
		}
		if err != nil {
			return err
		}
		if s.f.Ended() {
			return s.serve(frames, doneFrame)
		}
		if err := s.serve(frames); err != nil {
			return err
		}
	}
}

// open sends the headers at once: a browser shows a stream as open before its first event.
func (s *sender) open(w *echo.Response) error {
	h := w.Header()
	h.Set(echo.HeaderContentType, "text/event-stream; charset=utf-8")
	h.Set(echo.HeaderCacheControl, "no-cache")
	h.Set(echo.HeaderConnection, "keep-alive")
	h.Set("X-Accel-Buffering", "no")
	if err := s.arm(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	s.wrote = time.Now()
	return s.flush()
}

// next waits for frames, and sends a heartbeat after each silence.
func (s *sender) next(ctx context.Context) ([]byte, error) {
	for {
		frames, err := s.f.Next(s.beat)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || s.beat.Err() == nil {
			return frames, err
		}
		if time.Since(s.wrote) >= s.every {
			if err := s.send(heartbeat); err != nil {
				return nil, err
			}
		}
		s.rearm(ctx)
	}
}

func (s *sender) rearm(ctx context.Context) {
	if s.stopBeat != nil {
		s.stopBeat()
	}
	s.beat, s.stopBeat = context.WithDeadline(ctx, s.wrote.Add(s.every))
}

// serve writes frames, and counts them.
func (s *sender) serve(frames ...[]byte) error {
	if err := s.send(frames...); err != nil {
		return err
	}
	if !s.first {
		s.first = true
		s.metrics.firstEvent.WithLabelValues(s.kind).Observe(time.Since(s.began).Seconds())
	}
	seq := s.f.Seq()
	s.metrics.events.Add(float64(seq - s.seen))
	s.seen = seq
	return nil
}

// send writes all chunks, and flushes once.
func (s *sender) send(chunks ...[]byte) error {
	for _, b := range chunks {
		n, err := s.Write(b)
		s.metrics.bytes.Add(float64(n))
		if err != nil {
			return err
		}
	}
	s.wrote = time.Now()
	return s.flush()
}

// abort breaks the connection off, so that the client sees an error and no end. It does not return.
func (s *Server) abort(c echo.Context, err error) {
	s.metrics.aborted.WithLabelValues(abortReason(err)).Inc()
	if !c.Request().ProtoAtLeast(1, 1) {
		reset(c.Request())
	}
	panic(http.ErrAbortHandler)
}
