package sseserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// cancel ends a response, whoever works on it, and answers it as it is then. One that is over stays as it is: to cancel it
// twice, or too late, is no error. Unlike OpenAI's, a response that is not in the background can be cancelled too: it goes
// on without its client here.
func (s *Server) cancel(c echo.Context) error {
	ref, err := s.ref(c)
	if err != nil {
		return err
	}
	ctx, stop := s.settling(c)
	defer stop()
	if err := s.cfg.Control.Cancel(ctx, ref); err != nil {
		return endError(ref, err)
	}
	if err := s.watch(ctx, ref); err != nil { // the end is durable, but this node may have yet to hear of it
		return lookupError(err, ref, start)
	}
	state, err := s.cfg.Broker.Fold(ctx, ref)
	if err != nil {
		return lookupError(err, ref, start)
	}
	if resp := state.Response(); hidden(resp) && resp.Status != schema.StatusCancelled {
		return notFound(ref.Response()) // it had ended before, and is no object any more
	}
	return s.answer(c, http.StatusOK, state.Response())
}

// deleted is the API's answer to a delete.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

// delete erases a response, one that runs once it is cancelled. What was deleted is not found any more.
func (s *Server) delete(c echo.Context) error {
	ref, err := s.ref(c)
	if err != nil {
		return err
	}
	ctx, stop := s.settling(c)
	defer stop()
	if err := s.cfg.Control.Delete(ctx, ref); err != nil {
		return endError(ref, err)
	}
	return s.answer(c, http.StatusOK, deleted{ref.Response(), "response", true})
}

// settling is the context of what must be done as a whole, also for a caller that goes away meanwhile.
func (s *Server) settling(c echo.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.Request().Context()), s.cfg.CommitTimeout)
}

// endError answers for a response that cannot be ended, or erased.
func endError(ref schema.Ref, err error) error {
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrGone) {
		return notFound(ref.Response())
	}
	return fmt.Errorf("end %s: %w", ref, err)
}
