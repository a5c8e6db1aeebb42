//go:build e2e

package e2e

import (
	"slices"
	"testing"
)

// TestCancel promises that a cancel ends the response, its stream and its model: both the answer of the cancel and the
// last event, response.failed, say cancelled.
func TestCancel(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/cancel.mjs", "python/cancel.py", "go/cancel"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, g)
			heard := execute(t, clientEnv(f.url), command(program))
			ids, _ := f.all() // the create's, and the cancel's answer
			logged := g.replay(t, ids[0])
			if heard.text != "cancelled\ncancelled\n" || logged.response(t).Status != "cancelled" {
				t.Errorf("printed %q, the log has %s", heard.text, logged.response(t).Status)
			}
			if !slices.Equal(logged.events, heard.events) {
				t.Errorf("the client saw %q, the log has %q", heard.events, logged.events)
			}
			if types := logged.types(); types[len(types)-1] != "response.failed" {
				t.Errorf("the stream is %q, want response.failed as its end", types)
			}
		})
	}
}
