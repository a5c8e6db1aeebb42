//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWebSocket promises that OpenAI's clients for Node and Go work unchanged over a WebSocket: lanes beside each other, a
// response that only prepares, and one that goes on from it though it is not stored. What they hear is what the log has.
func TestWebSocket(t *testing.T) {
	g := serve(t, "")
	for name, command := range map[string][]string{
		"node": {node, "clients/node/ws.mjs"},
		"go":   {shared.binary("ws")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testWebSocket(t, g, command)
		})
	}
}

func testWebSocket(t *testing.T, g *gateway, command []string) {
	printed := execute(t, clientEnv(g.url), command)
	lanes := map[string][]string{} // the events of each, in the order in which they came
	for _, line := range printed.events {
		lane, event, _ := strings.Cut(line, " ")
		lanes[lane] = append(lanes[lane], event)
	}
	want := map[string][]string{}
	lines := strings.Split(strings.TrimSpace(printed.text), "\n")
	if len(lines) != 3 {
		t.Fatalf("printed %q, want three responses", printed.text)
	}
	for n, line := range lines {
		lane, rest, _ := strings.Cut(line, " ")
		id, text, _ := strings.Cut(rest, " ")
		logged := g.replay(t, id)
		if text != logged.text {
			t.Errorf("%s has the text %q, the client printed %q", id, logged.text, text)
		}
		if n == 2 { // the one that is not stored is in front of the one that goes on from it
			want[lane] = append(want[lane], "0 response.created", "1 response.in_progress", "2 response.completed")
		}
		want[lane] = append(want[lane], logged.events...)
	}
	if diff := cmp.Diff(want, lanes); diff != "" {
		t.Errorf("the lanes differ from the log (-log +client):\n%s", diff)
	}
}
