package sseserver

import (
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// inputTokens answers how many tokens a request would put before its model. Tools of MCP servers do not count: no server is
// asked.
func (s *Server) inputTokens(c echo.Context) error {
	o, past, err := s.readErrand(c)
	if err != nil {
		return err
	}
	n, err := s.cfg.Errands.CountTokens(c.Request().Context(), o.req, past)
	if err != nil {
		return fmt.Errorf("count tokens: %w", err)
	}
	return s.answer(c, http.StatusOK, struct {
		Object string `json:"object"`
		Tokens int64  `json:"input_tokens"`
	}{"response.input_tokens", n})
}

// compaction is the API's answer to a compact: items to go on with instead of all that went before.
type compaction struct {
	ID        string        `json:"id"`
	Object    string        `json:"object"`
	CreatedAt int64         `json:"created_at"`
	Output    []schema.Item `json:"output"`
	Usage     *schema.Usage `json:"usage"`
}

// compact makes a shorter context of a long one. It is a question and its answer, not a response: nothing of it is stored.
func (s *Server) compact(c echo.Context) error {
	o, past, err := s.readErrand(c)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("mint an id: %w", err)
	}
	items, usage, err := s.cfg.Errands.Compact(c.Request().Context(), o.tenant, o.req, past)
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if usage == nil {
		usage = &schema.Usage{}
	}
	return s.answer(c, http.StatusOK, compaction{
		ID: "resp_" + hex.EncodeToString(id[:]), Object: "response.compaction", CreatedAt: o.at.Unix(), Output: items, Usage: usage,
	})
}

// readErrand reads a request that asks for no run, and what it goes on from.
func (s *Server) readErrand(c echo.Context) (*order, []schema.Item, error) {
	o, err := s.readOrder(c)
	if err != nil {
		return nil, nil, err
	}
	ctx := c.Request().Context()
	if err := s.resolve(ctx, o); err != nil {
		return nil, nil, err
	}
	past, err := s.recall(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return o, past, nil
}
