//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestReference promises that what the AI SDK sends of earlier answers, the ids of their items alone, is looked up in
// the responses that they came from.
func TestReference(t *testing.T) {
	g := serve(t, "")
	told := g.tell(t, story{program: "ai/remember.mjs", tells: []string{"message", "message"}})
	first, second := told.logged[0].response(t), told.logged[1].response(t)
	if !strings.Contains(told.bodies[1], `{"type":"item_reference","id":"`+first.Output[0].ID+`"}`) {
		t.Errorf("the second question was %s, want a reference to %s in it", told.bodies[1], first.Output[0].ID)
	}
	if least := first.Usage.InputTokens + int64(len(strings.Fields(first.OutputText()))); second.Usage.InputTokens <= least {
		t.Errorf("the second model call saw %d words, want more than the first turn's %d", second.Usage.InputTokens, least)
	}
}
