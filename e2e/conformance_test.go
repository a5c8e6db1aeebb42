//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/openai/openai-go/v3/responses"
)

// TestConformance promises that the gateway, as an MCP client, passes the client scenarios of the MCP conformance suite
// at each revision that they belong to. Left out: auth/*, since callers bring their own tokens; extensions; and
// elicitation-sep1034-client-defaults, since a response has nobody to ask, and to send a form's defaults unseen would be
// to consent in the caller's name. For the same reason a part of sep-2322-client-request-state cannot pass: see
// conformance/expected-failures.yml.
func TestConformance(t *testing.T) {
	const oldest, old, current = "2025-06-18", "2025-11-25", "2026-07-28"
	scenarios := map[string][]string{
		"initialize":                       {oldest, old},
		"tools_call":                       {oldest, old, current},
		"sse-retry":                        {old},
		"request-metadata":                 {current},
		"http-standard-headers":            {current},
		"http-custom-headers":              {current},
		"http-invalid-tool-headers":        {current},
		"json-schema-ref-no-deref":         {current},
		"json-schema-2020-12-preservation": {old, current},
		"sep-2322-client-request-state":    {current},
	}
	g := serve(t, fmt.Sprintf(`
upstreams:
  - {name: puppet, dialect: chat, base_url: %q, models: ["puppet"]}
mcp:
  allow_private: ["127.0.0.0/8", "::1/128"]
`, newPuppet(t)))
	for scenario, revisions := range scenarios {
		for _, revision := range revisions {
			t.Run(scenario+"/"+revision, func(t *testing.T) {
				t.Parallel()
				conform(t, g, scenario, revision)
			})
		}
	}
}

// conform runs one scenario of the suite, which judges what its server saw; what the gateway's client saw is judged as
// in every story.
func conform(t *testing.T, g *gateway, scenario, revision string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results := t.TempDir()
	cmd := exec.CommandContext(ctx, node, "node_modules/@modelcontextprotocol/conformance/dist/index.js", "client",
		"--command", shared.binary("shim"), "--scenario", scenario, "--spec-version", revision,
		"--expected-failures", "conformance/expected-failures.yml", "--output-dir", results, "--verbose")
	cmd.Env = append(os.Environ(), "MIDSTREAM_URL="+g.url, "NODE_OPTIONS=--import=./conformance/close.mjs")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(results, "*", "stdout.txt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the suite left %v (%v), want one output of the client", files, err)
	}
	printed, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var got responses.Response
	if err := got.UnmarshalJSON(printed); err != nil {
		t.Fatalf("read the client's output %q: %v", printed, err)
	}
	if kept := g.replay(t, got.ID); kept.text != got.OutputText() {
		t.Errorf("the log has %q, the client %q", kept.text, got.OutputText())
	}
}
