//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// TestHostileMCP promises that an MCP server whose tools cannot be listed fails the response with its own error, 424 if
// nothing was streamed; and that a tool which hangs, floods or lies is a failed call, of which the model is told.
func TestHostileMCP(t *testing.T) {
	t.Parallel()
	server := hostile(t, mcpServers)
	g := serve(t, fmt.Sprintf(`
upstreams:
  - {name: puppet, dialect: chat, base_url: %q, models: ["puppet"]}
mcp: {allow_private: ["127.0.0.0/8"], list_timeout: 5s, call_timeout: 5s}
`, newPuppet(t)))
	for _, name := range []string{"hang", "flood", "lie", "endless"} {
		t.Run("list/"+name, func(t *testing.T) {
			t.Parallel()
			testUnlistable(t, g, server+"/"+name)
		})
	}
	for name, kind := range map[string]string{
		"hang": "http_error", "flood": "mcp_protocol_error", "lie": "mcp_protocol_error",
	} {
		t.Run("call/"+name, func(t *testing.T) {
			t.Parallel()
			params := say("puppet", fmt.Sprintf(`[{"name":%q}]`, name))
			got := g.story(t, offer(params, responses.ToolMcpParam{ServerLabel: "bad", ServerURL: openai.String(server)}))
			if got.Status != "completed" || kinds(got) != "mcp_list_tools mcp_call message" {
				t.Fatalf("got %s", got.RawJSON())
			}
			if call := got.Output[1].AsMcpCall(); call.Status != "failed" || call.Error.Type != kind {
				t.Errorf("the call is %s, want failed by %s", call.RawJSON(), kind)
			}
		})
	}
}

func testUnlistable(t *testing.T, g *gateway, url string) {
	params := offer(say("puppet", "[]"), responses.ToolMcpParam{ServerLabel: "bad", ServerURL: openai.String(url)})
	got := g.story(t, params)
	if got.Status != "failed" || !strings.HasPrefix(got.Error.Message, "Error retrieving tool list from MCP server: 'bad'.") {
		t.Errorf("got %s with %s, want failed for the tool list", got.Status, got.Error.RawJSON())
	}
	client := g.client()
	_, err := client.Responses.New(context.Background(), params)
	var refusal *openai.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusFailedDependency {
		t.Errorf("unstreamed: got %v, want status 424", err)
	}
}

// rpc is what a bad MCP server reads of a message.
type rpc struct {
	ID     jsontext.Value `json:"id"`
	Method string         `json:"method"`
	Params struct {
		Name   string `json:"name"`
		Cursor string `json:"cursor"`
	} `json:"params"`
}

// mcpServers are bad MCP servers, one a path. The one at the root lists its tools, and is bad when they are called.
func mcpServers(w http.ResponseWriter, r *http.Request) {
	var m rpc
	if err := json.UnmarshalRead(r.Body, &m); err != nil {
		http.Error(w, err.Error(), http.StatusMethodNotAllowed) // a GET for a stream, or a DELETE
		return
	}
	w.Header().Set("Content-Type", "application/json")
	evil := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		m.answer(w, `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"bad","version":"1"}}`)
	case m.Method == "tools/list" && evil == "":
		m.answer(w, `"result":{"tools":[{"name":"hang","inputSchema":{"type":"object"}},{"name":"flood","inputSchema":`+
			`{"type":"object"}},{"name":"lie","inputSchema":{"type":"object"}}]}`)
	case m.Method == "tools/list":
		m.misbehave(w, r, evil)
	case m.Method == "tools/call":
		m.misbehave(w, r, m.Params.Name)
	default:
		m.answer(w, `"error":{"code":-32601,"message":"no such method"}`)
	}
}

func (m rpc) answer(w io.Writer, member string) {
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%s}`, m.ID, member)
}

func (m rpc) misbehave(w http.ResponseWriter, r *http.Request, how string) {
	switch how {
	case "hang":
		<-r.Context().Done()
	case "flood":
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":`)
		flood(w, 1<<30)
	case "lie":
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":"another","result":{"content":[],"tools":[]}}`)
	case "endless":
		m.answer(w, fmt.Sprintf(`"result":{"tools":[],"nextCursor":"%sx"}`, m.Params.Cursor))
	}
}
