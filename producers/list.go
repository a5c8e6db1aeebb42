package producers

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// listing is one server's tools: asked for, answered, shown.
type listing struct {
	entry schema.Tool
	from  string // its producer
	item  string // local id of its item
	tools []mcp.Tool
	err   error
	known bool // the server has answered
}

// unlisted returns the request's MCP entries whose tools have been listed neither in this response nor in what it goes on
// from: a list in the context is as good as new, as the API has it. An upstream that runs MCP tools itself lists them too.
func (r *run) unlisted() []schema.Tool {
	done := map[string]bool{}
	for _, it := range r.seq.State().Items() {
		if it.Type == schema.KindListTools {
			done[it.ServerLabel] = true
		}
	}
	var entries []schema.Tool
	for _, t := range r.req.MCP() {
		if _, known := r.lists[t.ServerLabel]; !known && !done[t.ServerLabel] && !r.passes {
			entries = append(entries, t)
		}
	}
	return entries
}

// listTools lists all servers at once. Their items stand in the order of the request's tools, whoever answers first.
func (r *run) listTools(ctx context.Context) error {
	var lists []*listing
	answers := make(chan *listing, len(r.req.Tools))
	for _, t := range r.unlisted() {
		l, err := r.openList(ctx, t)
		if err != nil {
			return err
		}
		lists = append(lists, l)
	}
	for _, l := range lists {
		go func() {
			l.tools, l.err = r.askForTools(ctx, l.entry)
			answers <- l
		}()
	}
	var failed error
	for range lists { // every one answers, at the latest when ctx ends
		l := <-answers
		l.known = true
		if failed == nil {
			lists, failed = r.showLists(ctx, lists)
		}
	}
	return failed
}

// openList begins a list item, unless an earlier attempt left that very item open.
func (r *run) openList(ctx context.Context, t schema.Tool) (*listing, error) {
	if open := r.seq.State().Open(); open != nil && open.Type == schema.KindListTools && open.ServerLabel == t.ServerLabel {
		return &listing{entry: t, item: open.ID}, nil
	}
	l := &listing{entry: t, from: "mcp:" + t.ServerLabel, item: "list"}
	added := schema.Event{Type: schema.ItemAdded, Item: &schema.Item{ID: l.item, Type: schema.KindListTools, ServerLabel: t.ServerLabel}}
	if err := r.push(ctx, l.from, added); err != nil {
		return nil, err
	}
	return l, r.push(ctx, l.from, schema.Event{Type: schema.ListInProgress, ItemID: l.item})
}

// showLists gives out the lists whose turn has come, and returns those that must wait: a list may be larger than what a
// sequencer holds back.
func (r *run) showLists(ctx context.Context, lists []*listing) ([]*listing, error) {
	for len(lists) > 0 && lists[0].known && r.seq.OnWire(lists[0].from, lists[0].item) {
		if err := r.closeList(ctx, lists[0]); err != nil {
			return lists, err
		}
		lists = lists[1:]
	}
	return lists, nil
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
func (r *run) closeList(ctx context.Context, l *listing) error {
	done := schema.Item{ID: l.item, Type: schema.KindListTools, ServerLabel: l.entry.ServerLabel}
	last := schema.Event{Type: schema.ListCompleted, ItemID: l.item}
	if l.err == nil {
		done.Tools, l.err = showTools(l.entry, l.tools)
	}
	if l.err != nil {
		if context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		r.node.Logger.Warn("tools not listed", "run", r.ref.Response(), "server", l.entry.ServerLabel, "error", l.err)
		cause := listFailure(l.entry.ServerLabel, l.err)
		if r.cause == nil {
			r.cause = cause
		}
		last.Type = schema.ListFailed
		text, err := json.Marshal(cause.Message, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("write error of list %s: %w", l.entry.ServerLabel, err)
		}
		done.Error = text
	}
	if err := r.push(ctx, l.from, last); err != nil {
		return err
	}
	return r.push(ctx, l.from, schema.Event{Type: schema.ItemDone, Item: &done})
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

// readOnly reads MCP's readOnlyHint, which OpenAI's lists call read_only; the protocol's default is no.
func readOnly(annotations jsontext.Value) bool {
	var hints struct {
		Hint     bool `json:"readOnlyHint"`
		ReadOnly bool `json:"read_only"`
	}
	return len(annotations) > 0 && json.Unmarshal(annotations, &hints) == nil && (hints.Hint || hints.ReadOnly)
}
