package sseserver

import (
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// The URLs of the errands, which are no ids of responses.
const (
	pathCount   = "/v1/responses/input_tokens"
	pathCompact = "/v1/responses/compact"
)

// checkErrand answers a wrong method on an errand's URL, which the router takes for one on a response of that name.
func (s *Server) checkErrand(next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.Errands == nil {
		return next
	}
	return func(c echo.Context) error {
		if path := "/v1/responses/" + c.Param("id"); path == pathCount || path == pathCompact {
			c.Set(echo.ContextKeyHeaderAllow, http.MethodOptions+", "+http.MethodPost)
			return echo.MethodNotAllowedHandler(c)
		}
		return next(c)
	}
}

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
	minted, err := mint()
	if err != nil {
		return err
	}
	ref, err := schema.NewRef(o.tenant, "resp_"+minted)
	if err != nil {
		return fmt.Errorf("name the compaction: %w", err)
	}
	items, usage, err := s.cfg.Errands.Compact(c.Request().Context(), ref, o.req, past)
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if usage == nil {
		usage = &schema.Usage{}
	}
	return s.answer(c, http.StatusOK, compaction{
		ID: ref.Response(), Object: "response.compaction", CreatedAt: o.at.Unix(), Output: items, Usage: usage,
	})
}

// readErrand reads a request that asks for no run, and what it goes on from. An Idempotency-Key has no meaning here: nothing
// is made that could be made twice.
func (s *Server) readErrand(c echo.Context) (*order, []schema.Item, error) {
	o, err := s.readOrder(c)
	if err != nil {
		return nil, nil, err
	}
	if err := checkPlain(o.req); err != nil {
		return nil, nil, err
	}
	var past []schema.Item
	err = s.find(c.Request().Context(), func(ctx context.Context) (err error) {
		if err = s.resolve(ctx, o); err == nil {
			past, err = s.recall(ctx, o)
		}
		return err
	})
	return o, past, err
}

// checkPlain refuses what would make another answer of a response: OpenAI's errands do not have it.
func checkPlain(req *schema.CreateRequest) error {
	switch {
	case req.Streams():
		return schema.Refuse(schema.CodeUnsupported, "stream", "'stream' is for responses, and this makes none.")
	case req.Backgrounds():
		return schema.Refuse(schema.CodeUnsupported, "background", "'background' is for responses, and this makes none.")
	case len(req.Producers()) > 0:
		return schema.Refuse(schema.CodeUnsupported, "midstream", "'midstream' is for responses, and this makes none.")
	}
	return nil
}
