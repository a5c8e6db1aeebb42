package mcp

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// exchange collects what mcp-go throws away between the socket and its caller: the HTTP status, the JSON-RPC code, the
// cause of a broken body, and the raw result. It travels in the context of a request. Several goroutines of mcp-go may
// write to it.
type exchange struct {
	mu      sync.Mutex
	claimed bool
	facts   facts
}

// facts are what one request has met with.
type facts struct {
	status int            // HTTP status, unless it was 2xx
	rpc    *rpcError      // the JSON-RPC error
	cause  error          // why the transport failed
	page   *toolPage      // the answer to tools/list
	result jsontext.Value // the answer to tools/call
	asked  bool           // the answer was a question: the server wants input
}

type rpcError struct {
	code    int
	message string
	data    jsontext.Value
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := &exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

// exchangeOf never gives nil: what nobody asked for is recorded and forgotten.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

func (x *exchange) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.claimed, x.facts = false, facts{}
}

// claim is true for the first HTTP request after a reset. mcp-go sends others under the same context, in reply to what
// a server asks in the midst of a call; these must not be taken for the answer.
func (x *exchange) claim() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := !x.claimed
	x.claimed = true
	return first
}

func (x *exchange) seen() facts {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.facts
}

func (x *exchange) fail(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.facts.cause == nil {
		x.facts.cause = cause
	}
}

func (x *exchange) refused(status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.facts.status = status
}

func (x *exchange) rejected(rpc *rpcError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.facts.rpc = rpc
}

func (x *exchange) listed(page *toolPage) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.facts.page = page
}

func (x *exchange) called(result jsontext.Value) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.facts.result = result
}

func (x *exchange) askedBack() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.facts.asked = true
}

// hopeless says that another method would fare no better than the last.
func (x *exchange) hopeless() bool {
	seen := x.seen()
	return seen.status == http.StatusUnauthorized || seen.status == http.StatusTooManyRequests || errors.Is(seen.cause, ErrURLNotAllowed)
}

// parseRPCError finds the JSON-RPC error in the body of an HTTP error. An error without an integer code is not one.
func parseRPCError(body []byte) *rpcError {
	var m struct {
		Version string `json:"jsonrpc"`
		Error   *struct {
			Code    *int           `json:"code"`
			Message string         `json:"message"`
			Data    jsontext.Value `json:"data"`
		} `json:"error"`
	}
	err := json.Unmarshal(body, &m, lenient)
	if err != nil || m.Version != "2.0" || m.Error == nil || m.Error.Code == nil {
		return nil
	}
	return &rpcError{code: *m.Error.Code, message: m.Error.Message, data: m.Error.Data}
}

// lenient accepts what mcp-go accepts, so that both read the same message.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// restore puts back what an earlier request has met with.
func (x *exchange) restore(f facts) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.facts = f
}
