package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
	"github.com/midstream-dev/midstream/sseserver"
)

// errands answers questions about a request that make no response: the gateway asks the upstream itself.
type errands struct {
	router *upstream.Router
	broker *broker.Broker
}

var _ sseserver.Errands = errands{}

// CountTokens implements [sseserver.Errands].
func (e errands) CountTokens(ctx context.Context, req *schema.CreateRequest, past []schema.Item) (int64, error) {
	turn, err := firstTurn(req, past)
	if err != nil {
		return 0, err
	}
	return e.router.CountTokens(ctx, turn)
}

// Compact implements [sseserver.Errands]. Where the upstream cannot compact, its model writes a summary.
func (e errands) Compact(
	ctx context.Context, ref schema.Ref, req *schema.CreateRequest, past []schema.Item,
) ([]schema.Item, *schema.Usage, error) {
	turn, err := firstTurn(req, past)
	if err != nil {
		return nil, nil, err
	}
	turn.Response = ref.Response()
	items, usage, err := e.router.Compact(ctx, turn)
	if refusal := (*schema.Error)(nil); !errors.As(err, &refusal) || refusal.Code != schema.CodeUnsupported {
		return items, usage, err
	}
	text, usage, err := e.router.Summarize(ctx, turn)
	if err != nil {
		return nil, nil, err
	}
	it, err := e.broker.Compaction(ref.Tenant(), text)
	return []schema.Item{it}, usage, err
}

// firstTurn is the model call that a run of the request would begin with, but for the tools of MCP servers.
func firstTurn(req *schema.CreateRequest, past []schema.Item) (*upstream.Request, error) {
	input, err := producers.Context(past, req.Input)
	if err != nil {
		return nil, fmt.Errorf("read the context: %w", err)
	}
	turn := &upstream.Request{Create: req, Input: input}
	for _, t := range req.Tools {
		if t.Type != schema.ToolMCP {
			turn.Tools = append(turn.Tools, t)
		}
	}
	return turn, nil
}
