package mcp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// Tool is one tool as its server describes it. The raw values are shared with other callers: they must not be written
// to.
type Tool struct {
	Name        string
	Description string         // at most Config.MaxDescription bytes
	InputSchema jsontext.Value // a JSON object, with the bytes that the server sent
	Annotations jsontext.Value // a JSON object, or nil. A server's own word, to be trusted as far as the server is
}

// toolPage is one page of tools/list.
type toolPage struct {
	tools   []Tool
	dropped []string // what was left out, and why
	next    string
	ttl     time.Duration
	hasTTL  bool
	err     error
}

// wireTool is a tool as it comes. Members of an unexpected kind cost the tool, not the list.
type wireTool struct {
	Name        string         `json:"name"`
	Description jsontext.Value `json:"description"`
	InputSchema jsontext.Value `json:"inputSchema"`
	Annotations jsontext.Value `json:"annotations"`
	Execution   struct {
		TaskSupport string `json:"taskSupport"`
	} `json:"execution"`
}

func (c Config) parsePage(result jsontext.Value, mirrorsHeaders bool) *toolPage {
	var list struct {
		Tools []jsontext.Value `json:"tools"`
		Next  string           `json:"nextCursor"`
		TTL   *int64           `json:"ttlMs"`
	}
	if err := json.Unmarshal(result, &list, lenient); err != nil {
		return &toolPage{err: fmt.Errorf("%w: %w", errMalformed, err)}
	}
	page := &toolPage{next: list.Next, hasTTL: list.TTL != nil}
	if page.hasTTL {
		page.ttl = time.Duration(min(max(*list.TTL, 0), c.MaxListTTL.Milliseconds())) * time.Millisecond
	}
	for i, raw := range list.Tools {
		tool, err := c.parseTool(raw, mirrorsHeaders)
		if err != nil {
			page.dropped = append(page.dropped, fmt.Sprintf("tool %d: %v", i, err))
			continue
		}
		page.tools = append(page.tools, tool)
	}
	return page
}

// maxToolName bounds a tool's name, in bytes; MCP allows 128 characters.
const maxToolName = 128

func (c Config) parseTool(raw jsontext.Value, mirrorsHeaders bool) (Tool, error) {
	var w wireTool
	if err := json.Unmarshal(raw, &w); err != nil {
		return Tool{}, fmt.Errorf("not a tool: %w", err)
	}
	if w.Name == "" || len(w.Name) > maxToolName || strings.ContainsFunc(w.Name, isControl) {
		return Tool{}, fmt.Errorf("name of %d bytes is not one", len(w.Name))
	}
	if w.Execution.TaskSupport == string(mcpgo.TaskSupportRequired) {
		return Tool{}, fmt.Errorf("%q can only be called as a task", w.Name)
	}
	tool := Tool{Name: w.Name, InputSchema: w.InputSchema}
	if w.Description.Kind() == '"' {
		_ = json.Unmarshal(w.Description, &tool.Description) // a string that has been read before
		tool.Description = cut(tool.Description, c.MaxDescription)
	}
	if w.Annotations.Kind() == '{' && len(w.Annotations) <= c.MaxDescription {
		tool.Annotations = w.Annotations
	}
	if tool.InputSchema == nil {
		tool.InputSchema = jsontext.Value(`{"type":"object","properties":{}}`)
	}
	return tool, c.checkSchema(tool, mirrorsHeaders)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (c Config) checkSchema(t Tool, mirrorsHeaders bool) error {
	switch {
	case t.InputSchema.Kind() != '{':
		return fmt.Errorf("%q: input schema is not an object", t.Name)
	case len(t.InputSchema) > c.MaxSchema:
		return fmt.Errorf("%q: input schema has more than %d bytes", t.Name, c.MaxSchema)
	case deeperThan(t.InputSchema, c.MaxSchemaDepth):
		return fmt.Errorf("%q: input schema has more than %d levels", t.Name, c.MaxSchemaDepth)
	case !mirrorsHeaders:
		return nil
	}
	// SEP-2243: a client MUST leave out a tool whose x-mcp-header annotations are invalid.
	declared := mcpgo.Tool{Name: t.Name, RawInputSchema: []byte(t.InputSchema)}
	if err := mcpgo.ValidateParamHeaderAnnotations(&declared); err != nil {
		return fmt.Errorf("%q: %w", t.Name, err)
	}
	return nil
}

func deeperThan(v jsontext.Value, levels int) bool {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	for {
		if d.StackDepth() > levels {
			return true
		}
		if _, err := d.ReadToken(); err != nil {
			return err != io.EOF
		}
	}
}

// forClient is the page for mcp-go, which needs of a tool only which arguments it must mirror into headers, and chokes
// on most of the rest.
func (p *toolPage) forClient() jsontext.Value {
	type schema struct {
		Type       string         `json:"type"`
		Properties jsontext.Value `json:"properties,omitzero"`
	}
	type tool struct {
		Name   string `json:"name"`
		Schema schema `json:"inputSchema"`
	}
	list := struct {
		Tools []tool `json:"tools"`
	}{Tools: make([]tool, 0, len(p.tools))}
	for _, t := range p.tools {
		var s struct {
			Properties jsontext.Value `json:"properties"`
		}
		_ = json.Unmarshal(t.InputSchema, &s) // an object, as checkSchema has seen
		if s.Properties.Kind() != '{' {
			s.Properties = nil
		}
		list.Tools = append(list.Tools, tool{t.Name, schema{"object", s.Properties}})
	}
	out, err := json.Marshal(list)
	if err != nil {
		return jsontext.Value(`{"tools":[]}`)
	}
	return out
}

// listing gathers the pages of one tools/list.
type listing struct {
	tools   []Tool
	dropped []string
	ttl     time.Duration
	cursors []string
}

// list asks a session for its tools, page by page.
func (s *session) list(ctx context.Context, x *exchange, c Config) (listing, error) {
	all := listing{ttl: c.ListTTL}
	for range c.MaxPages {
		var req mcpgo.ListToolsRequest
		if n := len(all.cursors); n > 0 {
			req.Params.Cursor = mcpgo.Cursor(all.cursors[n-1])
		}
		if _, err := s.client.ListToolsByPage(ctx, req); err != nil {
			return listing{}, err
		}
		more, err := all.add(x.seen().page, c.MaxTools)
		if err != nil || !more {
			return all, err
		}
	}
	return listing{}, errPages
}

// add takes a page in, and says whether to ask for another.
func (l *listing) add(p *toolPage, maxTools int) (bool, error) {
	if p == nil || p.err != nil {
		return false, errMalformed
	}
	if p.hasTTL {
		l.ttl = p.ttl
	}
	l.dropped = append(l.dropped, p.dropped...)
	for _, t := range p.tools {
		known := slices.ContainsFunc(l.tools, func(other Tool) bool { return other.Name == t.Name })
		switch {
		case known:
			l.dropped = append(l.dropped, fmt.Sprintf("%q: second tool of that name", t.Name))
		case len(l.tools) == maxTools:
			l.dropped = append(l.dropped, fmt.Sprintf("%q and what follows: more than %d tools", t.Name, maxTools))
			return false, nil
		default:
			l.tools = append(l.tools, t)
		}
	}
	if p.next == "" {
		return false, nil
	}
	if slices.Contains(l.cursors, p.next) {
		return false, errPages
	}
	l.cursors = append(l.cursors, p.next)
	return true, nil
}
