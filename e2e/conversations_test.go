//go:build e2e

package e2e

import "testing"

// TestConversations promises that a conversation holds the questions and the answers in their order, gives them to the
// model, and is gone once it is deleted; the responses stay.
func TestConversations(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"node/conversation.mjs", "python/conversation.py", "go/conversation"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			const items = "message user\nmessage assistant\nmessage user\nmessage assistant\nrivers\n404\n"
			f := newFront(t, g)
			heard := execute(t, clientEnv(f.url), command(program))
			ids, _ := f.all()
			if heard.text != items || len(ids) != 2 {
				t.Fatalf("printed %q for %q, want %q", heard.text, ids, items)
			}
			first, second := g.replay(t, ids[0]), g.replay(t, ids[1])
			heard.text = first.text + second.text // it prints no answers
			heard.agrees(t, &transcript{events: append(first.events, second.events...), text: heard.text})
			if one, two := first.response(t).Usage.InputTokens, second.response(t).Usage.InputTokens; two <= one+3 {
				t.Errorf("the model calls saw %d and %d words, want the second to hear the first", one, two)
			}
		})
	}
}
