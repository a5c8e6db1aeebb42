package producers

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// modelInput returns what the model is told: the request's input, then what this response has said so far. MCP calls
// become the function calls that they are for the model, each with its output.
func modelInput(groups ...[]schema.Item) ([]schema.Item, error) {
	var input []schema.Item
	for _, items := range groups {
		for i := range items {
			it := &items[i]
			switch it.Type {
			case schema.KindListTools, schema.KindApprovalRequest, schema.KindApproval:
			case schema.KindMCPCall:
				if it.Status == schema.StatusIncomplete {
					continue // cut off with its arguments half said, and never made
				}
				call, output, err := asFunction(it)
				if err != nil {
					return nil, err
				}
				input = append(input, call, output)
			default:
				input = append(input, *it)
			}
		}
	}
	return input, nil
}

// asFunction returns a finished MCP call as a function call and its output. A failed call's error is its output: the
// model should know.
func asFunction(it *schema.Item) (call, output schema.Item, err error) {
	text := it.Output
	if len(text) == 0 || text.Kind() != '"' {
		if text, err = json.Marshal("The tool call failed: " + callError(it.Error)); err != nil {
			return call, output, fmt.Errorf("read error of call %s: %w", it.ID, err)
		}
	}
	call = schema.Item{
		Type: schema.KindFunctionCall, CallID: it.ID, Name: modelName(it.ServerLabel, it.Name), Arguments: it.Arguments,
		Status: schema.StatusCompleted,
	}
	output = schema.Item{Type: schema.KindFunctionOutput, CallID: it.ID, Output: text}
	return call, output, nil
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

// askToFinish is put before the model when it may call no more tools.
func askToFinish() schema.Item {
	text := "No more tools may be called in this response. Answer with what is known so far."
	return schema.Item{
		Type: schema.KindMessage, Role: "developer",
		Content: schema.Content{{Type: schema.PartInputText, Text: &text}},
	}
}
