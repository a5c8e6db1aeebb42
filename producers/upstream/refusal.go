package upstream

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// refusal is an error in an upstream's own words.
type refusal struct {
	message string
	code    string // or type, where there is no code
	param   string
	status  int // an HTTP status that stands in the place of a code
}

// maxMessage bounds the words of an upstream that are passed on, in bytes.
const maxMessage = 1024

// readRefusal reads the body of an HTTP error as far as that makes sense.
func readRefusal(body io.Reader) *refusal {
	data, err := io.ReadAll(io.LimitReader(body, maxRefusalBytes))
	if err != nil {
		return &refusal{}
	}
	if r := parseRefusal(data); r != nil {
		return r
	}
	return &refusal{}
}

// parseRefusal reads the shapes that servers give an error: OpenAI's {"error":{…}}, {"error":"text"}, the same members at
// the top (vLLM, the Responses API's error event), and {"detail":"text"}. It returns nil for what is no error.
func parseRefusal(data jsontext.Value) *refusal {
	var top struct {
		Error  jsontext.Value `json:"error"`
		Detail jsontext.Value `json:"detail"`
		members
	}
	if json.Unmarshal(data, &top, lenient) != nil {
		return nil
	}
	switch top.Error.Kind() {
	case '"':
		return &refusal{message: text(top.Error)}
	case '{':
		var inner members
		if json.Unmarshal(top.Error, &inner, lenient) != nil {
			return &refusal{}
		}
		return inner.refusal()
	}
	if r := top.refusal(); r.message != "" {
		return r
	}
	if top.Detail.Kind() == '"' {
		return &refusal{message: text(top.Detail)}
	}
	return nil
}

// members of an error. They are raw since servers give numbers for strings, and strings for numbers.
type members struct {
	Message jsontext.Value `json:"message"`
	Code    jsontext.Value `json:"code"`
	Type    jsontext.Value `json:"type"`
	Param   jsontext.Value `json:"param"`
}

func (m *members) refusal() *refusal {
	r := &refusal{message: text(m.Message), code: word(text(m.Code)), param: word(text(m.Param))}
	if m.Code.Kind() == '0' {
		r.status, _ = strconv.Atoi(string(m.Code)) // 0 for what is no status either
	}
	if r.code == "" {
		r.code = word(text(m.Type))
	}
	return r
}

// text decodes a JSON string; "" for anything else.
func text(raw jsontext.Value) string {
	if raw.Kind() != '"' {
		return ""
	}
	return unquote(raw[1 : len(raw)-1])
}

// word returns s if it looks like a code or a parameter, and "" if not: a message could hide there.
func word(s string) string {
	if len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.[]") != "" {
		return ""
	}
	return s
}

// redact takes key and addresses out of an upstream's words, and bounds them.
func (e *endpoint) redact(message string) string {
	message = e.secrets.Replace(strings.ToValidUTF8(message, "\uFFFD"))
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}

// redact takes the caller's credentials out too.
func (x *exchange) redact(message string) string {
	if x.callers != nil { // an errand has none
		message = x.callers.Replace(message)
	}
	return x.endpoint.redact(message)
}

// refused makes the error of an HTTP status.
func (x *exchange) refused(resp *http.Response, r *refusal) error {
	switch {
	case x.caller.Err() != nil:
		return ended(x.caller)
	case resp.StatusCode < 300:
		return broken(nil, "upstream %s answered status %d without an answer", x.cfg.Name, resp.StatusCode)
	case resp.StatusCode < 400:
		return broken(nil, "upstream %s answered with a redirect, which is not followed", x.cfg.Name)
	}
	err := statusError(x.cfg.Name, resp.StatusCode, r, x.redact)
	if err.Public.Code != codeQuota {
		err.Public.RetryAfter = retryAfter(resp.Header)
	}
	return err
}

// codeQuota is OpenAI's word for an account that is used up: a 429 for which no waiting helps.
const codeQuota = "insufficient_quota"

// statusError maps a status that refuses. What the caller can mend keeps status, code and words; what only the operator
// can mend keeps none of them.
func statusError(name string, status int, r *refusal, redact func(string) string) *Error {
	said := ""
	if r.message != "" {
		said = ": " + redact(r.message)
	}
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired:
		return fail(http.StatusBadGateway, CodeRefused, nil, "upstream %s refused our credentials", name)
	case http.StatusTooManyRequests:
		err := fail(status, schema.CodeRateLimit, nil, "upstream %s refuses more for now%s", name, said)
		err.Public.Type = schema.TypeRateLimit
		if r.code == codeQuota {
			err.Public.Code = codeQuota
		}
		return err
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return fail(http.StatusGatewayTimeout, CodeTimeout, nil, "upstream %s took too long%s", name, said)
	}
	if status < 500 && r.message != "" {
		return &Error{Public: &schema.Error{Status: callerStatus(status), Type: schema.TypeInvalidRequest,
			Code: orWord(r.code, schema.CodeInvalidValue), Param: r.param, Message: redact(r.message)}}
	}
	return fail(http.StatusBadGateway, CodeUnavailable, nil, "upstream %s answered status %d%s", name, status, said)
}

// callerStatus keeps the statuses that mean the same to our caller as to us.
func callerStatus(status int) int {
	switch status {
	case http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return status
	}
	return http.StatusBadRequest
}

func orWord(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

// failure makes the error of what an upstream says in the midst of its answer, where there is no status any more.
func (a *answer) failure(r *refusal) *Error {
	status := r.status
	switch {
	case status >= 400 && status < 600:
	case r.code == schema.CodeRateLimit, r.code == codeQuota:
		status = http.StatusTooManyRequests
	case r.code == schema.TypeInvalidRequest, r.code == "invalid_prompt", r.code == "context_length_exceeded":
		status = http.StatusBadRequest
	default:
		why := orWord(a.redact(r.message), "it does not say why")
		return fail(http.StatusBadGateway, orWord(r.code, CodeUnavailable), nil, "upstream %s failed: %s", a.name, why)
	}
	return statusError(a.name, status, r, a.redact)
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3): seconds or a date, maxRetryAfter at most, 0 for anything else.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if strings.Trim(value, "0123456789") == "" && value != "" {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil { // so many that they do not fit
			return maxRetryAfter
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(time.Until(at), 0), maxRetryAfter)
}
