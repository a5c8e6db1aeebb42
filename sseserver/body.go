package sseserver

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// readJSON reads a whole JSON body within its limits of size and time.
func (s *Server) readJSON(c echo.Context) ([]byte, error) {
	if _, err := mediaType(c, echo.MIMEApplicationJSON); err != nil {
		return nil, err
	}
	return s.readBody(c, s.cfg.MaxBody)
}

// mediaType returns what a body is said to be, and refuses what is not accepted, or compressed.
func mediaType(c echo.Context, accepted ...string) (kind string, err error) {
	h := c.Request().Header
	if enc := h.Get(echo.HeaderContentEncoding); enc != "" && enc != "identity" {
		return "", unsupportedMedia("Content-Encoding '" + schema.Quote(enc) + "' is not accepted: send the body uncompressed.")
	}
	kind, _, err = mime.ParseMediaType(h.Get(echo.HeaderContentType))
	if err != nil || !slices.Contains(accepted, kind) {
		return "", unsupportedMedia("Content-Type must be " + strings.Join(accepted, " or ") + ".")
	}
	return kind, nil
}

// boundBody bounds the time that a body may take, also one of which nobody wants to know: net/http reads on before it answers. Who
// waits for longer sets another bound.
func (s *Server) boundBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().ContentLength != 0 {
			if err := readBy(c, time.Now().Add(s.cfg.BodyTimeout)); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// readBy sets the time by which what comes next of a body must have come.
func readBy(c echo.Context, deadline time.Time) error {
	err := http.NewResponseController(c.Response().Writer).SetReadDeadline(deadline)
	if errors.Is(err, http.ErrNotSupported) {
		return nil // a test's recorder
	}
	return err
}

func unsupportedMedia(message string) *schema.Error {
	return &schema.Error{
		Status: http.StatusUnsupportedMediaType, Type: schema.TypeInvalidRequest, Code: "unsupported_media_type", Message: message,
	}
}

func (s *Server) readBody(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, limit))
	if err != nil {
		return nil, bodyError(c, err, limit)
	}
	return body, nil // net/http has lifted the deadline: behind the body it watches for a client that goes away
}

func bodyError(c echo.Context, err error, limit int64) *schema.Error {
	c.Response().Header().Set(echo.HeaderConnection, "close")
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &schema.Error{
			Status: http.StatusRequestTimeout, Type: schema.TypeInvalidRequest, Code: "request_timeout",
			Message: "The body did not arrive in time.",
		}
	}
	return schema.Refuse(schema.CodeInvalidJSON, "", "The body could not be read to its end.")
}

func tooLarge(limit int64) *schema.Error {
	e := schema.Refuse(schema.CodeTooLarge, "", "The body is larger than %d bytes.", limit)
	e.Status = http.StatusRequestEntityTooLarge
	return e
}
