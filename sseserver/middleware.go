package sseserver

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// maxRequestID bounds a request id that a caller brings.
const maxRequestID = 128

// requestID gives every answer an x-request-id: the caller's own if it can be trusted in a log, else a new one.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !saneID(id) {
			fresh := uuid.New()
			id = "req_" + hex.EncodeToString(fresh[:])
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

// idOf returns the id that requestID gave to the answer.
func idOf(c echo.Context) string { return c.Response().Header().Get(echo.HeaderXRequestID) }

func saneID(id string) bool {
	for _, b := range []byte(id) {
		if !schema.ValidToken(string(b)) && b != '.' {
			return false
		}
	}
	return id != "" && len(id) <= maxRequestID
}

// observe logs and counts a request when it is over, an aborted one too. Query strings and bodies stay out of it.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		whole := false
		defer func() {
			code := c.Response().Status
			s.metrics.requests.WithLabelValues(cmp.Or(c.Path(), "none"), strconv.Itoa(code)).Inc()
			attrs := []slog.Attr{
				slog.String("request_id", idOf(c)), slog.String("method", c.Request().Method),
				slog.String("path", pathOf(c.Request())), slog.Int("status", code),
				slog.Int64("bytes", c.Response().Size), slog.Duration("took", time.Since(began)),
				slog.Bool("aborted", !whole),
			}
			for _, name := range []string{keyResponse, keyName} {
				if text, ok := c.Get(name).(string); ok {
					attrs = append(attrs, slog.String(name, text))
				}
			}
			s.log.LogAttrs(c.Request().Context(), levelOf(c), "request", attrs...)
		}()
		if err := next(c); err != nil {
			c.Error(err)
		}
		whole = true
		return nil
	}
}

// levelOf is how much a request is worth: what asks every few seconds whether all is well, and hears that it is, is not worth much.
func levelOf(c echo.Context) slog.Level {
	switch c.Path() {
	case "/healthz", "/readyz", "/metrics":
		if c.Response().Status < http.StatusBadRequest {
			return slog.LevelDebug
		}
	}
	return slog.LevelInfo
}

// keyResponse marks a request with the response that it has made.
const keyResponse = "response"

// maxLoggedPath bounds what a log line repeats of a URL.
const maxLoggedPath = 200

func pathOf(r *http.Request) string {
	path := r.URL.EscapedPath()
	return path[:min(len(path), maxLoggedPath)]
}

// keyStarted marks a request that has begun to commit a run: a panic may have come before or behind the commit point.
const keyStarted = "started"

// recoverPanic makes an error of a panic. An abort that was meant passes.
func recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			p := recover()
			if p == http.ErrAbortHandler {
				panic(p)
			}
			if p != nil {
				err = panicked(p)
				if c.Get(keyStarted) != nil {
					err = startedError{err}
				}
			}
		}()
		return next(c)
	}
}

func panicked(p any) error { return fmt.Errorf("panic: %v\n%s", p, debug.Stack()) }

// limitHeader answers headers that are too large in the API's shape, up to the doubled limit where net/http stops
// reading.
func (s *Server) limitHeader(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		size := len(c.Request().RequestURI)
		for name, values := range c.Request().Header {
			for _, v := range values {
				size += len(name) + len(v) + len(": \r\n")
			}
		}
		if size > s.cfg.MaxHeader {
			c.Response().Header().Set(echo.HeaderConnection, "close")
			e := schema.Refuse("headers_too_large", "", "The headers are larger than %d bytes.", s.cfg.MaxHeader)
			e.Status = http.StatusRequestHeaderFieldsTooLarge
			return e
		}
		return next(c)
	}
}
