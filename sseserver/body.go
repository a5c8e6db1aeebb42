package sseserver

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// readJSON reads a whole JSON body within its limits of size and time.
func (s *Server) readJSON(c echo.Context) ([]byte, error) {
	h := c.Request().Header
	if enc := h.Get(echo.HeaderContentEncoding); enc != "" && enc != "identity" {
		return nil, unsupportedMedia("Content-Encoding '" + schema.Quote(enc) + "' is not accepted: send the body uncompressed.")
	}
	kind, _, err := mime.ParseMediaType(h.Get(echo.HeaderContentType))
	if err != nil || kind != echo.MIMEApplicationJSON {
		return nil, unsupportedMedia("Content-Type must be application/json.")
	}
	return s.readBody(c, s.cfg.MaxBody)
}

func unsupportedMedia(message string) *schema.Error {
	return &schema.Error{
		Status: http.StatusUnsupportedMediaType, Type: schema.TypeInvalidRequest, Code: "unsupported_media_type", Message: message,
	}
}

func (s *Server) readBody(c echo.Context, limit int64) ([]byte, error) {
	w, r := c.Response().Writer, c.Request()
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	deadline := time.Now().Add(s.cfg.BodyTimeout)
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
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
