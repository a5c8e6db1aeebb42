package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// validate checks what the type cannot say. Whatever the API has and this server does not is refused, never dropped.
func (r *CreateRequest) validate() *Error {
	for _, check := range []func() *Error{
		r.validateUnknown, r.validateModel, r.validateInput, r.validateShapes, r.validateNumbers, r.validateMetadata, r.validateTools,
		r.validateParams, r.validateConversation, r.validateToolChoice, r.validateStreamOptions, r.validateSources,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *CreateRequest) validateModel() *Error {
	switch {
	case r.Model == "":
		return Refuse(CodeMissing, "model", "Missing required parameter: 'model'.")
	case len(r.Model) > 256:
		return Refuse(CodeInvalidValue, "model", "'model' is longer than 256 bytes.")
	}
	return nil
}

func (r *CreateRequest) validateInput() *Error {
	if len(r.Input) == 0 && r.PreviousResponseID == nil && r.echoConversation() == nil && r.Generates() &&
		r.Midstream == nil {
		return Refuse(CodeMissing, "input", "Missing required parameter: 'input'.")
	}
	return checkItems("input", r.Input)
}

// validateSources checks who feeds the response.
func (r *CreateRequest) validateSources() *Error {
	if r.Midstream == nil {
		return nil
	}
	const param = "midstream.producers"
	producers := r.Midstream.Producers
	switch {
	case len(producers) == 0:
		return Refuse(CodeMissing, param, "Missing required parameter: '%s'.", param)
	case len(producers) > MaxProducers:
		return Refuse(CodeInvalidValue, param, "More than %d producers.", MaxProducers)
	case r.echoConversation() != nil:
		return Refuse(CodeExclusive, "conversation", "A response that producers feed cannot be part of a conversation.")
	case !r.Generates():
		return Refuse(CodeExclusive, "generate", "A response that producers feed is always an answer.")
	}
	for i, p := range producers {
		if !ValidToken(p) {
			return Refuse(CodeInvalidValue, param, "'%s[%d]' must match ^[A-Za-z0-9_-]{1,64}$.", param, i)
		}
		if slices.Contains(producers[:i], p) {
			return Refuse(CodeInvalidValue, param, "The producer '%s' is named twice.", p)
		}
	}
	return nil
}

// validateShapes checks the members that are passed on raw.
func (r *CreateRequest) validateShapes() *Error {
	for _, m := range []struct {
		name, kinds string
		value       jsontext.Value
	}{
		{"tool_choice", `"{n`, r.ToolChoice}, {"text", "{n", r.Text}, {"reasoning", "{n", r.Reasoning},
		{"stream_options", "{n", r.StreamOptions}, {"conversation", `"{n`, r.Conversation},
	} {
		if len(m.value) > 0 && !strings.ContainsRune(m.kinds, rune(m.value.Kind())) {
			return Refuse(CodeInvalidValue, m.name, "Invalid type for '%s'.", m.name)
		}
	}
	return nil
}

func (r *CreateRequest) validateNumbers() *Error {
	switch {
	case r.MaxOutputTokens != nil && *r.MaxOutputTokens < 1:
		return Refuse(CodeInvalidValue, "max_output_tokens", "'max_output_tokens' must be at least 1.")
	case r.MaxToolCalls != nil && *r.MaxToolCalls < 0:
		return Refuse(CodeInvalidValue, "max_tool_calls", "'max_tool_calls' must not be negative.")
	case r.Temperature != nil && (*r.Temperature < 0 || *r.Temperature > 2):
		return Refuse(CodeInvalidValue, "temperature", "'temperature' must be between 0 and 2.")
	case r.TopP != nil && (*r.TopP < 0 || *r.TopP > 1):
		return Refuse(CodeInvalidValue, "top_p", "'top_p' must be between 0 and 1.")
	case r.TopLogprobs != nil && (*r.TopLogprobs < 0 || *r.TopLogprobs > 20):
		return Refuse(CodeInvalidValue, "top_logprobs", "'top_logprobs' must be between 0 and 20.")
	case r.Truncation != nil && *r.Truncation != "auto" && *r.Truncation != "disabled":
		return Refuse(CodeInvalidValue, "truncation", "'truncation' must be 'auto' or 'disabled'.")
	}
	return nil
}

func (r *CreateRequest) validateTools() *Error {
	if len(r.Tools) > MaxTools {
		return Refuse(CodeInvalidValue, "tools", "More than %d tools.", MaxTools)
	}
	labels, names := map[string]bool{}, map[string]bool{}
	for i := range r.Tools {
		t := &r.Tools[i]
		param := fmt.Sprintf("tools[%d]", i)
		named := t.Type == ToolFunction || t.Type == ToolCustom
		switch {
		case t.Type == "":
			return Refuse(CodeMissing, param+".type", "Missing required parameter: '%s.type'.", param)
		case named && !ValidToken(t.Name):
			return Refuse(CodeInvalidValue, param+".name", "'%s.name' must match ^[A-Za-z0-9_-]{1,64}$.", param)
		case named && names[t.Name]:
			return Refuse(CodeInvalidValue, param+".name", "Two tools have the name '%s'.", t.Name)
		case named:
			names[t.Name] = true
		case t.Type == ToolMCP && labels[t.ServerLabel]:
			return Refuse(CodeInvalidValue, param+".server_label", "Two MCP servers have the label %.64q.", t.ServerLabel)
		case t.Type == ToolMCP:
			if err := t.validateMCP(param); err != nil {
				return err
			}
			labels[t.ServerLabel] = true
		}
	}
	return refuseShadows(names, labels)
}

// refuseShadows keeps the names under which the model is shown MCP tools, label__tool, free of the client's functions.
func refuseShadows(names, labels map[string]bool) *Error {
	for name := range names {
		if label, _, ok := strings.Cut(name, "__"); ok && labels[label] {
			return Refuse(CodeInvalidValue, "tools", "The function '%s' has the name of a tool of the MCP server '%s'.", name, label)
		}
	}
	return nil
}
