package producers

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// call is a tool call that was announced.
type call struct {
	schema.Call
	producer, local string         // its item, as the sequencer knows it
	refusal         jsontext.Value // why it is not made
}

// callResult is what a call gave: an output, or an error with or without one.
type callResult struct {
	call   *call
	output *string
	err    jsontext.Value
}

// announce writes the intent of the pending calls. When it returns, the intent is durable, and so is everything that
// was appended before it: only then may a call leave the node.
func (r *run) announce(ctx context.Context, in schema.Intent) error {
	left := r.callsLeft()
	for n, c := range r.pending {
		in.Calls = append(in.Calls, c.Call)
		switch {
		case left >= 0 && n >= left:
			c.refusal = httpFailure("max_tool_calls was reached: the tool was not called")
		case !isObject(c.Arguments):
			c.refusal = badArguments()
		}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write intent of turn %d: %w", in.Turn, err)
	}
	return r.log.Commit(ctx, schema.RecordIntent, body)
}

// isObject reports whether a model's arguments are what a tool takes. No arguments at all are an empty object.
func isObject(arguments string) bool {
	return jsontext.Value(objectOr(arguments)).Kind() == '{' && jsontext.Value(objectOr(arguments)).IsValid()
}

func objectOr(arguments string) string {
	if arguments == "" {
		return "{}"
	}
	return arguments
}

// callsLeft returns how many more tool calls the request allows; -1 for any number.
func (r *run) callsLeft() int {
	if r.req.MaxToolCalls == nil {
		return -1
	}
	made := 0
	for _, it := range r.seq.State().Items() {
		if it.Type == schema.KindMCPCall {
			made++
		}
	}
	return max(0, int(*r.req.MaxToolCalls)-made)
}

// callTools makes the pending calls, several at once, and appends each result as it comes.
func (r *run) callTools(ctx context.Context) error {
	results := make(chan callResult, len(r.pending))
	slots := make(chan struct{}, maxParallelCalls)
	for _, c := range r.pending {
		go func() {
			slots <- struct{}{}
			results <- r.makeCall(ctx, c)
			<-slots
		}()
	}
	var failed error
	for range r.pending { // every call ends, at the latest when ctx does
		res := <-results
		if failed == nil {
			failed = r.endCall(ctx, res)
		}
	}
	if failed == nil {
		r.pending = nil
	}
	return failed
}

func (r *run) makeCall(ctx context.Context, c *call) callResult {
	if c.refusal != nil {
		return callResult{call: c, err: c.refusal}
	}
	if known, ok := r.fold.Results[c.ID]; ok {
		return callResult{c, known.Output, known.Error}
	}
	ctx, span := r.span(ctx, "mcp.call_tool", "mcp.server_label", c.Label, "gen_ai.tool.name", c.Name)
	defer span.End()
	result, err := r.callServer(ctx, c)
	r.node.metrics.call(err == nil && !result.IsError)
	switch {
	case err != nil:
		return callResult{call: c, err: callFailure(err)}
	case result.IsError:
		return callResult{call: c, err: mcpError{Type: executionError, Content: result.Content}.encode()}
	}
	return callResult{call: c, output: &result.Output}
}

func (r *run) callServer(ctx context.Context, c *call) (mcp.Result, error) {
	for _, t := range r.req.MCP() {
		if t.ServerLabel != c.Label {
			continue
		}
		server, err := r.server(t)
		if err != nil {
			return mcp.Result{}, err
		}
		return r.node.Tools.CallTool(ctx, r.ref.Tenant(), server, c.Name, jsontext.Value(objectOr(c.Arguments)))
	}
	return mcp.Result{}, &mcp.Error{Kind: protocolError, Code: mcpInvalidParams, Message: "no such server in this request"}
}

// endCall ends the item of a call. A result whose item must still wait for the wire goes into the log at once by itself:
// the call is not made again, whatever happens to this node.
func (r *run) endCall(ctx context.Context, res callResult) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	c := res.call
	if !r.seq.OnWire(c.producer, c.local) {
		body, err := json.Marshal(schema.Result{ID: c.ID, Output: res.output, Error: res.err}, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("write result of %s: %w", c.Name, err)
		}
		if err := r.log.Commit(ctx, schema.RecordResult, body); err != nil {
			return err
		}
	}
	last := schema.Event{Type: schema.CallCompleted, ItemID: c.local}
	done := schema.Item{
		ID: c.local, Type: schema.KindMCPCall, ServerLabel: c.Label, Name: c.Name, Arguments: &c.Arguments,
		Status: schema.StatusCompleted, Output: jsontext.Value("null"), Error: jsontext.Value("null"),
	}
	if res.err != nil {
		last.Type, done.Status, done.Error = schema.CallFailed, schema.StatusFailed, res.err
	}
	if res.output != nil {
		text, err := json.Marshal(*res.output, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("write output of %s: %w", c.Name, err)
		}
		done.Output = text
	}
	if err := r.push(ctx, c.producer, last); err != nil {
		return err
	}
	return r.push(ctx, c.producer, schema.Event{Type: schema.ItemDone, Item: &done})
}
