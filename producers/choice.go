package producers

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// The tool_choices that are words.
var (
	choiceAuto = jsontext.Value(`"auto"`)
	choiceNone = jsontext.Value(`"none"`)
)

// choose returns the request's tool_choice in the names that the model is shown: a tool of an MCP server is a function,
// all tools of one are a list of functions of which one must be called. MCP tools that are withheld have names, and are not
// shown.
func choose(req *schema.CreateRequest, shown []schema.Tool, names offers) (jsontext.Value, error) {
	c, err := req.Choice()
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return req.ToolChoice, nil
	case c.Type == schema.ToolMCP:
		return chooseServer(c, shown, names)
	case c.Type == schema.ChoiceAllowed:
		return chooseAmong(c, shown, names)
	case names.withheld(c, shown):
		return choiceAuto, nil
	}
	return req.ToolChoice, nil
}

// withheld reports whether a choice names an MCP tool, by the name that the model knows, while none is shown.
func (o offers) withheld(c *schema.ToolChoice, shown []schema.Tool) bool {
	_, ours := o[c.Name]
	return ours && c.Type == schema.ToolFunction && len(shown) == 0
}

func chooseServer(c *schema.ToolChoice, shown []schema.Tool, names offers) (jsontext.Value, error) {
	tools := functionsOf(c, shown, names)
	switch {
	case len(shown) == 0 && len(names) > 0:
		return choiceAuto, nil // all tools are withheld
	case len(tools) == 0:
		return nil, schema.Refuse(schema.CodeInvalidValue, "tool_choice", "The MCP server '%s' offers no such tool.", c.ServerLabel)
	case c.Name != "":
		return encodeChoice(tools[0])
	}
	return encodeChoice(schema.ToolChoice{Type: schema.ChoiceAllowed, Mode: "required", Tools: tools})
}

// chooseAmong writes a list of allowed tools. Where all of them are withheld, none may be called.
func chooseAmong(c *schema.ToolChoice, shown []schema.Tool, names offers) (jsontext.Value, error) {
	var tools []schema.ToolChoice
	for i := range c.Tools {
		switch one := &c.Tools[i]; {
		case one.Type == schema.ToolMCP:
			tools = append(tools, functionsOf(one, shown, names)...)
		case !names.withheld(one, shown):
			tools = append(tools, *one)
		}
	}
	if len(tools) == 0 {
		return choiceNone, nil
	}
	c.Tools = tools
	return encodeChoice(*c)
}

// functionsOf returns what the model is shown of a chosen server's tools, in the order in which it is shown.
func functionsOf(c *schema.ToolChoice, shown []schema.Tool, names offers) []schema.ToolChoice {
	var tools []schema.ToolChoice
	for i := range shown {
		o, ours := names[shown[i].Name]
		if ours && o.label == c.ServerLabel && (c.Name == "" || c.Name == o.name) {
			tools = append(tools, schema.ToolChoice{Type: schema.ToolFunction, Name: shown[i].Name})
		}
	}
	return tools
}

func encodeChoice(c schema.ToolChoice) (jsontext.Value, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write tool_choice: %w", err)
	}
	return raw, nil
}

// loosen returns the tool_choice of a later turn: a choice that forces a call was obeyed in the first one, and would
// force calls for ever. What it allows stays allowed.
func loosen(choice jsontext.Value) jsontext.Value {
	var allowed schema.ToolChoice
	switch {
	case len(choice) == 0, string(choice) == `"none"`:
		return choice
	case choice.Kind() == '{' && json.Unmarshal(choice, &allowed) == nil && allowed.Type == schema.ChoiceAllowed:
		allowed.Mode = "auto"
		if out, err := json.Marshal(allowed); err == nil {
			return out
		}
	}
	return choiceAuto
}
