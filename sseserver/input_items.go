package sseserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// The bounds of one page of a list, as the API has them.
const (
	defaultPage = 20
	maxPage     = 100
)

// page is which part of a list a request asks for: so many items behind the one named, the newest first unless it says
// otherwise.
type page struct {
	limit     int
	after     string
	ascending bool
}

// list is the API's page of items. The ids are null where the page is empty.
type list struct {
	Object  string        `json:"object"`
	Data    []schema.Item `json:"data"`
	FirstID *string       `json:"first_id"`
	LastID  *string       `json:"last_id"`
	HasMore bool          `json:"has_more"`
}

// inputItems lists what the model was given: the items of the responses that this one goes on from, then its own input. Once
// one of those responses was deleted, its own input is all there is to list.
func (s *Server) inputItems(c echo.Context) error {
	query, err := readQuery(c)
	if err != nil {
		return err
	}
	p, err := readPage(query)
	if err != nil {
		return err
	}
	ref, err := s.ref(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	x, err := s.asked(ctx, ref)
	if err != nil {
		return err
	}
	past, err := s.past(ctx, ref.Tenant(), x.Command.Thread)
	if err != nil {
		return err
	}
	out, err := p.of(append(past, x.Input()...))
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, out)
}

// asked returns what a response was asked, as long as the response itself is to be had.
func (s *Server) asked(ctx context.Context, ref schema.Ref) (*schema.Exchange, error) {
	resp, err := s.object(ctx, ref)
	if err != nil {
		return nil, err
	}
	cmd, err := s.cfg.Library.Command(ctx, ref)
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrGone) {
		return nil, notFound(ref.Response()) // since a moment ago
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", ref, err)
	}
	req, err := cmd.Parse()
	if err != nil {
		return nil, fmt.Errorf("read request of %s: %w", ref, err)
	}
	return &schema.Exchange{Command: cmd, Request: req, Response: resp}, nil
}

func readPage(q url.Values) (page, error) {
	p := page{limit: defaultPage, after: q.Get("after")}
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 || n > maxPage {
			return page{}, schema.Refuse(schema.CodeInvalidValue, "limit", "'limit' must be a number from 1 to %d.", maxPage)
		}
		p.limit = n
	}
	switch q.Get("order") {
	case "", "desc":
	case "asc":
		p.ascending = true
	default:
		return page{}, schema.Refuse(schema.CodeInvalidValue, "order", "'order' must be 'asc' or 'desc'.")
	}
	return p, nil
}

// of returns the page of some items, which are given oldest first.
func (p page) of(items []schema.Item) (*list, error) {
	if !p.ascending {
		items = slices.Clone(items)
		slices.Reverse(items)
	}
	if p.after != "" {
		at := slices.IndexFunc(items, func(it schema.Item) bool { return it.ID == p.after })
		if at < 0 {
			return nil, schema.Refuse(schema.CodeInvalidValue, "after", "There is no item with id '%s' in this list.", schema.Quote(p.after))
		}
		items = items[at+1:]
	}
	out := &list{Object: "list", Data: items[:min(len(items), p.limit)], HasMore: len(items) > p.limit}
	if n := len(out.Data); n > 0 {
		out.FirstID, out.LastID = &out.Data[0].ID, &out.Data[n-1].ID
	} else {
		out.Data = []schema.Item{}
	}
	return out, nil
}
