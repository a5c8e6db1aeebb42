package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// validateParams checks the parameters that are passed on raw, as far as the API fixes their shape. Words whose meaning is
// the model's (efforts, tiers) pass: new ones come with new models, and an upstream that knows none says so.
func (r *CreateRequest) validateParams() *Error {
	for _, check := range []func() *Error{
		r.validateInclude, r.validateText, r.validateReasoning, r.validateRest, r.validateToolShapes,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// includables are what include may ask for (reference: openai-go ResponseIncludable).
var includables = []string{
	"file_search_call.results", "web_search_call.results", "web_search_call.action.sources", "message.input_image.image_url",
	"computer_call_output.output.image_url", "code_interpreter_call.outputs", "reasoning.encrypted_content",
	"message.output_text.logprobs",
}

func (r *CreateRequest) validateInclude() *Error {
	for i, what := range r.Include {
		if !slices.Contains(includables, what) {
			return Refuse(CodeInvalidValue, fmt.Sprintf("include[%d]", i), "Invalid value %.80q: 'include' takes %s.",
				what, strings.Join(includables, ", "))
		}
	}
	return nil
}

// shape is what kinds of JSON a member may be, beside null and absent: by the first byte, 0 for a number, t for a boolean.
type shape struct{ name, kinds string }

// checkShapes checks members of an object; prefix stands before their names in errors.
func checkShapes(prefix string, members map[string]jsontext.Value, shapes ...shape) *Error {
	for _, s := range shapes {
		v := members[s.name]
		kind := v.Kind()
		if kind == 'f' {
			kind = 't'
		}
		if !isNull(v) && !strings.ContainsRune(s.kinds, rune(kind)) {
			return Refuse(CodeInvalidValue, prefix+s.name, "Invalid type for '%s%s'.", prefix, s.name)
		}
	}
	return nil
}

// membersOf returns the members of an object; none for anything else.
func membersOf(raw jsontext.Value) map[string]jsontext.Value {
	var members map[string]jsontext.Value
	if raw.Kind() != '{' || json.Unmarshal(raw, &members) != nil {
		return nil
	}
	return members
}

// TextOf returns a raw value that is a string; "" for anything else.
func TextOf(raw jsontext.Value) (s string) {
	if raw.Kind() != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func (r *CreateRequest) validateText() *Error {
	text := membersOf(r.Text)
	if err := checkShapes("text.", text, shape{"format", "{"}, shape{"verbosity", `"`}); err != nil {
		return err
	}
	if isNull(text["format"]) {
		return nil
	}
	format := membersOf(text["format"])
	switch TextOf(format["type"]) {
	case "text", "json_object":
		return nil
	case "json_schema":
	default:
		return Refuse(CodeInvalidValue, "text.format.type", "'text.format.type' must be 'text', 'json_object' or 'json_schema'.")
	}
	switch {
	case !ValidToken(TextOf(format["name"])):
		return Refuse(CodeInvalidValue, "text.format.name", "'text.format.name' must match ^[A-Za-z0-9_-]{1,64}$.")
	case isNull(format["schema"]):
		return Refuse(CodeMissing, "text.format.schema", "Missing required parameter: 'text.format.schema'.")
	}
	return checkShapes("text.format.", format, shape{"schema", "{"}, shape{"strict", "t"}, shape{"description", `"`})
}

func (r *CreateRequest) validateReasoning() *Error {
	return checkShapes("reasoning.", membersOf(r.Reasoning), shape{"effort", `"`}, shape{"summary", `"`},
		shape{"generate_summary", `"`}, shape{"context", `"`}, shape{"mode", `"`})
}

// validateRest checks members of the API that the request's type does not name.
func (r *CreateRequest) validateRest() *Error {
	rest := membersOf(r.Rest)
	if err := checkShapes("", rest, shape{"prompt", "{"}, shape{"context_management", "["}, shape{"moderation", "{"},
		shape{"prompt_cache_retention", `"`}, shape{"prompt_cache_options", "{"},
		shape{"presence_penalty", "0"}, shape{"frequency_penalty", "0"}, shape{"client_metadata", "{"}); err != nil {
		return err
	}
	if prompt := rest["prompt"]; !isNull(prompt) && TextOf(membersOf(prompt)["id"]) == "" {
		return Refuse(CodeMissing, "prompt.id", "Missing required parameter: 'prompt.id'.")
	}
	for _, name := range []string{"presence_penalty", "frequency_penalty"} {
		if p := r.penalty(name); p < -2 || p > 2 {
			return Refuse(CodeInvalidValue, name, "'%s' must be between -2 and 2.", name)
		}
	}
	return nil
}

// penalty returns one of the two penalties of the Open Responses specification; 0 if it is not there.
func (r *CreateRequest) penalty(name string) (p float64) {
	if v := membersOf(r.Rest)[name]; v.Kind() != '0' || json.Unmarshal(v, &p) != nil {
		return 0
	}
	return p
}

func (r *CreateRequest) validateToolShapes() *Error {
	for i := range r.Tools {
		t, prefix := &r.Tools[i], fmt.Sprintf("tools[%d].", i)
		if t.Type != ToolFunction && t.Type != ToolCustom {
			continue
		}
		members := membersOf(t.Rest)
		if members == nil {
			members = map[string]jsontext.Value{}
		}
		members["description"], members["parameters"], members["strict"] = t.Description, t.Parameters, t.Strict
		shapes := []shape{{"description", `"`}, {"parameters", "{"}, {"strict", "t"}}
		if t.Type == ToolCustom {
			shapes = []shape{{"description", `"`}, {"format", "{"}}
		}
		if err := checkShapes(prefix, members, shapes...); err != nil {
			return err
		}
	}
	return nil
}
