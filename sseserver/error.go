package sseserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// retryAfter is when a caller that was refused is asked to come back, where the refusal itself does not know.
const retryAfter = 2 * time.Second

// comeBack is up to half as long again as the refusal asks for, so that those who were refused together do not come back
// together.
func comeBack(err error) time.Duration {
	after := retryAfter
	if full := (*broker.FullError)(nil); errors.As(err, &full) {
		after = full.RetryAfter
	}
	return (after + rand.N(after/2+time.Second)).Truncate(time.Second) // whole seconds, or rounding would take the spread away
}

// codeErased goes with 410 for a response that was deleted, where the caller has known it.
const codeErased = "erased"

// statusGone is what the access log and the metrics show of a caller that left before its answer.
const statusGone = 499

// startedError is an error behind the commit point: the run may be under way, so the answer must not invite a retry.
type startedError struct{ err error }

func (e startedError) Error() string { return e.err.Error() }
func (e startedError) Unwrap() error { return e.err }

// causedError shows one thing to the caller, and another to the log.
type causedError struct {
	shown *schema.Error
	cause error
}

func (e causedError) Error() string   { return e.cause.Error() }
func (e causedError) Unwrap() []error { return []error{e.shown, e.cause} }

// linger is for how long the rest of a refused body is read, and forgotten, before the connection is closed: by a close at once a
// client that still sends would lose the answer.
const linger = time.Second

// refuse is the one place where an error becomes an answer. A cause that the answer hides is logged here, once, and goes
// no further. An answer that has begun cannot become another one: it is aborted.
func (s *Server) refuse(err error, c echo.Context) {
	if hasLeft(c, err) {
		c.Response().Status = statusGone
		panic(http.ErrAbortHandler)
	}
	refusal, hidden := refusalOf(err)
	if hidden {
		s.log.Error("request failed", "request_id", idOf(c), "method", c.Request().Method, "route", c.Path(), "error", err)
	}
	if c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	h := c.Response().Header()
	if c.Request().ContentLength < 0 {
		h.Set(echo.HeaderConnection, "close") // else net/http waits for the end of the body before it answers
	}
	if h.Get(echo.HeaderConnection) == "close" {
		_ = readBy(c, time.Now().Add(linger))
	}
	switch {
	case errors.As(err, new(startedError)):
		h.Set("X-Should-Retry", "false")
	case refusal.Status == http.StatusServiceUnavailable, errors.Is(err, broker.ErrFull):
		askToWait(h, cmp.Or(refusal.RetryAfter, comeBack(err)))
	default:
		askToWait(h, refusal.RetryAfter)
	}
	if err := s.answer(c, refusal.Status, body(refusal, err)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// hasLeft reports whether an error means that the caller has gone away.
func hasLeft(c echo.Context, err error) bool {
	return errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil
}

// statusOf is the status of a request whose handler has returned an error, which becomes an answer further out, or nil.
func statusOf(c echo.Context, err error) int {
	switch {
	case err == nil:
		return c.Response().Status
	case hasLeft(c, err):
		return statusGone
	}
	refusal, _ := refusalOf(err)
	return refusal.Status
}

// askToWait says when to come back, in whole seconds, if there is anything to wait for.
func askToWait(h http.Header, wait time.Duration) {
	if wait > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
}

// beyondError refuses a cursor beyond the end, and says where the end is.
type beyondError struct {
	shown *schema.Error
	last  int64
}

func (e beyondError) Error() string { return e.shown.Error() }
func (e beyondError) Unwrap() error { return e.shown }

// errorBody is the API's error object. All four keys are always there; last_sequence_number goes with a cursor beyond
// the end.
type errorBody struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
		Last    *int64  `json:"last_sequence_number,omitzero"`
	} `json:"error"`
}

func body(e *schema.Error, cause error) errorBody {
	var b errorBody
	b.Error.Message, b.Error.Type = e.Message, e.Type
	if e.Param != "" {
		b.Error.Param = &e.Param
	}
	if e.Code != "" {
		b.Error.Code = &e.Code
	}
	if beyond := (beyondError{}); errors.As(cause, &beyond) {
		b.Error.Last = &beyond.last
	}
	return b
}

