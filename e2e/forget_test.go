//go:build e2e

package e2e

import "testing"

// TestForget promises that what a response was asked can be listed, page by page in order, and that it is gone once it
// is deleted.
func TestForget(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/forget.mjs", "python/forget.py", "go/forget"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			const want = "developer: You know rivers.\nuser: Tell me about the Danube.\nassistant: It is long.\nuser: And the Elbe?\n404\n"
			heard, requests := g.listen(t, command(program))
			if heard.text != want {
				t.Errorf("printed %q, want %q", heard.text, want)
			}
			if len(requests) != 5 {
				t.Errorf("asked for %q, want a create, two pages, a delete and a get", requests)
			}
		})
	}
}
