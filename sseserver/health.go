package sseserver

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readyTimeout bounds how long the log may take to prove that it is there.
const readyTimeout = 2 * time.Second

// healthz says that the process answers. It asks nothing of others: a restart would not mend them.
func (s *Server) healthz(c echo.Context) error {
	return s.answer(c, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether new work may be sent here: the log can be reached, and no drain has begun.
func (s *Server) readyz(c echo.Context) error {
	if s.subscribers.drains() {
		return errDraining
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	if err := s.cfg.Broker.Ready(ctx); err != nil {
		s.log.Warn("not ready", "error", err)
		return unavailable("The log cannot be reached.")
	}
	return s.answer(c, http.StatusOK, map[string]string{"status": "ready"})
}

// scrape serves the metrics, under one write deadline.
func (s *Server) scrape() echo.HandlerFunc {
	h := promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{})
	return func(c echo.Context) error {
		if err := s.pace(c).arm(); err != nil {
			return err
		}
		h.ServeHTTP(c.Response(), c.Request())
		return nil
	}
}
