package producers

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// fromMCP is the producer of tool lists and of calls' results.
const fromMCP = "mcp"

// listing is what one server answered.
type listing struct {
	entry schema.Tool
	item  string // local id of the list item
	tools []mcp.Tool
	err   error
}

// unlisted returns the request's MCP entries whose tools have not been listed in this response.
func (r *run) unlisted() []schema.Tool {
	done := map[string]bool{}
	for _, it := range r.seq.State().Items() {
		if it.Type == schema.KindListTools {
			done[it.ServerLabel] = true
		}
	}
	var entries []schema.Tool
	for _, t := range r.req.MCP() {
		if !done[t.ServerLabel] {
			entries = append(entries, t)
		}
	}
	return entries
}

// listTools lists all servers at once. Their items stand in the order of the request's tools, whoever answers first.
func (r *run) listTools(ctx context.Context) error {
	entries := r.unlisted()
	answers := make(chan listing, len(entries))
	for _, t := range entries {
		item, err := r.openList(ctx, t.ServerLabel)
		if err != nil {
			return err
		}
		go func() {
			tools, err := r.askForTools(ctx, t)
			answers <- listing{t, item, tools, err}
		}()
	}
	var failed error
	for range entries { // every one answers, at the latest when ctx ends
		if err := r.closeList(ctx, <-answers); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// openList begins a list item, unless an earlier attempt left that very item open.
func (r *run) openList(ctx context.Context, label string) (string, error) {
	if open := r.seq.State().Open(); open != nil && open.Type == schema.KindListTools && open.ServerLabel == label {
		return open.ID, nil
	}
	id := "list_" + label
	added := schema.Event{Type: schema.ItemAdded, Item: &schema.Item{ID: id, Type: schema.KindListTools, ServerLabel: label}}
	if err := r.push(ctx, fromMCP, added); err != nil {
		return "", err
	}
	return id, r.push(ctx, fromMCP, schema.Event{Type: schema.ListInProgress, ItemID: id})
}

func (r *run) askForTools(ctx context.Context, t schema.Tool) ([]mcp.Tool, error) {
	ctx, span := r.span(ctx, "mcp.list_tools", "mcp.server_label", t.ServerLabel)
	defer span.End()
	server, err := r.server(t)
	if err != nil {
		return nil, err
	}
	tools, err := r.node.Tools.ListTools(ctx, r.ref.Tenant(), server)
	if err != nil {
		return nil, fmt.Errorf("list tools of %s: %w", t.ServerLabel, err)
	}
	return tools, nil
}

// closeList ends a list item with what the server answered. A list that failed ends the run: the API does the same.
func (r *run) closeList(ctx context.Context, l listing) error {
	done := schema.Item{ID: l.item, Type: schema.KindListTools, ServerLabel: l.entry.ServerLabel}
	last := schema.Event{Type: schema.ListCompleted, ItemID: l.item}
	if l.err == nil {
		done.Tools, l.err = showTools(l.entry, l.tools)
	}
	if l.err != nil {
		if context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		r.cause = listFailure(l.entry.ServerLabel, l.err)
		last.Type = schema.ListFailed
		text, err := json.Marshal(r.cause.Message, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("write error of list %s: %w", l.entry.ServerLabel, err)
		}
		done.Error = text
	}
	if err := r.push(ctx, fromMCP, last); err != nil {
		return err
	}
	return r.push(ctx, fromMCP, schema.Event{Type: schema.ItemDone, Item: &done})
}

// showTools returns the tools that the entry allows, as a list item shows them.
func showTools(entry schema.Tool, tools []mcp.Tool) ([]jsontext.Value, error) {
	allowed, err := entry.Allowed()
	if err != nil {
		return nil, fmt.Errorf("read allowed_tools of %s: %w", entry.ServerLabel, err)
	}
	shown := []jsontext.Value{}
	for _, t := range tools {
		if !allowed.Allows(t.Name, readOnly(t.Annotations)) {
			continue
		}
		raw, err := json.Marshal(listed{t.Name, t.Description, t.InputSchema, t.Annotations}, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return nil, fmt.Errorf("write tool %q of %s: %w", t.Name, entry.ServerLabel, err)
		}
		shown = append(shown, raw)
	}
	return shown, nil
}

// readOnly reads MCP's readOnlyHint; the protocol's default is no.
func readOnly(annotations jsontext.Value) bool {
	var hints struct {
		ReadOnly bool `json:"readOnlyHint"`
	}
	return len(annotations) > 0 && json.Unmarshal(annotations, &hints) == nil && hints.ReadOnly
}
