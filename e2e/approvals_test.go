//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

const asksFacts = `river_facts({"river":"danube"})? `

// TestApprovals promises that no tool runs before its user has said so, however a client brings the answer: with the
// whole conversation (agents), with previous_response_id (the OpenAI clients, LangChain), or with an item_reference to
// the request (the AI SDK, which leaves out the list of tools: it is made again).
func TestApprovals(t *testing.T) {
	g := serve(t, withServers(t))
	stories := []struct {
		program, asks, allowed string
		denied                 string
		silent                 bool
	}{
		{"ai/approve.mjs", `mcp.echo({"message":"hello"})? `, "list mcp message", "list message", false},
		{"agents/approve.mjs", asksFacts, "mcp message", "message", false},
		{"agents-python/approve.py", asksFacts, "mcp message", "message", false},
		{"langchain/approve.mjs", asksFacts, "mcp message", "message", true},
		{"node/approve.mjs", asksFacts, "mcp message", "message", false},
		{"python/approve.py", asksFacts, "mcp message", "message", false},
		{"go/approve", asksFacts, "mcp message", "message", false},
	}
	for _, s := range stories {
		t.Run(s.program+"/yes", func(t *testing.T) {
			t.Parallel()
			prints := s.asks + "yes\n"
			if strings.HasPrefix(s.program, "ai/") {
				prints += "mcp.echo = Echo: hello\n"
			}
			told := g.tell(t, story{s.program + " yes", []string{"list approval", s.allowed}, s.silent, prints})
			testApproved(t, told)
		})
		t.Run(s.program+"/no", func(t *testing.T) {
			t.Parallel()
			g.tell(t, story{s.program + " no", []string{"list approval", s.denied}, s.silent, s.asks + "no\n"})
		})
	}
}

// testApproved promises that the call names the request that allowed it, and made what was asked for.
func testApproved(t *testing.T, told *told) {
	t.Helper()
	first, second := told.logged[0].response(t), told.logged[1].response(t)
	request := first.Output[1].AsMcpApprovalRequest()
	for _, item := range second.Output {
		if item.Type != "mcp_call" {
			continue
		}
		call := item.AsMcpCall()
		if call.ApprovalRequestID != request.ID || call.Name != request.Name || call.Arguments != request.Arguments || call.Output == "" {
			t.Errorf("the call is %s, the request %s", call.RawJSON(), request.RawJSON())
		}
		return
	}
	t.Errorf("no call in %s", second.RawJSON())
}
