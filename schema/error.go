package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Error is a refusal in the API's shape. Status is the HTTP status that it answers with, RetryAfter how long the caller is
// asked to wait, 0 for no word of it; neither is part of the body.
type Error struct {
	Status     int           `json:"-"`
	RetryAfter time.Duration `json:"-"`

	Message string `json:"message"`
	Type    string `json:"type"`
	Param   string `json:"param"`
	Code    string `json:"code"`
}

func (e *Error) Error() string {
	if e.Param == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s (%s): %s", e.Code, e.Param, e.Message)
}

// The types of errors.
const (
	TypeInvalidRequest = "invalid_request_error"
	TypeServer         = "server_error"
	TypeRateLimit      = "rate_limit_error"
	TypeConnector      = "external_connector_error"
	TypeUpstream       = "upstream_error"
)

// The codes that Midstream itself gives out, each with what the caller can do about it.
const (
	// CodeInvalidJSON: the body is not one JSON value. Mend the body.
	CodeInvalidJSON = "invalid_json"
	// CodeInvalidValue: a member has a value that cannot be served. Mend the member that param names.
	CodeInvalidValue = "invalid_value"
	// CodeMissing: a member that must be there is not.
	CodeMissing = "missing_required_parameter"
	// CodeUnsupported: the API has it, this server does not. Leave it out, or use another route.
	CodeUnsupported = "unsupported_parameter"
	// CodeUnknown: the API has no such member. Mend its name, or leave it out.
	CodeUnknown = "unknown_parameter"
	// CodeModelNotFound: no upstream serves that model. GET /v1/models lists what there is.
	CodeModelNotFound = "model_not_found"
	// CodeNotFound: unknown, foreign or malformed response id; all three look the same.
	CodeNotFound = "not_found"
	// CodePreviousNotFound: previous_response_id, or a response that it goes on from, is not there. Send the whole input.
	CodePreviousNotFound = "previous_response_not_found"
	// CodeConversationNotFound: the conversation was deleted while the response was made. Begin another one.
	CodeConversationNotFound = "conversation_not_found"
	// CodeConversationFull: the conversation has reached its bound. Delete items of it, or begin another one.
	CodeConversationFull = "conversation_full"
	// CodeExclusive: two members that exclude each other. Leave one out.
	CodeExclusive = "mutually_exclusive_parameters"
	// CodeInvalidCursor: Last-Event-ID or starting_after is not a number of this response.
	CodeInvalidCursor = "invalid_cursor"
	// CodeExpired: the events before the cursor are gone. Start from the beginning, or give up.
	CodeExpired = "history_expired"
	// CodeTooLarge: the body is larger than the limit.
	CodeTooLarge = "request_too_large"
	// CodeOverloaded: come back after Retry-After.
	CodeOverloaded = "overloaded"
	// CodeUnavailable: this node serves nothing now. Ask another one, or come back after Retry-After.
	CodeUnavailable = "unavailable"
	// CodeURLNotAllowed: an MCP server_url that this gateway must not connect to.
	CodeURLNotAllowed = "url_not_allowed"
	// CodeServer: a fault of this server. Its text never leaves the log.
	CodeServer = "server_error"
	// CodeRateLimit: the upstream, or this server, refuses more for now.
	CodeRateLimit = "rate_limit_exceeded"
	// CodeUpstreamProtocol: the upstream broke its own protocol, or cut the answer.
	CodeUpstreamProtocol = "upstream_protocol"
	// CodeTurns: the run reached its limit of model calls.
	CodeTurns = "max_turns_exceeded"
	// CodeOrder: what a producer sent breaks a rule of the canonical order, or does not follow what it sent before.
	CodeOrder = "event_order"
	// CodeProducerLost: a producer was silent for too long before it had ended.
	CodeProducerLost = "producer_lost"
	// CodeRunExpired: the run reached its limit of time.
	CodeRunExpired = "run_expired"
	// CodeAttempts: the run was tried too often without progress.
	CodeAttempts = "max_attempts_exceeded"
	// CodeCredentials: the credentials that came with the request cannot be had any more. Ask again.
	CodeCredentials = "credentials_lost"
)

// NoModel refuses a model that nobody here serves.
func NoModel(id string) *Error {
	return &Error{
		Status: 404, Type: TypeInvalidRequest, Code: CodeModelNotFound, Param: "model",
		Message: "The model '" + Quote(id) + "' does not exist. GET /v1/models lists those that do.",
	}
}

// quotable is how much of a caller's text an answer repeats.
const quotable = 64

// Quote makes a caller's text safe to repeat: cut, and nothing but printable ASCII.
func Quote(s string) string {
	if len(s) > quotable {
		s = s[:quotable] + "…"
	}
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], "'", `\'`)
}

// Refuse returns a 400 that names the member at fault.
func Refuse(code, param, format string, args ...any) *Error {
	return &Error{Status: 400, Type: TypeInvalidRequest, Code: code, Param: param, Message: fmt.Sprintf(format, args...)}
}
