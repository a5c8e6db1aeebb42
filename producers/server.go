package producers

import (
	"context"
	"fmt"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// server returns how to reach the server of an MCP entry: one of the operator's, named by label alone, one that the operator
// has given a connector's id, or the one whose URL the request gives. The request's credentials go to its own server and to
// a connector's, the operator's to none but the operator's.
func (r *run) server(t schema.Tool) (mcp.Server, error) {
	secret := r.secrets[t.ServerLabel]
	server := mcp.Server{
		Label: t.ServerLabel, URL: t.ServerURL, Authorization: secret.Authorization, Headers: secret.Headers,
		Trusted: mcp.Trusts(r.node.Servers, t.ServerURL),
	}
	switch own, known := r.node.Servers[t.ServerLabel]; {
	case t.ConnectorID != "":
		return r.connector(server, t.ConnectorID)
	case t.ServerURL != "":
		return server, nil
	case known:
		return own, nil
	}
	return mcp.Server{}, notConfigured("no MCP server of that label is configured here")
}

// connector gives a server the URL that the operator has set for a connector.
func (r *run) connector(server mcp.Server, id string) (mcp.Server, error) {
	url, known := r.node.Connectors[id]
	if !known {
		return mcp.Server{}, notConfigured("no connector of that id is configured here")
	}
	server.URL, server.Trusted = url, true
	return server, nil
}

func notConfigured(message string) error {
	return &mcp.Error{Kind: httpError, Code: 404, Message: message}
}

// entry returns the request's MCP entry of that label.
func (r *run) entry(label string) (schema.Tool, bool) {
	for _, t := range r.req.MCP() {
		if t.ServerLabel == label {
			return t, true
		}
	}
	return schema.Tool{}, false
}

// listAfresh asks a server for its tools now, whatever was listed before, and returns those that the entry allows.
func (r *run) listAfresh(ctx context.Context, entry schema.Tool) ([]listed, error) {
	server, err := r.server(entry)
	if err != nil {
		return nil, err
	}
	ctx, span := r.span(ctx, "mcp.list_tools", "mcp.server_label", entry.ServerLabel)
	defer span.End()
	tools, err := r.node.Tools.ListToolsAfresh(ctx, r.ref.Tenant(), server)
	if err != nil {
		return nil, fmt.Errorf("list tools of %s afresh: %w", entry.ServerLabel, err)
	}
	shown, err := showTools(entry, tools)
	if err != nil {
		return nil, err
	}
	list, _ := readList(&schema.Item{Type: schema.KindListTools, Tools: shown})
	return list, nil
}
