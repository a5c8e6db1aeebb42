package producers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// offer is an MCP tool as the model sees it.
type offer struct {
	label, name string
	asks        bool // a human must allow each call of it
}

// offers maps the names that the model is shown to the tools behind them.
type offers map[string]offer

// maxToolName is what OpenAI-compatible models take as a function name; hashSuffix is what of it tells long names apart.
const (
	maxToolName = 64
	hashSuffix  = 8
)

// listed is a tool as an mcp_list_tools item shows it.
type listed struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitzero"`
	InputSchema jsontext.Value `json:"input_schema"`
	Annotations jsontext.Value `json:"annotations,omitzero"`
}

// modelName returns label__tool in the letters that models accept. Two servers with a tool of the same name stay apart,
// and a name that had to be changed is told apart by a hash of the original.
func modelName(label, tool string) string {
	full := label + "__" + tool
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && schema.ValidToken(string(r)) {
			return r
		}
		return '_'
	}, full)
	if name == full && len(name) <= maxToolName && !ambiguous(label, tool) {
		return name
	}
	sum := sha256.Sum256([]byte(label + "\x00" + tool))
	if limit := maxToolName - hashSuffix - 1; len(name) > limit {
		name = name[:limit]
	}
	return name + "_" + hex.EncodeToString(sum[:hashSuffix/2])
}

// ambiguous reports whether label__tool could be cut at another place.
func ambiguous(label, tool string) bool {
	return strings.HasSuffix(label, "_") || strings.HasPrefix(tool, "_") ||
		strings.Contains(label, "__") || strings.Contains(tool, "__")
}

// readList returns the tools of a list item. One that failed, or that cannot be read as a whole, is no list: it may come
// from a caller.
func readList(it *schema.Item) ([]listed, bool) {
	if it.Type != schema.KindListTools || len(it.Error) > 0 && it.Error.Kind() != 'n' {
		return nil, false
	}
	tools := make([]listed, len(it.Tools))
	for i, raw := range it.Tools {
		if json.Unmarshal(raw, &tools[i]) != nil || tools[i].Name == "" || tools[i].InputSchema.Kind() != '{' {
			return nil, false
		}
	}
	return tools, true
}

// readLists returns the last list of each server, by label.
func readLists(items []schema.Item) map[string][]listed {
	lists := map[string][]listed{}
	for i := range items {
		if tools, ok := readList(&items[i]); ok {
			lists[items[i].ServerLabel] = tools
		}
	}
	return lists
}

// offerTools returns what the model is shown of the tools that were listed, and what each name means. A list binds nobody:
// what of it may be called, and who must be asked, is for the request's own entry to say.
func offerTools(entries []schema.Tool, lists map[string][]listed) ([]schema.Tool, offers, error) {
	var tools []schema.Tool
	names := offers{}
	for i := range entries {
		label := entries[i].ServerLabel
		allowed, err := entries[i].Allowed()
		if err != nil {
			return nil, nil, fmt.Errorf("read allowed_tools of %s: %w", label, err)
		}
		approval, err := entries[i].Approval()
		if err != nil {
			return nil, nil, fmt.Errorf("read require_approval of %s: %w", label, err)
		}
		for _, t := range lists[label] {
			reads := readOnly(t.Annotations)
			name := modelName(label, t.Name)
			if _, twice := names[name]; twice || !allowed.Allows(t.Name, reads) {
				continue
			}
			names[name] = offer{label, t.Name, approval.Needs(t.Name, reads)}
			tools = append(tools, function(name, &t))
		}
	}
	return tools, names, nil
}

func function(name string, t *listed) schema.Tool {
	f := schema.Tool{Type: schema.ToolFunction, Name: name, Parameters: parameters(t.InputSchema), Strict: jsontext.Value("false")}
	if t.Description != "" {
		// A string always encodes.
		f.Description, _ = json.Marshal(t.Description, jsontext.AllowInvalidUTF8(true))
	}
	return f
}

// parameters returns a tool's schema with the two members without which upstreams refuse it. The list item keeps the
// server's own.
func parameters(raw jsontext.Value) jsontext.Value {
	var members map[string]jsontext.Value
	if json.Unmarshal(raw, &members) != nil || members == nil {
		members = map[string]jsontext.Value{}
	}
	_, typed := members["type"]
	_, propertied := members["properties"]
	if typed && propertied {
		return raw
	}
	if !typed {
		members["type"] = jsontext.Value(`"object"`)
	}
	if !propertied {
		members["properties"] = jsontext.Value(`{}`)
	}
	out, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return jsontext.Value(`{"type":"object","properties":{}}`)
	}
	return out
}
