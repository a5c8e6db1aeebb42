package upstream

import (
	"context"
	"net/http"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// gate is an upstream behind its limit of calls.
type gate struct {
	served
	places  chan struct{} // one for each call under way; nil: no limit
	metrics *metrics
}

func newGate(s served, m *metrics) *gate {
	g := &gate{served: s, metrics: m}
	if n := s.config().MaxCalls; n > 0 {
		g.places = make(chan struct{}, n)
	}
	return g
}

func (g *gate) name() string { return g.config().Name }

func (g *gate) standing() standing { return standing{g.name(), *g.config().Retries} }

// enter waits in line for a place, MaxWait at most. Whoever has entered must leave.
func (g *gate) enter(ctx context.Context) error {
	if g.places == nil {
		return nil
	}
	began := time.Now()
	defer func() { g.metrics.wait.WithLabelValues(g.name()).Observe(time.Since(began).Seconds()) }()
	patience := time.NewTimer(g.config().MaxWait)
	defer patience.Stop()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-patience.C:
		return g.busy()
	}
}

func (g *gate) leave() {
	if g.places != nil {
		<-g.places
	}
}

func (g *gate) busy() error {
	err := fail(http.StatusTooManyRequests, CodeBusy, nil, "upstream %s has as many calls under way as it is allowed", g.name())
	err.Public.Type, err.Public.RetryAfter = schema.TypeRateLimit, min(g.config().MaxWait, maxRetryAfter)
	return err
}

// addressed returns the request under the name that the upstream has for the model.
func (g *gate) addressed(req *Request) *Request {
	name := g.config().Model
	if name == "" {
		return req
	}
	out, create := *req, *req.Create
	create.Model = name
	out.Create = &create
	return &out
}

// call makes one model call.
func (g *gate) call(ctx context.Context, req *Request, emit func(schema.Event) error) (out Outcome, err error) {
	defer func() { g.metrics.ended(ctx, g.name(), err) }()
	if err := g.enter(ctx); err != nil {
		return Outcome{}, err
	}
	defer g.leave()
	active := g.metrics.active.WithLabelValues(g.name())
	active.Inc()
	defer active.Dec()
	out, err = g.Stream(ctx, g.addressed(req), emit)
	out.Upstream = g.name()
	return out, err
}
