package producers

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// The kinds of an mcp_call's error (reference: OpenAI Responses API, mcp_call.error).
const (
	httpError      = "http_error"
	protocolError  = "mcp_protocol_error"
	executionError = "mcp_tool_execution_error"
)

// failure returns why a run failed, as its response says it. An error that was not made for clients stays inside.
func failure(err error) *schema.ResponseError {
	if e, ok := errors.AsType[*schema.Error](err); ok {
		return &schema.ResponseError{Code: e.Code, Message: e.Message, Type: e.Type, Param: e.Param}
	}
	var v *schema.Violation
	var held *schema.HeldError
	if errors.As(err, &v) || errors.As(err, &held) {
		return &schema.ResponseError{
			Code: schema.CodeUpstreamProtocol, Type: schema.TypeUpstream,
			Message: "The upstream's events cannot be put in order: " + err.Error() + ".",
		}
	}
	return &schema.ResponseError{Code: schema.CodeServer, Type: schema.TypeServer, Message: "The server had an error while making the response."}
}

func tooManyTurns(limit int) *schema.ResponseError {
	return &schema.ResponseError{
		Code: schema.CodeTurns, Type: schema.TypeServer,
		Message: fmt.Sprintf("The model asked for tools in %d turns in a row, which is this server's limit.", limit),
	}
}

func forgotten() *schema.ResponseError {
	return &schema.ResponseError{
		Code: schema.CodePreviousNotFound, Type: schema.TypeInvalidRequest, Param: "previous_response_id",
		Message: "A response that this one goes on from is no longer there.",
	}
}

func tooLongAThread() *schema.ResponseError {
	return &schema.ResponseError{
		Code: schema.CodeInvalidValue, Type: schema.TypeInvalidRequest, Param: "previous_response_id",
		Message: fmt.Sprintf("The responses that this one goes on from hold more than %d bytes: compact them.", schema.MaxThreadBytes),
	}
}

func lostConversation() *schema.ResponseError {
	return &schema.ResponseError{
		Code: schema.CodeConversationNotFound, Type: schema.TypeInvalidRequest, Param: "conversation",
		Message: "The conversation that this response goes on from is no longer there.",
	}
}

func expired() *schema.ResponseError {
	return &schema.ResponseError{
		Code: schema.CodeRunExpired, Type: schema.TypeServer, Message: "The response took longer than this server allows.",
	}
}

// listFailure is the API's own text for an MCP server whose tools cannot be listed.
func listFailure(label string, err error) *schema.ResponseError {
	text := fmt.Sprintf("Error retrieving tool list from MCP server: '%s'.", label)
	code := httpError
	if e, ok := errors.AsType[*mcp.Error](err); ok {
		code = e.Kind
		if status := http.StatusText(e.Code); e.Kind == httpError && status != "" {
			text = fmt.Sprintf("%s Http status code: %d (%s)", text, e.Code, status)
		} else {
			text += " " + e.Message
		}
	}
	return &schema.ResponseError{Code: code, Type: schema.TypeConnector, Param: "tools", Message: text}
}

// mcpError is the error of an mcp_call item.
type mcpError struct {
	Type    string         `json:"type"`
	Code    *int           `json:"code,omitzero"`
	Message string         `json:"message,omitzero"`
	Content jsontext.Value `json:"content,omitzero"`
}

func (e mcpError) encode() jsontext.Value {
	data, err := json.Marshal(e, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return jsontext.Value(`{"type":"http_error","code":0,"message":"unreadable error"}`)
	}
	return data
}

// callFailure returns what an mcp_call that failed shows.
func callFailure(err error) jsontext.Value {
	if e, ok := errors.AsType[*mcp.Error](err); ok {
		return mcpError{Type: e.Kind, Code: &e.Code, Message: e.Message}.encode()
	}
	return httpFailure("the call was cut off")
}

func httpFailure(message string) jsontext.Value {
	return mcpError{Type: httpError, Code: new(0), Message: message}.encode()
}

func badArguments() jsontext.Value {
	return mcpError{Type: protocolError, Code: new(mcpInvalidParams), Message: "the model's arguments are not a JSON object; the tool was not called"}.encode()
}

// mcpInvalidParams is JSON-RPC's "invalid params".
const mcpInvalidParams = -32602
