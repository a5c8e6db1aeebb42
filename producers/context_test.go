package producers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/schema"
)

func contextOf(t *testing.T, list string) []schema.Item {
	t.Helper()
	var in schema.Input
	if err := json.Unmarshal([]byte(`[`+list+`]`), &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// narrate writes what a model is told, shortly: a word a message, f1 a call, f1= its output.
func narrate(items []schema.Item) string {
	var out []string
	for i := range items {
		switch it := &items[i]; it.Type {
		case schema.KindFunctionCall, schema.KindCustomCall:
			out = append(out, it.CallID)
		case schema.KindFunctionOutput, schema.KindCustomOutput:
			out = append(out, it.CallID+"=")
		default:
			out = append(out, it.Text())
		}
	}
	return strings.Join(out, " ")
}

func said(role, text string) string {
	return fmt.Sprintf(`{"type":"message","role":%q,"content":%q}`, role, text)
}

func clientCall(id, status string) string {
	return fmt.Sprintf(`{"type":"function_call","call_id":%q,"name":"f","arguments":"{}","status":%q}`, id, status)
}

func clientOutput(id string) string {
	return fmt.Sprintf(`{"type":"function_call_output","call_id":%q,"output":"o"}`, id)
}

func mcpCall(id, status string) string {
	return fmt.Sprintf(`{"type":"mcp_call","id":%q,"server_label":"x","name":"t","arguments":"{}","status":%q,"output":"o"}`, id, status)
}

// Every output stands behind its call, and behind those that were made with it, wherever the caller put it; what was cut
// off is not told.
func TestModelInput_Order(t *testing.T) {
	t.Parallel()
	join := func(list ...string) string { return strings.Join(list, ",") }
	for name, c := range map[string]struct{ context, want string }{
		"one after the other": {join(said("user", "q"), clientCall("a", "completed"), clientOutput("a"), clientCall("b", "completed"), clientOutput("b")), "q a a= b b="},
		"side by side":        {join(clientCall("a", "completed"), clientCall("b", "completed"), clientOutput("b"), clientOutput("a"), said("user", "q")), "a b a= b= q"},
		"text behind a call":  {join(clientCall("a", "completed"), said("assistant", "wait"), clientOutput("a")), "a a= wait"},
		"a user in between":   {join(clientCall("a", "completed"), said("user", "q"), clientOutput("a")), "a a= q"},
		"MCP calls":           {join(mcpCall("a", "completed"), mcpCall("b", "failed"), said("assistant", "s")), "a a= b b= s"},
		"mixed, ours first":   {join(mcpCall("a", "completed"), clientCall("b", "completed"), clientOutput("b")), "a a= b b="},
		"mixed, theirs first": {join(clientCall("a", "completed"), mcpCall("b", "completed"), clientOutput("a")), "a b a= b="},
		"an id twice":         {join(clientCall("a", ""), clientOutput("a"), clientCall("a", ""), clientOutput("a")), "a a= a a="},
		"cut off":             {join(clientCall("a", "incomplete"), clientOutput("a"), mcpCall("b", "incomplete"), said("user", "q")), "q"},
		"no output yet":       {join(clientCall("a", "completed"), said("user", "q")), "a q"},
		"an output of nobody": {join(clientOutput("a"), said("user", "q")), "a= q"},
	} {
		told, err := modelInput(contextOf(t, c.context))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, narrate(told)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if got := narrate(rawInput(contextOf(t, join(clientCall("a", "incomplete"), clientOutput("a"), clientCall("b", ""), clientOutput("b"))))); got != "b b=" {
		t.Errorf("raw: %s", got)
	}
}

// Whatever the order in which calls and outputs come, each output is told once, and between a call and its output stand
// only other calls and outputs.
func TestModelInput_KeepsCallsAndOutputsTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var list []string
		var open []string
		for n := range rapid.IntRange(1, 12).Draw(r, "items") {
			id := fmt.Sprint("c", n)
			switch rapid.IntRange(0, 3).Draw(r, "kind") {
			case 0:
				list = append(list, said("user", "q"))
			case 1:
				list = append(list, mcpCall(id, "completed"))
			case 2:
				list, open = append(list, clientCall(id, "completed")), append(open, id)
			case 3:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(r, "which")
					list, open = append(list, clientOutput(open[i])), slices.Delete(open, i, i+1)
				}
			}
		}
		for _, id := range open {
			list = append(list, clientOutput(id))
		}
		told, err := modelInput(contextOf(t, strings.Join(list, ",")))
		if err != nil {
			r.Fatal(err)
		}
		waiting := map[string]bool{}
		for word := range strings.FieldsSeq(narrate(told)) {
			id, output := strings.CutSuffix(word, "=")
			switch {
			case word == "q" && len(waiting) > 0:
				r.Fatalf("a message between a call and its output: %s", narrate(told))
			case word == "q":
			case output && !waiting[id]:
				r.Fatalf("an output without its call: %s", narrate(told))
			case output:
				delete(waiting, id)
			default:
				waiting[id] = true
			}
		}
		if len(waiting) > 0 {
			r.Fatalf("calls without outputs: %s", narrate(told))
		}
	})
}
