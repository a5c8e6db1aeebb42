package sseserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// awaitCuts is how often a waiting create follows again after its follower was cut.
const awaitCuts = 5

// await waits for the end of a response, however long it takes, and answers it whole.
func (s *Server) await(ctx context.Context, c echo.Context, ref schema.Ref) error {
	if err := s.watch(ctx, ref); err != nil {
		return left(ctx, ref, err)
	}
	state, err := s.cfg.Broker.Fold(ctx, ref)
	if err != nil {
		return left(ctx, ref, err)
	}
	resp := state.Response()
	if failure := failure(resp); failure != nil {
		askToWait(c.Response().Header(), s.restOf(ctx, ref, failure.Status)) // the run is over: no retry by itself, but one in time
		return startedError{failure}
	}
	return s.answerStarted(c, resp)
}

// restOf is how long the upstream that failed a response asks to be left alone from now on; 0 where it does not.
func (s *Server) restOf(ctx context.Context, ref schema.Ref, status int) time.Duration {
	if s.cfg.RetryAt == nil || status != http.StatusTooManyRequests && status < http.StatusInternalServerError {
		return 0
	}
	at, err := s.cfg.RetryAt(ctx, ref)
	if err != nil { // the answer is worth more than its header
		s.log.Warn("time to wait not read", "run", ref.Response(), "error", err)
	}
	return max(time.Until(at), 0)
}

// answerStarted answers a response whose run has begun.
func (s *Server) answerStarted(c echo.Context, resp *schema.Response) error {
	if err := s.answer(c, http.StatusOK, resp); err != nil {
		return startedError{err}
	}
	return nil
}

// left is the answer to the creator of a response that this node can follow no longer. The response goes on, unless somebody
// has deleted it meanwhile.
func left(ctx context.Context, ref schema.Ref, err error) error {
	cause := fmt.Errorf("follow the new %s: %w", ref, errors.Join(context.Cause(ctx), err))
	if errors.Is(cause, errDraining) {
		return startedError{unavailable("This node is going down, the response goes on: ask for " + ref.Response() + ".")}
	}
	if errors.Is(err, hub.ErrGone) {
		return startedError{erased("")}
	}
	return startedError{lost(ref, cause)}
}

// lost is what the creator of a response is told that this node cannot follow.
func lost(ref schema.Ref, cause error) error {
	return causedError{cause: cause, shown: &schema.Error{
		Status: http.StatusInternalServerError, Type: schema.TypeServer, Code: schema.CodeServer,
		Message: "This node cannot follow the response. It goes on: ask for " + ref.Response() + ".",
	}}
}

// watch returns when the terminal event is there.
func (s *Server) watch(ctx context.Context, ref schema.Ref) error {
	after := start.after
	for cuts := 0; ; cuts++ {
		var err error
		after, err = s.watchFrom(ctx, ref, after)
		if !errors.Is(err, hub.ErrCut) || cuts == awaitCuts {
			return err
		}
	}
}

func (s *Server) watchFrom(ctx context.Context, ref schema.Ref, after int64) (int64, error) {
	f, err := s.cfg.Follow(ctx, ref, after)
	if err != nil {
		return after, err
	}
	defer f.Close()
	for {
		_, err := f.Next(ctx)
		if errors.Is(err, io.EOF) {
			return f.Seq(), nil
		}
		if err != nil {
			return f.Seq(), err
		}
	}
}
