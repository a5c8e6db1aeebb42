package upstream

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// demoCall is a call that the demo is about to make.
type demoCall struct{ kind, name, text string }

// chooseCalls says which tools the demo calls this turn: none when it has called enough, or may not.
func (s *scene) chooseCalls(req *Request) []demoCall {
	choice := readToolChoice(req.toolChoice())
	tools := slices.DeleteFunc(slices.Clone(req.Tools), func(t schema.Tool) bool {
		return !callable(t.Type) || !choice.allows(t.Name)
	})
	each := 1
	if parallel := req.Create.ParallelToolCalls; s.has("parallel") && (parallel == nil || *parallel) {
		each = 2
	}
	if len(tools) == 0 || choice.mode == "none" || s.calls >= each*s.number("rounds", 1, maxDemoRounds) {
		return nil
	}
	s.rank(tools, choice.name)
	var calls []demoCall
	for n := range each {
		calls = append(calls, s.call(&tools[n%len(tools)]))
	}
	return calls
}

// rank puts the tools in the order in which the demo would call them.
func (s *scene) rank(tools []schema.Tool, chosen string) {
	if name := s.script["tool"]; name != "" {
		chosen = name
	}
	spoken := wordsOf(s.user)
	score := func(t *schema.Tool) (n int) {
		for _, w := range wordsOf(t.Name) {
			if slices.Contains(spoken, w) {
				n++
			}
		}
		for _, w := range wordsOf(string(t.Parameters)) { // the user may name one of its choices
			if len(w) > 3 && slices.Contains(spoken, w) {
				n++
			}
		}
		if chosen != "" && (t.Name == chosen || strings.HasSuffix(t.Name, "__"+chosen)) { // an MCP tool has its server in front
			n += 2000
		}
		if s.has("function") && !strings.Contains(t.Name, "__") {
			n += 1000
		}
		return n
	}
	slices.SortStableFunc(tools, func(a, b schema.Tool) int { return score(&b) - score(&a) })
}

func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
}

func (s *scene) call(t *schema.Tool) demoCall {
	if t.Type == schema.ToolCustom {
		return demoCall{schema.KindCustomCall, t.Name, s.user}
	}
	args := string(sample(t.Parameters, s.user))
	if scripted, ok := s.script["args"]; ok {
		args = scripted
	}
	return demoCall{schema.KindFunctionCall, t.Name, args}
}

// callID derives the id of a turn's n-th call, so that every attempt at the turn gives the same.
func callID(req *Request, n int) string {
	sum := sha256.Sum256([]byte(req.Response))
	return fmt.Sprintf("call_%x_%d_%d", sum[:12], req.Turn, n)
}

// node is what the demo understands of a JSON schema.
type node struct {
	Type       jsontext.Value   `json:"type"`
	Const      jsontext.Value   `json:"const"`
	Enum       []jsontext.Value `json:"enum"`
	Default    jsontext.Value   `json:"default"`
	Minimum    *float64         `json:"minimum"`
	Items      *node            `json:"items"`
	Required   []string         `json:"required"`
	Properties map[string]*node `json:"properties"`
	AnyOf      []*node          `json:"anyOf"`
}

// maxSampleDepth bounds a sample: deeper values are null.
const maxSampleDepth = 8

// sample returns a value that fits a JSON schema, more or less: {} for one that is not understood.
func sample(params jsontext.Value, text string) jsontext.Value {
	var n node
	if len(params) == 0 || json.Unmarshal(params, &n) != nil {
		return jsontext.Value(`{}`)
	}
	if len(n.Type) == 0 {
		n.Type = jsontext.Value(`"object"`)
	}
	return n.sample(text, maxSampleDepth)
}

func (n *node) sample(text string, depth int) jsontext.Value {
	switch {
	case n == nil || depth == 0:
		return jsontext.Value("null")
	case len(n.Enum) > 0:
		return n.choose(text)
	case len(n.Const) > 0:
		return n.Const
	case len(n.Default) > 0:
		return n.Default
	case len(n.AnyOf) > 0:
		return n.AnyOf[0].sample(text, depth-1)
	}
	switch n.kind() {
	case "object":
		return n.object(text, depth)
	case "array":
		return slices.Concat(jsontext.Value("["), n.Items.sample(text, depth-1), jsontext.Value("]"))
	case "string":
		return quote(strings.Join(strings.Fields(text), " "))
	case "integer", "number":
		return n.number(text)
	case "boolean":
		return jsontext.Value("true")
	}
	return jsontext.Value("null")
}

// choose takes the choice that the user has named, else the first.
func (n *node) choose(text string) jsontext.Value {
	spoken := wordsOf(text)
	for _, choice := range n.Enum {
		words := wordsOf(string(choice))
		if len(words) == 1 && slices.Contains(spoken, words[0]) {
			return choice
		}
	}
	return n.Enum[0]
}

// kind returns the type, the first of several.
func (n *node) kind() string {
	var one string
	if json.Unmarshal(n.Type, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(n.Type, &several) == nil && len(several) > 0 {
		return several[0]
	}
	return ""
}

func (n *node) object(text string, depth int) jsontext.Value {
	out := jsontext.Value("{")
	for i, name := range n.Required {
		if slices.Contains(n.Required[:i], name) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, quote(name)...), ':')
		out = append(out, n.Properties[name].sample(text, depth-1)...)
	}
	return append(out, '}')
}

// number takes the first whole number that the user has said, else the least that is allowed, else 1.
func (n *node) number(text string) jsontext.Value {
	digits := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) > 0 && len(digits[0]) < 16 {
		if said, err := strconv.ParseInt(digits[0], 10, 64); err == nil {
			return strconv.AppendInt(nil, said, 10)
		}
	}
	if n.Minimum != nil && *n.Minimum > 1 {
		return strconv.AppendFloat(nil, *n.Minimum, 'f', -1, 64)
	}
	return jsontext.Value("1")
}

// quote writes a JSON string. Text from a request is valid UTF-8, the only thing that could fail.
func quote(text string) jsontext.Value {
	raw, err := jsontext.AppendQuote(nil, text)
	if err != nil {
		return jsontext.Value(`""`)
	}
	return raw
}
