//go:build e2e

package e2e

import (
	"regexp"
	"testing"
)

// TestWebSocket_Chain promises that a WebSocket carries the very events of the log, one response after the other, and that
// the second goes on from the first.
func TestWebSocket_Chain(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/websocket.mjs", "python/websocket.py", "go/websocket"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			heard := execute(t, clientEnv(g.url), command(program))
			ids := regexp.MustCompile(`resp_\w+`).FindAllString(heard.text, -1)
			if len(ids) != 2 {
				t.Fatalf("printed %q, want two answers, each with its response's id", heard.text)
			}
			first, second := g.replay(t, ids[0]), g.replay(t, ids[1])
			first.tells(t, "message")
			second.tells(t, "message")
			heard.agrees(t, &transcript{
				events: append(first.events, second.events...),
				text:   first.text + "\n" + ids[0] + "\n" + second.text + "\n" + ids[1] + "\n",
			})
			if got := second.response(t).PreviousResponseID; got != ids[0] {
				t.Errorf("the second goes on from %q, want %s", got, ids[0])
			}
		})
	}
}
