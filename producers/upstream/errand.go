package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// errand is a question to an upstream beside the model calls. Its answer is one JSON document.
type errand struct {
	path   string
	encode func(*Config, *Request) (any, error)
}

// The abilities that not every upstream has.
type (
	counter interface {
		count(ctx context.Context, req *Request) (int64, error)
	}
	compactor interface {
		compact(ctx context.Context, req *Request) ([]schema.Item, *schema.Usage, error)
	}
)

// CountTokens asks the upstream of the request's model how many tokens the context of a turn has: instructions, input,
// tools. Nobody stands in for it: another model counts otherwise. Errors are those of [Upstream]; an upstream that cannot
// count is a *[schema.Error] too, 400 unsupported_parameter.
func (r *Router) CountTokens(ctx context.Context, req *Request) (int64, error) {
	g, err := r.first(req.Create.Model)
	if err != nil {
		return 0, err
	}
	c, ok := g.served.(counter)
	if !ok {
		return 0, cannot("count tokens")
	}
	return c.count(ctx, g.addressed(req))
}

// Compact asks the upstream of the request's model to make a shorter context of a long one, and returns the items to go
// on with. The call counts against the upstream's limit. Errors are those of [Router.CountTokens].
func (r *Router) Compact(ctx context.Context, req *Request) ([]schema.Item, *schema.Usage, error) {
	g, err := r.first(req.Create.Model)
	if err != nil {
		return nil, nil, err
	}
	c, ok := g.served.(compactor)
	if !ok {
		return nil, nil, cannot("compact a context")
	}
	if err := g.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer g.leave()
	return c.compact(ctx, g.addressed(req))
}

func cannot(what string) error {
	return schema.Refuse(schema.CodeUnsupported, "model", "The upstream that serves this model cannot %s.", what)
}

// count implements counter.
func (e *endpoint) count(ctx context.Context, req *Request) (int64, error) {
	raw, err := e.ask(ctx, e.dialect.count, req, "count tokens")
	if err != nil {
		return 0, err
	}
	var answer struct {
		Tokens *int64 `json:"input_tokens"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Tokens == nil || *answer.Tokens < 0 {
		return 0, broken(err, "upstream %s did not say how many tokens it counts", e.cfg.Name)
	}
	return *answer.Tokens, nil
}

// compact implements compactor.
func (e *endpoint) compact(ctx context.Context, req *Request) ([]schema.Item, *schema.Usage, error) {
	raw, err := e.ask(ctx, e.dialect.compact, req, "compact a context")
	if err != nil {
		return nil, nil, err
	}
	var answer struct {
		Output []schema.Item  `json:"output"`
		Usage  jsontext.Value `json:"usage"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer.Output) == 0 {
		return nil, nil, broken(err, "upstream %s gave no compacted context", e.cfg.Name)
	}
	return answer.Output, responsesUsage(answer.Usage), nil
}

// unknown tells an upstream that does not know the question from one that refuses it.
func (x *exchange) unknown(resp *http.Response, r *refusal, what string) error {
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		if r.code != schema.CodeModelNotFound {
			return cannot(what)
		}
	}
	return x.refused(resp, r)
}

// ask runs an errand, once, under the limits of a model call. nil is one that the dialect does not have.
func (e *endpoint) ask(ctx context.Context, q *errand, req *Request, what string) (jsontext.Value, error) {
	if q == nil {
		return nil, cannot(what)
	}
	body, err := q.encode(&e.cfg, req)
	if err != nil {
		return nil, unsayable(err)
	}
	x := &exchange{endpoint: e, caller: ctx, path: q.path, accept: "application/json", response: req.Response}
	var cancel context.CancelFunc
	x.ctx, cancel = x.limit(ctx)
	defer cancel()
	defer x.watch.stop()
	resp, err := x.send(body)
	if err != nil {
		return nil, err
	}
	defer x.release(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, x.unknown(resp, readRefusal(resp.Body), what)
	}
	if err := x.check(resp); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(resp.Body) // bounded by MaxBytes
	if err != nil {
		return nil, x.explain(err)
	}
	mended, err := mend(data)
	if err != nil {
		return nil, broken(fmt.Errorf("read answer of %s: %w", q.path, err), "upstream %s sent an answer that cannot be read", e.cfg.Name)
	}
	return mended, nil
}
