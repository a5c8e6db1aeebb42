//go:build e2e

package e2e

import "testing"

// TestIdempotencyKey promises that one key is one response, however often it is sent, and that another question under
// it is refused with 409.
func TestIdempotencyKey(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/again.mjs", "python/again.py", "go/again"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, g)
			heard := execute(t, clientEnv(f.url), command(program))
			if heard.text != "true\n409\n" {
				t.Errorf("printed %q, want one response and a refusal", heard.text)
			}
			ids, _ := f.all()
			g.replay(t, ids[0]).tells(t, "message")
		})
	}
}
