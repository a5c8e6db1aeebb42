//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestConformance promises that the gateway, as an MCP client, passes the client scenarios of the MCP conformance suite
// at each revision that they belong to. Left out: auth/*, since callers bring their own tokens; extensions; and
// elicitation, since a response has nobody to ask.
func TestConformance(t *testing.T) {
	const old, current = "2025-11-25", "2026-07-28"
	scenarios := map[string][]string{
		"initialize":                       {old},
		"tools_call":                       {old, current},
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

// conform runs one scenario of the suite; the suite judges.
func conform(t *testing.T, g *gateway, scenario, revision string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "node_modules/@modelcontextprotocol/conformance/dist/index.js", "client",
		"--command", shared.binary("shim"), "--scenario", scenario, "--spec-version", revision,
		"--expected-failures", "conformance/expected-failures.yml", "--output-dir", t.TempDir(), "--verbose")
	cmd.Env = append(os.Environ(), "MIDSTREAM_URL="+g.url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
