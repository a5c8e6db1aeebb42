package upstream

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

type messagesTool struct {
	Name        string         `json:"name"`
	Description jsontext.Value `json:"description,omitzero"`
	InputSchema jsontext.Value `json:"input_schema"`
	Strict      jsontext.Value `json:"strict,omitzero"`
}

type messagesChoice struct {
	Type       string `json:"type"`
	Name       string `json:"name,omitzero"`
	NoParallel bool   `json:"disable_parallel_tool_use,omitzero"`
}

const (
	choiceAuto = "auto"
	choiceAny  = "any"
	choiceTool = "tool"
	choiceNone = "none"
)

// anyObject is the schema of a tool that says nothing of its input.
var anyObject = jsontext.Value(`{"type":"object"}`)

// setTools offers the tools. What allowed_tools leaves out is not offered: the API has no other way to forbid it.
func (b *messagesRequest) setTools(r *Request) error {
	choice := readToolChoice(r.toolChoice())
	for i := range r.Tools {
		t := &r.Tools[i]
		if choice.allowed != nil && !slices.Contains(choice.allowed, t.Name) {
			continue
		}
		tool, err := messagesToolOf(t)
		if err != nil {
			return err
		}
		b.Tools = append(b.Tools, tool)
	}
	if len(b.Tools) == 0 {
		b.declareCalled()
		return nil
	}
	return b.setToolChoice(r, choice)
}

// declareCalled declares the tools that were called, and allows none: the API refuses a context with calls in it, and no
// tools.
func (b *messagesRequest) declareCalled() {
	for _, m := range b.Messages {
		for _, p := range m.Content {
			known := slices.ContainsFunc(b.Tools, func(t messagesTool) bool { return t.Name == p.Name })
			if p.Type == blockTool && !known {
				b.Tools = append(b.Tools, messagesTool{Name: p.Name, InputSchema: anyObject})
			}
		}
	}
	if len(b.Tools) > 0 {
		b.ToolChoice = &messagesChoice{Type: choiceNone}
	}
}

func messagesToolOf(t *schema.Tool) (messagesTool, error) {
	tool := messagesTool{Name: t.Name, Description: present(t.Description)}
	switch {
	case t.Type == schema.ToolFunction:
		tool.InputSchema = anyObject
		if p := present(t.Parameters); p != nil {
			tool.InputSchema = withMember(p, "type", jsontext.Value(`"object"`))
		}
		if t.Strict.Kind() == 't' {
			tool.Strict = t.Strict
		}
	case t.Type == schema.ToolCustom && text(member(member(t.Rest, "format"), "type")) != "grammar":
		tool.InputSchema = customSchema
	case t.Type == schema.ToolCustom:
		return tool, schema.Refuse(schema.CodeUnsupported, "tools", "the grammar of tool '%s' is not available with this model", t.Name)
	default:
		return tool, schema.Refuse(schema.CodeUnsupported, "tools", "tools of type %.40q are not available with this model", t.Type)
	}
	return tool, nil
}

// customSchema makes a custom tool, which the API does not have, of one that takes an object with the text in it.
var customSchema = jsontext.Value(
	`{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}`)

// customCall is the input of a call of a custom tool.
func customCall(input string) jsontext.Value { return fmt.Appendf(nil, `{"input":%s}`, quote(input)) }

func (b *messagesRequest) setToolChoice(r *Request, choice toolChoice) error {
	alone := r.Create.ParallelToolCalls != nil && !*r.Create.ParallelToolCalls
	switch {
	case choice.mode == choiceAuto && !alone:
		return nil // the default
	case choice.mode == choiceAuto:
		b.ToolChoice = &messagesChoice{Type: choiceAuto, NoParallel: true}
	case choice.mode == "required":
		b.ToolChoice = &messagesChoice{Type: choiceAny, NoParallel: alone}
	case choice.mode == choiceNone:
		b.ToolChoice = &messagesChoice{Type: choiceNone}
	case choice.kind == schema.ToolFunction || choice.kind == schema.ToolCustom:
		b.ToolChoice = &messagesChoice{Type: choiceTool, Name: choice.name, NoParallel: alone}
	default:
		return schema.Refuse(schema.CodeUnsupported, "tool_choice", "tool_choice %.40q is not available with this model", choice.mode+choice.kind)
	}
	return nil
}

// forces reports whether the model must call a tool.
func (b *messagesRequest) forces() bool {
	return b.ToolChoice != nil && (b.ToolChoice.Type == choiceAny || b.ToolChoice.Type == choiceTool)
}
