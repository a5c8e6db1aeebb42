package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The kinds of an [Error].
const (
	KindProtocol = "mcp_protocol_error" // the server answered, with a JSON-RPC error or with nonsense
	KindHTTP     = "http_error"         // there was no answer of the protocol: HTTP status, time-out, no connection
)

// Error is what an mcp_call item's error may say. (A result with IsError is no Error: the tool ran, and says that it
// failed.) Its text holds neither addresses nor credentials; Unwrap may.
type Error struct {
	Kind    string // KindProtocol or KindHTTP
	Code    int    // the JSON-RPC code, or the HTTP status: 502 without connection, 504 after a time-out
	Message string
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, for errors.Is and for logs: never for the wire.
func (e *Error) Unwrap() error { return e.cause }

// ErrClosed is returned by a [Pool] that has been closed.
var ErrClosed = errors.New("MCP pool is closed")

var (
	errLost         = errors.New("connection to the MCP server was lost")
	errTooLarge     = errors.New("answer of the MCP server is too large")
	errWrongID      = errors.New("answer of the MCP server is to another request")
	errMalformed    = errors.New("answer of the MCP server is not a valid MCP message")
	errPages        = errors.New("tool list of the MCP server does not end")
	errNotObject    = errors.New("tool arguments are not a JSON object")
	errNotStarted   = errors.New("command of the MCP server cannot be started")
	errInputWanted  = errors.New("MCP server asks for input that this client does not give")
	errNoConnection = errors.New("no connection to the MCP server")
)

// JSON-RPC codes for what is found out here rather than told by the server.
const (
	codeParse         = -32700
	codeInvalidParams = -32602
	codeInternal      = -32603
)

// maxMessage bounds the text of an Error, in bytes: a server chooses it.
const maxMessage = 1024

// failure makes the Error of a request from what its exchange has seen. The order matters: what the server said comes
// before what the client made of it.
func (s Server) failure(ctx context.Context, x *exchange, err error) *Error {
	seen := x.seen()
	switch {
	case seen.rpc != nil && !hides(seen.status):
		return &Error{KindProtocol, seen.rpc.code, s.text(seen.rpc.message), err}
	case seen.asked:
		return &Error{KindProtocol, codeInternal, errInputWanted.Error(), err}
	case errors.Is(seen.cause, ErrURLNotAllowed), errors.Is(err, ErrURLNotAllowed):
		return &Error{KindHTTP, http.StatusBadRequest, ErrURLNotAllowed.Error(), errors.Join(ErrURLNotAllowed, err)}
	case seen.status != 0:
		return statusError(seen.status, err)
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return &Error{KindHTTP, http.StatusGatewayTimeout, "MCP server did not answer in time", errors.Join(context.DeadlineExceeded, err)}
	case ctx.Err() != nil:
		return &Error{KindHTTP, statusCancelled, "request to the MCP server was cancelled", errors.Join(ctx.Err(), err)}
	}
	return ownFailure(seen.cause, err)
}

// statusCancelled is nginx's 499: the client closed the request. HTTP has no code of its own for it.
const statusCancelled = 499

// hides says that an HTTP status means more than the JSON-RPC error below it. MCP sends some errors of its own with 400
// and 404; elsewhere the status is what callers act on.
func hides(status int) bool {
	return status != 0 && status != http.StatusBadRequest && status != http.StatusNotFound
}

func statusError(status int, err error) *Error {
	text := fmt.Sprintf("MCP server answered HTTP status %d %s", status, http.StatusText(status))
	return &Error{KindHTTP, status, strings.TrimSpace(text), err}
}

// ownFailure is for what went wrong without a word from the server.
func ownFailure(cause, err error) *Error {
	for _, known := range []error{errTooLarge, errWrongID, errPages} {
		if errors.Is(cause, known) || errors.Is(err, known) {
			return &Error{KindProtocol, codeInternal, known.Error(), err}
		}
	}
	for _, known := range []error{errLost, errNotStarted} {
		if errors.Is(cause, known) || errors.Is(err, known) {
			return &Error{KindHTTP, http.StatusBadGateway, known.Error(), errors.Join(cause, err)}
		}
	}
	if cause != nil {
		return &Error{KindHTTP, http.StatusBadGateway, errNoConnection.Error(), errors.Join(cause, err)}
	}
	return &Error{KindProtocol, codeParse, errMalformed.Error(), err}
}

// text makes a server's words fit for the wire.
func (s Server) text(message string) string {
	message = cut(strings.ToValidUTF8(s.redact(message), "\uFFFD"), maxMessage)
	if message == "" {
		return "MCP server answered with an error"
	}
	return message
}

// ellipsis marks a text that was cut.
const ellipsis = "… [truncated]"

// cut shortens a text to a number of bytes, marker included, without splitting a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:max(limit-len(ellipsis), 0)], "") + ellipsis
}
