//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// acts are the events of each kind of item between response.in_progress and the terminal event, in their order, deltas
// counted as one.
var acts = map[string][]string{
	"list": {
		"response.output_item.added", "response.mcp_list_tools.in_progress", "response.mcp_list_tools.completed",
		"response.output_item.done",
	},
	"mcp": {
		"response.output_item.added", "response.mcp_call.in_progress", "response.mcp_call_arguments.delta",
		"response.mcp_call_arguments.done", "response.mcp_call.completed", "response.output_item.done",
	},
	"approval": {"response.output_item.added", "response.output_item.done"},
	"function": {
		"response.output_item.added", "response.function_call_arguments.delta", "response.function_call_arguments.done",
		"response.output_item.done",
	},
	"message": {
		"response.output_item.added", "response.content_part.added", "response.output_text.delta",
		"response.output_text.done", "response.content_part.done", "response.output_item.done",
	},
}

// outline is the whole sequence of a completed response with these items.
func outline(items ...string) []string {
	all := []string{"response.created", "response.in_progress"}
	for _, item := range items {
		all = append(all, acts[item]...)
	}
	return append(all, "response.completed")
}

// tells compares the sequence of a response with the outline of its items: "list mcp message".
func (tr *transcript) tells(t *testing.T, items string) {
	t.Helper()
	tr.follows(t, outline(strings.Fields(items)...))
}

// follows compares the sequence of a response with the types of its events, deltas counted as one.
func (tr *transcript) follows(t *testing.T, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, tr.types()); diff != "" {
		t.Errorf("the events of %s (-want +log):\n%s", tr.id, diff)
	}
}

// types are the types of the events, those that repeat counted as one.
func (tr *transcript) types() []string {
	var list []string
	for _, e := range tr.events {
		_, name, _ := strings.Cut(e, " ")
		list = append(list, name)
	}
	return slices.Compact(list)
}
