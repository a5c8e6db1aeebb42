package upstream

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// Request is one turn: one model call within a run. It is only read.
type Request struct {
	// Response is our id of the response. Upstreams get it as X-Client-Request-Id, to be found again in their logs;
	// call ids that an upstream leaves out are derived from it.
	Response string
	// Turn counts the model calls of the response, from 0.
	Turn int
	// Create is the request as accepted: the parameters to pass on. Its Input and Tools are not used.
	Create *schema.CreateRequest
	// Input is the whole context: the input items, then what this response has said so far. MCP calls are given as
	// function_call and function_call_output.
	Input []schema.Item
	// Tools are offered this turn: MCP tools as functions, and what else the request brought.
	Tools []schema.Tool
	// Passthrough says that Input and Tools have MCP items and entries as they are, for an upstream that runs MCP tools
	// itself: see [RunsMCP]. The entries hold the caller's credentials.
	Passthrough bool
	// ToolChoice takes the place of Create.ToolChoice unless it is nil.
	ToolChoice jsontext.Value

	// Resume is a call of this turn that an earlier attempt has made: it is taken up, and gives all of its events again, from
	// the first. The error is ErrForgotten where that cannot be. nil makes a new call.
	Resume *schema.ModelCall
	// Called is told of each call that can be taken up, before any of its events is given out. An error of it ends the call and
	// is returned as it is. nil tells nobody.
	Called func(context.Context, schema.ModelCall) error

	// Tries are those of this turn that have failed already, by the log: they are not made again.
	Tries []schema.Try
	// Failed is told of each try that fails, before another is made; an error of it ends the call and is returned as it
	// is. nil tells nobody.
	Failed func(context.Context, schema.Try) error
}

// toolChoice returns the choice that holds for this turn; nil where there is none to make.
func (r *Request) toolChoice() jsontext.Value {
	choice := r.Create.ToolChoice
	if r.ToolChoice != nil {
		choice = r.ToolChoice
	}
	if len(r.Tools) == 0 || len(choice) == 0 || choice.Kind() == 'n' {
		return nil
	}
	return choice
}

// Outcome is how a model call ended that did not fail.
type Outcome struct {
	Usage       *schema.Usage // nil if the upstream did not say
	Incomplete  string        // "", "max_output_tokens", "content_filter", or a responses upstream's own reason
	ServiceTier string        // the tier that served the call; "" if the upstream did not say
	Upstream    string        // name of the upstream that served the call
}

// Upstream is one endpoint.
type Upstream interface {
	// Stream makes a model call and hands its events to emit, one at a time and in order, from the calling goroutine.
	// emit may block: the upstream then waits, and its timeouts with it, except Total.
	//
	// An error of emit ends the call and is returned as it is. If ctx ends, so does the call, and the error wraps its
	// cause. Anything else that goes wrong is an *[Error], which unwraps to the *[schema.Error] to answer with; items
	// that were not done by then stay so. Stream is safe for concurrent use.
	Stream(ctx context.Context, req *Request, emit func(schema.Event) error) (Outcome, error)
}

// RunsMCP reports whether an upstream lists and calls the request's MCP servers itself. One that does has a method
// RunsMCP() bool that says so.
func RunsMCP(u Upstream) bool {
	own, ok := u.(interface{ RunsMCP() bool })
	return ok && own.RunsMCP()
}

// Model is one entry of GET /v1/models.
type Model struct {
	ID      string // the name to ask for
	OwnedBy string // the name of its upstream
}
