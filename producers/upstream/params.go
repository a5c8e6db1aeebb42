package upstream

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// The reasons for which an answer may be incomplete.
const (
	incompleteTokens = schema.IncompleteTokens
	incompleteFilter = "content_filter"
)

// format is text.format of a request.
type format struct {
	Type        string         `json:"type"`
	Name        string         `json:"name"`
	Description jsontext.Value `json:"description"`
	Schema      jsontext.Value `json:"schema"`
	Strict      jsontext.Value `json:"strict"`
}

// textFormat reads the format out of a request's text. A member of another shape counts as not there: the handler has
// judged the request, and an upstream that minds says so.
func textFormat(text jsontext.Value) format {
	var t struct {
		Format format `json:"format"`
	}
	if len(text) == 0 || json.Unmarshal(text, &t) != nil {
		return format{}
	}
	return t.Format
}

// toolChoice is a tool_choice, read.
type toolChoice struct {
	mode    string   // none, auto, required; "" for one tool
	kind    string   // of the one tool: function, custom, or a hosted one
	name    string   // of the one tool
	allowed []string // names of the tools that mode is limited to; nil allows all
}

// allows reports whether a tool of that name may be called.
func (c *toolChoice) allows(name string) bool {
	return c.allowed == nil || slices.Contains(c.allowed, name)
}

func readToolChoice(raw jsontext.Value) toolChoice {
	if len(raw) == 0 {
		return toolChoice{mode: "auto"}
	}
	var c toolChoice
	if json.Unmarshal(raw, &c.mode) == nil {
		return c
	}
	var o struct {
		Type  string `json:"type"`
		Name  string `json:"name"`
		Mode  string `json:"mode"`
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return toolChoice{mode: "auto"}
	}
	if o.Type != "allowed_tools" {
		return toolChoice{kind: o.Type, name: o.Name}
	}
	c = toolChoice{mode: o.Mode, allowed: []string{}}
	for _, t := range o.Tools {
		c.allowed = append(c.allowed, t.Name)
	}
	return c
}