// refusalOf says what an error looks like from outside, and whether that hides its cause.
func refusalOf(err error) (refusal *schema.Error, hidden bool) {
	var routed *echo.HTTPError
	switch {
	case errors.As(err, &refusal):
		return refusal, errors.As(err, new(causedError))
	case errors.Is(err, broker.ErrFull):
		return fullRefusal(err), false
	case errors.Is(err, errDraining):
		return unavailable("This node is going down. Another one will answer."), false
	case errors.As(err, &routed):
		return routeError(routed), false
	}
	return &schema.Error{
		Status: http.StatusInternalServerError, Type: schema.TypeServer, Code: schema.CodeServer,
		Message: "The server had an error while processing your request.",
	}, true
}

// unavailable is what a node answers that should get no work.
func unavailable(message string) *schema.Error {
	e := overloaded(message)
	e.Code = schema.CodeUnavailable
	return e
}

func overloaded(message string) *schema.Error {
	return &schema.Error{
		Status: http.StatusServiceUnavailable, Type: schema.TypeServer, Code: schema.CodeOverloaded, Message: message,
	}
}

// fullRefusal says what is full: 429 where too many are in line, 503 where it is the storage. Nothing has begun in either case.
func fullRefusal(err error) *schema.Error {
	var full *broker.FullError
	if !errors.As(err, &full) {
		return overloaded("There is no room for new responses now. Those that run go on.")
	}
	if full.Bound.Line() {
		e := overloaded("Too many responses wait for their turn already. Nothing was begun: please try again later.")
		e.Status, e.Type, e.Code = http.StatusTooManyRequests, schema.TypeRateLimit, schema.CodeRateLimit
		return e
	}
	switch full.Bound {
	case broker.BoundSilent:
		return overloaded("The log does not answer. Nothing was begun: please try again later.")
	case broker.BoundConversations:
		return overloaded("There is no room for more in conversations now. Those that are there go on: please try again later.")
	case broker.BoundIngest:
		return overloaded("There is no room for what producers send now. Nothing of this was stored: please send it again later.")
	case broker.BoundDisk, broker.BoundStore:
		return overloaded("The disk of the log is nearly full. Responses that run go on, nothing new is begun: please try again later.")
	}
	return overloaded("There is no room for new responses now. Those that run go on: please try again later.")
}

// routeError answers what the router found out by itself.
func routeError(err *echo.HTTPError) *schema.Error {
	e := &schema.Error{Status: err.Code, Type: schema.TypeInvalidRequest, Code: "unknown_url"}
	switch err.Code {
	case http.StatusNotFound:
		e.Message = "Unknown request URL. The API is below /v1."
	case http.StatusMethodNotAllowed:
		e.Code, e.Message = "method_not_allowed", "Not allowed to use this method on this URL. The Allow header lists those that are."
	default:
		e.Code, e.Message = "invalid_request", http.StatusText(err.Code)+"."
	}
	return e
}

// notFound is the one answer for ids that are malformed, unknown or somebody else's, byte for byte.
func notFound(id string) *schema.Error {
	return &schema.Error{
		Status: http.StatusNotFound, Type: schema.TypeInvalidRequest, Code: schema.CodeNotFound,
		Message: "Response with id '" + schema.Quote(id) + "' not found.",
	}
}

// erased tells of a deletion those who knew the response.
func erased(param string) *schema.Error {
	return &schema.Error{
		Status: http.StatusGone, Type: schema.TypeInvalidRequest, Param: param, Code: codeErased, Message: "The response was deleted.",
	}
}

// lookupError answers what a response that cannot be read is to the caller. With a cursor the caller knew the response:
// then it may hear what became of it.
func lookupError(err error, ref schema.Ref, at cursor) error {
	var beyond *hub.CursorError
	switch {
	case errors.As(err, &beyond):
		return beyondError{last: beyond.Last, shown: schema.Refuse(schema.CodeInvalidCursor, at.kind,
			"The cursor is beyond the end: the last event so far is %d.", beyond.Last)}
	case errors.Is(err, hub.ErrNotFound), !at.given() && (errors.Is(err, hub.ErrGone) || errors.Is(err, hub.ErrExpired)):
		return notFound(ref.Response())
	case errors.Is(err, hub.ErrGone):
		return erased(at.kind)
	case errors.Is(err, hub.ErrExpired):
		return &schema.Error{
			Status: http.StatusGone, Type: schema.TypeInvalidRequest, Param: at.kind, Code: schema.CodeExpired,
			Message: "The events behind the cursor are no longer there.",
		}
	}
	return fmt.Errorf("read %s: %w", ref, err)
}
