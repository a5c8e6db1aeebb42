package producers

import (
	"fmt"
	"slices"

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
// shown. A choice that forces a call of what nobody offers is refused.
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
		return chooseAmong(req, c, shown, names)
	case names.withheld(c, shown):
		return choiceAuto, nil
	case unoffered(req, c, names):
		return nil, schema.Refuse(schema.CodeInvalidValue, "tool_choice", "Tool choice '%.64s' not found among the tools.", c.Name)
	case c.Mode == schema.ChoiceRequired && offersNothing(req, names):
		return nil, nothingToCall()
	}
	return req.ToolChoice, nil
}

// unoffered reports whether a choice names a function that nobody offers.
func unoffered(req *schema.CreateRequest, c *schema.ToolChoice, names offers) bool {
	_, ours := names[c.Name]
	own := slices.ContainsFunc(req.Tools, func(t schema.Tool) bool { return t.Type == c.Type && t.Name == c.Name })
	return c.Type == schema.ToolFunction && !ours && !own && !req.Prompts()
}

// offersNothing reports whether the request's MCP servers are all that it has, and list no tool.
func offersNothing(req *schema.CreateRequest, names offers) bool {
	own := slices.ContainsFunc(req.Tools, func(t schema.Tool) bool { return t.Type != schema.ToolMCP })
	return len(names) == 0 && !own && !req.Prompts()
}

func nothingToCall() error {
	return schema.Refuse(schema.CodeInvalidValue, "tool_choice", "A tool must be called, and none that may be called is offered.")
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

// chooseAmong writes a list of allowed tools. Where none of them is shown, none may be called, unless one must be.
func chooseAmong(req *schema.CreateRequest, c *schema.ToolChoice, shown []schema.Tool, names offers) (jsontext.Value, error) {
	var tools []schema.ToolChoice
	for i := range c.Tools {
		switch one := &c.Tools[i]; {
		case one.Type == schema.ToolMCP:
			tools = append(tools, functionsOf(one, shown, names)...)
		case !names.withheld(one, shown) && !unoffered(req, one, names):
			tools = append(tools, *one)
		}
	}
	switch allWithheld := len(shown) == 0 && len(names) > 0; {
	case len(tools) == 0 && c.Mode == schema.ChoiceRequired && !allWithheld:
		return nil, nothingToCall()
	case len(tools) == 0:
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
