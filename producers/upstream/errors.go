package upstream

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// The codes that this package adds to those of schema.
const (
	// CodeTimeout: the upstream did not answer, or not to the end, in the time that the operator allows.
	CodeTimeout = "upstream_timeout"
	// CodeUnavailable: the upstream could not be reached, or says that it cannot serve for now.
	CodeUnavailable = "upstream_unavailable"
	// CodeRefused: the upstream does not accept the operator's credentials or account. The caller cannot mend it.
	CodeRefused = "upstream_refused"
	// CodeBusy: as many calls are under way as the operator allows, and none ended in the time that a call may wait.
	CodeBusy = "upstream_busy"
)

// maxRetryAfter is the longest wait that an upstream can ask for.
const maxRetryAfter = time.Minute

// Error is how a model call fails.
type Error struct {
	// Public is what the caller may be told: no key and no address of an upstream is in it. Its RetryAfter is how long the
	// upstream asks to be left alone, a minute at most.
	Public *schema.Error

	cause error
}

func (e *Error) Error() string { return e.Public.Error() }

// Unwrap gives the public error, and the cause if there is one: for errors.Is and for logs, never for the wire.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Public}
	}
	return []error{e.Public, e.cause}
}

// LogValue adds the cause, which may name addresses but never the key.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("public", e.Error()), slog.Int("status", e.Public.Status)}
	if e.cause != nil {
		attrs = append(attrs, slog.String("cause", e.cause.Error()))
	}
	return slog.GroupValue(attrs...)
}

func fail(status int, code string, cause error, format string, args ...any) *Error {
	return &Error{cause: cause, Public: &schema.Error{
		Status: status, Type: schema.TypeUpstream, Code: code, Message: fmt.Sprintf(format, args...),
	}}
}

// broken is for an upstream that does not keep to its own protocol.
func broken(cause error, format string, args ...any) *Error {
	return fail(http.StatusBadGateway, schema.CodeUpstreamProtocol, cause, format, args...)
}

// The causes with which a call is ended from here.
var (
	errFirstByte  = errors.New("no answer in time")
	errFirstToken = errors.New("nothing said in time")
	errIdle       = errors.New("silent in the midst of an answer")
	errTotal      = errors.New("answer took too long")
	errTooLarge   = errors.New("answer is larger than allowed")
)

// withoutURL takes the address off an error of net/http: the URL is configuration, the rest is news.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
