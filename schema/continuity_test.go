package schema

import (
	"strings"
	"testing"
)

// What goes on from a context repeats nothing of it, answers its calls and no others; a call that was cut off needs no answer.
func TestCheckContinuity(t *testing.T) {
	t.Parallel()
	call := func(id, status string) Item {
		return Item{ID: "fc_" + id, Type: KindFunctionCall, CallID: id, Status: status}
	}
	output := func(id string) Item { return Item{Type: KindFunctionOutput, CallID: id} }
	said := Item{ID: "msg_1", Type: KindMessage}
	for name, c := range map[string]struct {
		past, input []Item
		reaches     bool
		refusal     string
	}{
		"a plain message":           {[]Item{said}, []Item{{Type: KindMessage}}, false, ""},
		"the answer to a call":      {[]Item{said, call("a", StatusCompleted)}, []Item{output("a")}, false, ""},
		"a call with its answer":    {nil, []Item{call("a", ""), output("a")}, true, ""},
		"an item again":             {[]Item{said}, []Item{said}, true, "Duplicate item found with id msg_1"},
		"an answer to nothing":      {[]Item{said}, []Item{output("a")}, true, "No tool call found for function call output with call_id a"},
		"no answer":                 {[]Item{call("a", StatusCompleted), call("b", "")}, []Item{output("a")}, false, "No tool output found for function call b"},
		"no answer in the input":    {nil, []Item{{Type: KindCustomCall, CallID: "a"}}, false, "No tool output found for function call a"},
		"no answer to half a call":  {[]Item{call("a", StatusIncomplete)}, []Item{{Type: KindMessage}}, false, ""},
		"an approval":               {[]Item{said}, []Item{{Type: KindApproval}}, true, ""},
		"answered before":           {[]Item{call("a", ""), output("a")}, []Item{{Type: KindMessage}}, false, ""},
		"an MCP call needs nothing": {[]Item{{ID: "mcp_1", Type: KindMCPCall}}, nil, false, ""},
	} {
		if got := ReachesBack(c.past, c.input); got != c.reaches {
			t.Errorf("%s: reaches back: %t", name, got)
		}
		err := CheckContinuity(c.past, c.input)
		if got := err != nil; got != (c.refusal != "") || got && !strings.HasPrefix(err.Message, c.refusal) {
			t.Errorf("%s: %v, want %q", name, err, c.refusal)
		}
	}
}
