//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

const litellmID = "resp_litellm0123456789abcd"

// TestLiteLLM promises what this project began with: the order that LiteLLM's proxy once sent makes OpenAI's Node SDK throw, with
// the words that the README quotes; sent through Midstream, the same program hears the whole of it and has every item.
func TestLiteLLM(t *testing.T) {
	events, err := os.ReadFile("../examples/litellm/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	program := []string{node, "clients/node/fed.mjs", litellmID}

	refused, err := attempt(clientEnv(unmended(t, events)), program)
	message, thrown := strings.CutPrefix(refused.text, "OpenAIError: ")
	if message = strings.TrimSpace(message); err == nil || !thrown || !strings.Contains(message, "response.created") {
		t.Fatalf("the SDK took the raw order: %v, %q, %v", err, refused.text, refused.events)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte(message)) {
		t.Errorf("the README does not quote %q", message)
	}

	g := serve(t, "")
	feed(t, g, litellmID, "litellm", string(events))
	heard := execute(t, clientEnv(g.url), program)
	if want := "mcp_list_tools read_wiki_structure\nmcp_call 1 Overview\nmessage The pages.\n"; heard.text != want {
		t.Errorf("the SDK has %q, want %q", heard.text, want)
	}
	heard.text = "The pages."
	heard.agrees(t, g.replay(t, litellmID))
}

// unmended serves events as they are, as a proxy that repairs nothing would.
func unmended(t *testing.T, events []byte) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for line := range bytes.Lines(events) {
			fmt.Fprintf(w, "data: %s\n", line)
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// feed sends a producer's events by HTTP, from its first one on.
func feed(t *testing.T, g *gateway, id, producer, events string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, g.url+"/v1/responses/"+id+"/events", strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/x-ndjson"}, "Midstream-Producer": {producer}, "Midstream-Seq": {"0"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("feed %s: %s: %s, %v", id, resp.Status, body, err)
	}
}
