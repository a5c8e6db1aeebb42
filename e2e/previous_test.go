//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestPrevious promises that a client which names the response before sends only what is new, and that the model hears
// the rest: the demo counts the words of its whole context.
func TestPrevious(t *testing.T) {
	g := serve(t, "")
	for _, s := range []story{
		{program: "agents/chain.mjs"},
		{program: "agents-python/chain.py"},
		{program: "langchain/chain.mjs", silent: true},
		{program: "node/chain.mjs"},
		{program: "python/chain.py"},
		{program: "go/chain"},
	} {
		t.Run(s.program, func(t *testing.T) {
			t.Parallel()
			s.tells = []string{"message", "message"}
			testPrevious(t, g.tell(t, s))
		})
	}
	t.Run("node/loop.mjs", func(t *testing.T) {
		t.Parallel()
		const call = `gauge({"place":"Bonn"}) = 3.1 m` + "\n"
		told := g.tell(t, story{program: "node/loop.mjs", tells: []string{"function", "function", "message"}, prints: call + call})
		if last := told.bodies[2]; strings.Contains(last, "How high") || !strings.Contains(last, "function_call_output") {
			t.Errorf("the last turn was asked with %s, want the output alone", last)
		}
	})
}

func testPrevious(t *testing.T, told *told) {
	t.Helper()
	first, second := told.logged[0].response(t), told.logged[1].response(t)
	if second.PreviousResponseID != first.ID {
		t.Errorf("the second response goes on from %q, want %q", second.PreviousResponseID, first.ID)
	}
	if strings.Contains(told.bodies[1], "Danube") {
		t.Errorf("the second question was sent with the first: %s", told.bodies[1])
	}
	if least := first.Usage.InputTokens + int64(len(strings.Fields(first.OutputText()))); second.Usage.InputTokens <= least {
		t.Errorf("the second model call saw %d words, want more than the first turn's %d", second.Usage.InputTokens, least)
	}
}
