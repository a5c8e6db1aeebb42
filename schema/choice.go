package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ToolChoice is a tool_choice that is an object: one tool, the tools of an MCP server, or a list of such.
type ToolChoice struct {
	Type        string         `json:"type"`
	Name        string         `json:"name,omitzero"`
	ServerLabel string         `json:"server_label,omitzero"`
	Mode        string         `json:"mode,omitzero"`
	Tools       []ToolChoice   `json:"tools,omitzero"`
	Rest        jsontext.Value `json:",embed"`
}

// ChoiceAllowed is the type of a tool_choice that lists what may be called. Its other types are those of tools.
const ChoiceAllowed = "allowed_tools"

// The words that a tool_choice may be, and the modes of a list.
const (
	ChoiceNone     = "none"
	ChoiceAuto     = "auto"
	ChoiceRequired = "required"
)

// Choice reads the tool_choice. A word is a choice of that mode and no type; null and absent are nil.
func (r *CreateRequest) Choice() (*ToolChoice, error) {
	if isNull(r.ToolChoice) {
		return nil, nil
	}
	if r.ToolChoice.Kind() == '"' {
		return &ToolChoice{Mode: TextOf(r.ToolChoice)}, nil
	}
	var c ToolChoice
	if err := json.Unmarshal(r.ToolChoice, &c); err != nil {
		return nil, fmt.Errorf("read tool_choice: %w", err)
	}
	return &c, nil
}

// validateToolChoice holds what is chosen to the request's tools. Of hosted tools the upstream judges, and of all of them
// where a prompt may bring more.
func (r *CreateRequest) validateToolChoice() *Error {
	c, err := r.Choice()
	switch {
	case err != nil:
		return Refuse(CodeInvalidValue, "tool_choice", "Invalid type for a member of 'tool_choice'.")
	case c == nil, r.Prompts():
		return nil
	case r.ToolChoice.Kind() == '"':
		return r.validateChoiceWord(c.Mode)
	case c.Type == ChoiceAllowed:
		return r.validateAllowed(c)
	}
	return r.validateChosen(c, "tool_choice")
}

// Prompts reports whether the request names a prompt that is kept elsewhere, and may bring tools.
func (r *CreateRequest) Prompts() bool { return !isNull(membersOf(r.Rest)["prompt"]) }

func (r *CreateRequest) validateChoiceWord(word string) *Error {
	switch {
	case word != ChoiceNone && word != ChoiceAuto && word != ChoiceRequired:
		return Refuse(CodeInvalidValue, "tool_choice", "'tool_choice' must be 'none', 'auto', 'required' or an object.")
	case word == ChoiceRequired && len(r.Tools) == 0:
		return Refuse(CodeInvalidValue, "tool_choice", "Tool choice 'required' needs 'tools'.")
	}
	return nil
}

func (r *CreateRequest) validateAllowed(c *ToolChoice) *Error {
	switch {
	case c.Mode != ChoiceAuto && c.Mode != ChoiceRequired:
		return Refuse(CodeInvalidValue, "tool_choice.mode", "'tool_choice.mode' must be 'auto' or 'required'.")
	case len(c.Tools) == 0:
		return Refuse(CodeInvalidValue, "tool_choice.tools", "'tool_choice.tools' must be a list of tools.")
	}
	for i := range c.Tools {
		if err := r.validateChosen(&c.Tools[i], fmt.Sprintf("tool_choice.tools[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *CreateRequest) validateChosen(c *ToolChoice, param string) *Error {
	named := c.Type == ToolFunction || c.Type == ToolCustom
	switch {
	case c.Type == "":
		return missing(param + ".type")
	case c.Type == ToolMCP && c.ServerLabel == "":
		return missing(param + ".server_label")
	case c.Type == ToolMCP && !r.connects(c.ServerLabel):
		return Refuse(CodeInvalidValue, param+".server_label", "No MCP server among the 'tools' has the label %.64q.", c.ServerLabel)
	case named && c.Name == "":
		return missing(param + ".name")
	case named && !r.offers(c.Type, c.Name):
		return Refuse(CodeInvalidValue, "tool_choice", "Tool choice '%.64s' not found in 'tools'.", c.Name)
	}
	return nil
}

func (r *CreateRequest) connects(label string) bool {
	return slices.ContainsFunc(r.Tools, func(t Tool) bool { return t.Type == ToolMCP && t.ServerLabel == label })
}

// offers reports whether a tool of that kind and name is among the request's, or may be among those of an MCP server, which
// are functions to the model.
func (r *CreateRequest) offers(kind, name string) bool {
	return slices.ContainsFunc(r.Tools, func(t Tool) bool {
		return t.Type == kind && t.Name == name || t.Type == ToolMCP && kind == ToolFunction && strings.HasPrefix(name, t.prefix())
	})
}

// maxPrefix is how much of a server's label is in the names of all its tools: names of more than 64 characters are cut to
// this, and a hash follows.
const maxPrefix = 55

// prefix is what the names have in front under which the model is shown the tools of an MCP server: label__tool.
func (t *Tool) prefix() string {
	prefix := t.ServerLabel + "__"
	return prefix[:min(len(prefix), maxPrefix)]
}
