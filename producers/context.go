package producers

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// modelInput returns what the model is told: what the response goes on from, the request's input, then what this response
// has said so far.
//
// MCP calls become the function calls that they are for the model, each with its output. So do calls that a human has
// denied, or has not answered for: the model should know that it asked, and that nothing was done. A call that was cut off
// in its arguments is left out, and its output with it: it must not look whole. Each output stands directly behind its
// call, and behind those that were made together with it, wherever the caller put it: upstreams take no other order.
func modelInput(groups ...[]schema.Item) ([]schema.Item, error) {
	n := newNarration(slices.Concat(groups...))
	for i := range n.items {
		if err := n.tell(i); err != nil {
			return nil, err
		}
	}
	n.flush()
	return n.told, nil
}

// narration makes the model's input from a context.
type narration struct {
	items    []schema.Item
	outputs  map[int]int             // where a client's call stands → where its output does
	moved    map[int]bool            // outputs that are told with their calls
	answers  map[string]*schema.Item // id of a request for approval → the answer
	called   map[string]bool         // ids of the requests that led to a call
	told     []schema.Item
	calls    []schema.Item // made together, and not told yet
	returned []schema.Item // their outputs
}

func newNarration(items []schema.Item) *narration {
	n := &narration{
		items: items, outputs: map[int]int{}, moved: map[int]bool{}, answers: map[string]*schema.Item{}, called: map[string]bool{},
	}
	waiting := map[string]int{} // call id → its last call; upstreams give ids out twice
	for i := range items {
		switch it := &items[i]; it.Type {
		case schema.KindFunctionCall, schema.KindCustomCall:
			waiting[it.CallID] = i
		case schema.KindFunctionOutput, schema.KindCustomOutput:
			if call, ok := waiting[it.CallID]; ok {
				n.outputs[call], n.moved[i] = i, true
				delete(waiting, it.CallID)
			}
		case schema.KindApproval:
			n.answers[schema.TextOf(it.ApprovalRequestID)] = it
		case schema.KindMCPCall:
			if id := schema.TextOf(it.ApprovalRequestID); id != "" && it.Status != schema.StatusIncomplete {
				n.called[id] = true
			}
		}
	}
	return n
}

// tell takes the i-th item of the context.
func (n *narration) tell(i int) error {
	it := &n.items[i]
	switch it.Type {
	case schema.KindListTools, schema.KindApproval:
		return nil
	case schema.KindFunctionCall, schema.KindCustomCall:
		n.tellCall(i)
		return nil
	case schema.KindMCPCall:
		if it.Status == schema.StatusIncomplete {
			return nil
		}
		return n.tellMCP(it, it.Output, "The tool call failed: "+callError(it.Error))
	case schema.KindApprovalRequest:
		if n.called[it.ID] {
			return nil // the call itself is told
		}
		return n.tellMCP(it, nil, verdict(n.answers[it.ID]))
	}
	n.flush()
	if !n.moved[i] {
		n.told = append(n.told, *it)
	}
	return nil
}

// tellCall takes a call of the client's.
func (n *narration) tellCall(i int) {
	if n.items[i].Status == schema.StatusIncomplete {
		return
	}
	n.calls = append(n.calls, n.items[i])
	if output, ok := n.outputs[i]; ok {
		n.returned = append(n.returned, n.items[output])
	}
}

// tellMCP takes a call of an MCP tool: with its output, or with what to say where that is none. Behind a call of the client's
// it was made together with that one; else nobody knows whether it was.
func (n *narration) tellMCP(it *schema.Item, output jsontext.Value, otherwise string) (err error) {
	if len(output) == 0 || output.Kind() != '"' {
		if output, err = json.Marshal(otherwise, jsontext.AllowInvalidUTF8(true)); err != nil {
			return fmt.Errorf("tell of %s: %w", it.ID, err)
		}
	}
	together := len(n.calls) > 0
	n.calls = append(n.calls, schema.Item{
		Type: schema.KindFunctionCall, CallID: it.ID, Name: modelName(it.ServerLabel, it.Name), Arguments: it.Arguments,
		Status: schema.StatusCompleted,
	})
	n.returned = append(n.returned, schema.Item{Type: schema.KindFunctionOutput, CallID: it.ID, Output: output})
	if !together {
		n.flush()
	}
	return nil
}

// flush tells the calls that were made together, then their outputs.
func (n *narration) flush() {
	n.told = append(append(n.told, n.calls...), n.returned...)
	n.calls, n.returned = nil, nil
}

// verdict is what the model is told of a call that was not made for want of approval.
func verdict(answer *schema.Item) string {
	switch {
	case answer == nil || answer.Approve == nil:
		return "This call needs the user's approval, which has not been given. It was not made."
	case *answer.Approve:
		return "The user approved this call, but it is not known what came of it."
	case answer.Reason != nil && *answer.Reason != "":
		return "The user denied this call. It was not made. The reason given: " + *answer.Reason
	}
	return "The user denied this call. It was not made."
}

// callError returns the text of an mcp_call's error, whichever form of it.
func callError(raw jsontext.Value) string {
	var e struct {
		Message string `json:"message"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &e) != nil {
		return "unknown error"
	}
	if e.Message != "" || len(e.Content) == 0 {
		return e.Message
	}
	return e.Content[0].Text
}

// rawInput returns what an upstream is told that runs MCP tools itself: all of it, but for calls that were cut off, and tool
// lists that failed.
func rawInput(groups ...[]schema.Item) []schema.Item {
	cut := map[string]bool{}
	return slices.DeleteFunc(slices.Concat(groups...), func(it schema.Item) bool {
		switch it.Type {
		case schema.KindListTools:
			return it.Failed()
		case schema.KindMCPCall:
			return it.Status == schema.StatusIncomplete
		case schema.KindFunctionCall, schema.KindCustomCall:
			cut[it.CallID] = it.Status == schema.StatusIncomplete
			return cut[it.CallID]
		case schema.KindFunctionOutput, schema.KindCustomOutput:
			return cut[it.CallID]
		}
		return false
	})
}

// askToFinish is put before the model when it may call no more tools.
func askToFinish() schema.Item {
	text := "No more tools may be called in this response. Answer with what is known so far."
	return schema.Item{
		Type: schema.KindMessage, Role: "developer",
		Content: schema.Content{{Type: schema.PartInputText, Text: &text}},
	}
}
