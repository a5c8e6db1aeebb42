//go:build e2e && nightly

package e2e

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/openai/openai-go/v3"
)

// TestRealModel promises that a real model, Gemma 3 270M served by llama.cpp, streams through the chat dialect, and that
// its being cut off at max_output_tokens is told as such. `make -C e2e nightly` builds the server and puts the model
// together from its packages.
func TestRealModel(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	llama, _, err := start(regexp.MustCompile(`listening on http`), nil,
		".venv-nightly/bin/llama-cpp-server", "--model", ".venv-nightly/model.gguf", "--port", port, "--ctx-size", "2048")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = llama.stop() }) // how it ends is not ours to judge
	g := serve(t, fmt.Sprintf(`
upstreams:
  - {name: llama, dialect: chat, base_url: "http://127.0.0.1:%s/v1", models: ["gemma*"]}
`, port))

	params := say("gemma", "Write a long story about a river.")
	params.MaxOutputTokens = openai.Int(24)
	params.Temperature = openai.Float(0)
	got := g.story(t, params)
	if got.Status != "incomplete" || got.IncompleteDetails.Reason != "max_output_tokens" || got.OutputText() == "" {
		t.Errorf("got %s (%s) with %q", got.Status, got.IncompleteDetails.RawJSON(), got.OutputText())
	}
	if got.Usage.OutputTokens != 24 {
		t.Errorf("usage is %s, want the 24 tokens that the model was given", got.Usage.RawJSON())
	}
}
