package sseserver

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
)

// paceBytes is what a peer must take within one write timeout: with the default of 10 s, 3 KiB a second.
const paceBytes = 32 << 10

// pace writes an answer in pieces, each under a write deadline of its own: a large answer may take long, a peer that
// does not read may not. It goes around echo's Flush, which drops errors.
type pace struct {
	w     http.ResponseWriter // echo's, which counts
	rc    *http.ResponseController
	limit time.Duration
}

func (s *Server) pace(c echo.Context) pace {
	return pace{c.Response(), http.NewResponseController(c.Response().Writer), s.cfg.WriteTimeout}
}

func (p pace) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		if err := p.arm(); err != nil {
			return n, err
		}
		var took int
		took, err = p.w.Write(b[:min(len(b), paceBytes)])
		n, b = n+took, b[took:]
	}
	return n, err
}

func (p pace) flush() error { return p.rc.Flush() }

// arm starts the clock of the next piece. A writer without deadlines, as tests have it, has no peer to wait for.
func (p pace) arm() error {
	if err := p.rc.SetWriteDeadline(time.Now().Add(p.limit)); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// oneForm gives the same answer the same bytes, and an answer too to a caller whose text was cut in the middle of a rune.
var oneForm = json.JoinOptions(json.Deterministic(true), jsontext.AllowInvalidUTF8(true))

// answer writes v as the whole answer. One that the peer does not take is broken off; that is the peer's own affair, and
// no error of the request.
func (s *Server) answer(c echo.Context, status int, v any) error {
	data, err := json.Marshal(v, oneForm)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(data)))
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
	c.Response().WriteHeader(status)
	if _, err := s.pace(c).Write(data); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}
