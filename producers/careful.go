package producers

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/mcp"
)

// careful makes errors of panics: tools are called on goroutines of their own, where a panic that a hostile server's answer
// brings about would end the process, and every run in it.
type careful struct{ Tools }

// ListTools implements [Tools].
func (c careful) ListTools(ctx context.Context, tenant string, s mcp.Server) (tools []mcp.Tool, err error) {
	defer func() { err = caught(recover(), err) }()
	return c.Tools.ListTools(ctx, tenant, s)
}

// ListToolsAfresh implements [Tools].
func (c careful) ListToolsAfresh(ctx context.Context, tenant string, s mcp.Server) (tools []mcp.Tool, err error) {
	defer func() { err = caught(recover(), err) }()
	return c.Tools.ListToolsAfresh(ctx, tenant, s)
}

// CallTool implements [Tools].
func (c careful) CallTool(
	ctx context.Context, tenant string, s mcp.Server, name string, args jsontext.Value,
) (result mcp.Result, err error) {
	defer func() { err = caught(recover(), err) }()
	return c.Tools.CallTool(ctx, tenant, s, name, args)
}

// caught is the error of what was recovered, or err if nothing was.
func caught(p any, err error) error {
	if p == nil {
		return err
	}
	return fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
}
