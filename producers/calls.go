package producers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.opentelemetry.io/otel/codes"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// call is a tool call of a turn that has ended, until its item is done.
type call struct {
	schema.Call
	producer, local string // its item, as the sequencer knows it
	result          *schema.Result
}

// endTurn writes a turn's record. When it returns, the record is durable, and so is everything that was appended before:
// only then may a call leave the node. A node that is to be left still writes it: what the model has said is not asked again.
func (r *run) endTurn(t schema.Turn) error {
	if err := r.caughtUp(); err != nil {
		return err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write turn %d: %w", t.Number, err)
	}
	if err := r.log.Commit(r.shift.working, schema.RecordTurn, body); err != nil {
		return err
	}
	r.fold.EndTurn(t)
	return nil
}

// adopt takes up a call of the last turn under the names by which the sequencer knows its item.
func (r *run) adopt(id, producer, local string) {
	for _, c := range r.fold.Turn.Calls {
		if c.ID == id {
			r.pending = append(r.pending, &call{Call: c, producer: producer, local: local})
		}
	}
}

// refusal returns the error with which a call ends that is not to be made. left is how many more calls may be made, or
// negative for any number.
func refusal(c *schema.Call, left int) jsontext.Value {
	switch {
	case left == 0:
		return httpFailure("max_tool_calls was reached: the tool was not called")
	case !isObject(c.Arguments):
		return badArguments()
	}
	return nil
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
		if it.Type == schema.KindMCPCall && it.Status != schema.StatusIncomplete {
			made++
		}
	}
	return max(0, int(*r.req.MaxToolCalls)-made)
}

// callTools makes the pending calls, several at once, and appends each result as it comes.
func (r *run) callTools(ctx context.Context) error {
	type answer struct {
		call   *call
		result *schema.Result
	}
	answers := make(chan answer, len(r.pending))
	slots := make(chan struct{}, maxParallelCalls)
	fresh := r.listForApproved(ctx)
	for _, c := range r.pending {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if r.shift.ends() {
				answers <- answer{c, nil} // another node makes it
				return
			}
			answers <- answer{c, r.resultOf(ctx, c, fresh)}
		}()
	}
	var failed, unmade error
	for range len(r.pending) { // every call ends, at the latest when ctx does
		a := <-answers
		a.call.result = a.result
		if a.result == nil {
			unmade = errDraining
			continue
		}
		r.left[a.call.ID] = true
		if failed == nil {
			failed = r.keepResult(ctx, a.call)
		}
		if failed == nil {
			failed = r.showResults(ctx)
		}
	}
	return errors.Join(failed, unmade)
}

// resultOf makes a call, unless its result is known or it is refused.
func (r *run) resultOf(ctx context.Context, c *call, fresh freshLists) *schema.Result {
	if known, ok := r.fold.Results[c.ID]; ok {
		return &known
	}
	if c.Refusal != nil {
		return &schema.Result{ID: c.ID, Error: c.Refusal}
	}
	if c.Approval != "" {
		if fault := r.pin(ctx, c, fresh); fault != nil {
			return &schema.Result{ID: c.ID, Error: fault}
		}
	}
	ctx, span := r.span(ctx, "mcp.call_tool", "mcp.server_label", c.Label, "gen_ai.tool.name", c.Name)
	defer span.End()
	result, err := r.callServer(ctx, c)
	r.node.metrics.call(err == nil && !result.IsError)
	r.node.metrics.progress.Add(float64(result.Progress))
	switch {
	case err != nil:
		span.SetStatus(codes.Error, "call failed")
		return &schema.Result{ID: c.ID, Error: callFailure(err)}
	case result.IsError:
		return &schema.Result{ID: c.ID, Error: mcpError{Type: executionError, Content: result.Content}.encode()}
	}
	return &schema.Result{ID: c.ID, Output: &result.Output}
}

func (r *run) callServer(ctx context.Context, c *call) (mcp.Result, error) {
	entry, ok := r.entry(c.Label)
	if !ok {
		return mcp.Result{}, &mcp.Error{Kind: protocolError, Code: mcpInvalidParams, Message: "no such server in this request"}
	}
	server, err := r.server(entry)
	if err != nil {
		return mcp.Result{}, err
	}
	return r.node.Tools.CallTool(ctx, r.ref.Tenant(), server, c.Name, jsontext.Value(objectOr(c.Arguments)))
}

// keepResult writes a result whose item must still wait for the wire into the log, at once: the call is not made again,
// whatever happens to this node.
func (r *run) keepResult(ctx context.Context, c *call) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, known := r.fold.Results[c.ID]
	if known || r.seq.OnWire(c.producer, c.local) {
		return nil
	}
	body, err := json.Marshal(c.result, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("write result of %s: %w", c.Name, err)
	}
	return r.log.Commit(ctx, schema.RecordResult, body)
}

// showResults ends the calls whose result is there and whose turn has come. The others' results wait here: together they
// may be larger than what a sequencer holds back.
func (r *run) showResults(ctx context.Context) error {
	for i, c := range r.pending {
		if c.result == nil || !r.seq.OnWire(c.producer, c.local) {
			continue
		}
		if err := r.endCall(ctx, c); err != nil {
			return err
		}
		r.pending = slices.Delete(slices.Clone(r.pending), i, i+1)
		return r.showResults(ctx) // its end may have given the wire to the next
	}
	return nil
}

func (r *run) endCall(ctx context.Context, c *call) error {
	last := schema.Event{Type: schema.CallCompleted, ItemID: c.local}
	done := schema.Item{
		ID: c.local, Type: schema.KindMCPCall, ServerLabel: c.Label, Name: c.Name, Arguments: &c.Arguments,
		Status: schema.StatusCompleted, Output: jsontext.Value("null"), Error: jsontext.Value("null"),
	}
	if c.result.Error != nil {
		last.Type, done.Status, done.Error = schema.CallFailed, schema.StatusFailed, c.result.Error
	}
	if c.result.Output != nil {
		text, err := json.Marshal(*c.result.Output, jsontext.AllowInvalidUTF8(true))
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
