//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// background is the sequence of a message that was made in the background: queued stands between created and in_progress.
func background() []string {
	all := outline("message")
	return append([]string{all[0], "response.queued"}, all[1:]...)
}

// TestBackground promises that a response which nobody waits for is made all the same: it is queued at once, can be
// asked for until it is there, and has its events from the first.
func TestBackground(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/background.mjs", "python/background.py", "go/background"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			heard, _ := g.listen(t, command(program))
			logged := g.replay(t, heard.id)
			logged.follows(t, background())
			text, ok := strings.CutPrefix(heard.text, "queued\ncompleted\n")
			if !ok {
				t.Errorf("printed %q, want queued, then completed", heard.text)
			}
			heard.text = strings.TrimSuffix(text, "\n")
			heard.agrees(t, logged)
		})
	}
}

// TestWatch promises that a background stream that was cut is resumed with starting_after, without a gap.
func TestWatch(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/watch.mjs", "python/watch.py", "go/watch"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			heard, requests := g.listen(t, command(program))
			logged := g.replay(t, heard.id)
			logged.follows(t, background())
			heard.agrees(t, logged)
			if len(requests) != 2 || !strings.Contains(requests[1], "starting_after=9") {
				t.Errorf("asked for %q, want a create and a resume after 9", requests)
			}
		})
	}
}
