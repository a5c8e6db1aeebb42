//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// TestMCP promises that tools of a server that nobody here wrote are listed, offered, called and told to the model, over
// each transport: streamable HTTP and stdio named by label alone, SSE and streamable HTTP by the URL in the request. The
// server is server-everything; the model that calls is aimock, with fixtures/mcp.json.
func TestMCP(t *testing.T) {
	g := serve(t, mocked()+withServers(t))
	servers := []responses.ToolMcpParam{
		{ServerLabel: "everything"},
		{ServerLabel: "stdio"},
		{ServerLabel: "sse", ServerURL: openai.String(shared.sse)},
		{ServerLabel: "web", ServerURL: openai.String(shared.mcp)},
	}
	for _, dialect := range []string{"chat", "responses"} {
		for _, server := range servers {
			t.Run(dialect+"/"+server.ServerLabel, func(t *testing.T) {
				t.Parallel()
				testEcho(t, g, dialect+"-1", server)
			})
		}
		t.Run(dialect+"/both", func(t *testing.T) {
			t.Parallel()
			testBoth(t, g, dialect+"-1", servers[0], servers[1])
		})
		t.Run(dialect+"/failing", func(t *testing.T) {
			t.Parallel()
			testFailing(t, g, dialect+"-1", servers[0])
		})
	}
}

// withServers adds the MCP servers to a gateway's config.
func withServers(t *testing.T) string {
	t.Helper()
	program, err1 := filepath.Abs(node)
	script, err2 := filepath.Abs(everything)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return fmt.Sprintf(`
mcp:
  allow_private: ["127.0.0.0/8"]
  servers:
    - {label: everything, url: %q}
    - {label: stdio, command: [%q, %q, stdio]}
`, shared.mcp, program, script)
}

// offer lets the model use servers' tools without asking.
func offer(params responses.ResponseNewParams, servers ...responses.ToolMcpParam) responses.ResponseNewParams {
	for _, server := range servers {
		server.RequireApproval.OfMcpToolApprovalSetting = openai.String("never")
		params.Tools = append(params.Tools, responses.ToolUnionParam{OfMcp: &server})
	}
	return params
}

// testEcho promises that a tool's output is in its item, and reaches the model: the fixture's answer depends on it.
func testEcho(t *testing.T, g *gateway, model string, server responses.ToolMcpParam) {
	label := server.ServerLabel
	got := g.story(t, offer(say(model, "Say hello through "+label), server))
	if kinds(got) != "mcp_list_tools mcp_call message" {
		t.Fatalf("got %s, want a list, a call and a message", got.RawJSON())
	}
	testListed(t, got.Output[0].AsMcpListTools(), label)
	call := got.Output[1].AsMcpCall()
	if call.ServerLabel != label || call.Name != "echo" || call.Status != "completed" ||
		call.Output != "Echo: hello through "+label {
		t.Errorf("the call is %s", call.RawJSON())
	}
	if got.OutputText() != label+" says hello." {
		t.Errorf("the model says %q, want what follows from the tool's output", got.OutputText())
	}
}

// testListed promises that a list names the server's tools with their schemas.
func testListed(t *testing.T, list responses.ResponseOutputItemMcpListTools, label string) {
	t.Helper()
	if list.ServerLabel != label {
		t.Errorf("the list is of %q, want %q", list.ServerLabel, label)
	}
	for _, tool := range list.Tools {
		if schema, ok := tool.InputSchema.(map[string]any); ok && tool.Name == "echo" && schema["type"] == "object" {
			return
		}
	}
	t.Errorf("the list has no echo with a schema: %s", list.RawJSON())
}

// testBoth promises that two servers' lists stand in the order of the request, and that parallel calls both answer.
func testBoth(t *testing.T, g *gateway, model string, one, two responses.ToolMcpParam) {
	got := g.story(t, offer(say(model, "Use both banks"), one, two))
	if kinds(got) != "mcp_list_tools mcp_list_tools mcp_call mcp_call message" {
		t.Fatalf("got %s", got.RawJSON())
	}
	testListed(t, got.Output[0].AsMcpListTools(), one.ServerLabel)
	testListed(t, got.Output[1].AsMcpListTools(), two.ServerLabel)
	sum, echo := got.Output[2].AsMcpCall(), got.Output[3].AsMcpCall()
	if sum.Name != "get-sum" || !strings.Contains(sum.Output, "5") || echo.Output != "Echo: both" {
		t.Errorf("the calls are %s and %s", sum.RawJSON(), echo.RawJSON())
	}
}

// testFailing promises that a tool's failure is the item's, with its reason, and that the model is told and goes on.
func testFailing(t *testing.T, g *gateway, model string, server responses.ToolMcpParam) {
	got := g.story(t, offer(say(model, "Add what cannot be added"), server))
	if kinds(got) != "mcp_list_tools mcp_call message" {
		t.Fatalf("got %s", got.RawJSON())
	}
	call := got.Output[1].AsMcpCall()
	if call.Status != "failed" || call.Error.Type != "mcp_tool_execution_error" || call.JSON.Output.Valid() {
		t.Errorf("the call is %s, want failed by the tool", call.RawJSON())
	}
	if got.Status != "completed" || got.OutputText() != "That cannot be added." {
		t.Errorf("got %s with %q", got.Status, got.OutputText())
	}
}
