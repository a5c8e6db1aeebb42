package demoserver

import (
	"net/http"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// version is the server's own, not the gateway's.
const version = "1.0.0"

// New makes the server. It is safe for concurrent use, and may be served over any transport.
func New() *server.MCPServer {
	s := server.NewMCPServer("midstream-demo", version,
		server.WithRecovery(),
		server.WithToolCapabilities(false),
		server.WithInstructions("Tools for a walk along a river: facts, units, dice to pass the time, and a slow count."))
	s.AddTool(riverFactsTool, riverFacts)
	s.AddTool(convertUnitsTool, convertUnits)
	s.AddTool(rollDiceTool, rollDice)
	s.AddTool(slowCountTool, slowCount)
	return s
}

// Handler serves [New] over streamable HTTP, to modern and to legacy clients, without sessions: any copy of it can
// answer any request.
func Handler() http.Handler {
	return server.NewStreamableHTTPServer(New(), server.WithStateLess(true))
}

// readOnly are the hints of a tool that changes nothing.
func readOnly(title string) mcp.ToolOption {
	yes, no := true, false
	return mcp.WithToolAnnotation(mcp.ToolAnnotation{
		Title: title, ReadOnlyHint: &yes, DestructiveHint: &no, IdempotentHint: &yes, OpenWorldHint: &no,
	})
}
