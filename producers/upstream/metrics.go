package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

// metrics counts model calls. Labels are the operator's own names of upstreams, and a closed set of outcomes.
type metrics struct {
	calls  *prometheus.CounterVec
	active *prometheus.GaugeVec
	wait   *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_upstream_calls_total", Help: "Model calls, each try one, by upstream and outcome.",
		}, []string{"upstream", "outcome"}),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "midstream_upstream_calls_active", Help: "Model calls under way.",
		}, []string{"upstream"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "midstream_upstream_wait_seconds", Help: "Time in line for a call, at upstreams with a limit of calls.",
			Buckets: prometheus.ExponentialBuckets(.001, 4, 9),
		}, []string{"upstream"}),
	}
}

// Register shows the metrics of all upstreams in a registry.
func (r *Router) Register(reg prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{r.metrics.calls, r.metrics.active, r.metrics.wait} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register metrics of upstreams: %w", err)
		}
	}
	return nil
}

func (m *metrics) ended(ctx context.Context, upstream string, err error) {
	m.calls.WithLabelValues(upstream, outcomeOf(ctx, err)).Inc()
}

// outcomes are what codes are counted as; those of upstreams' own making are not labels.
var outcomes = map[string]string{
	CodeBusy: "busy", CodeTimeout: "timeout", CodeRefused: "refused", codeQuota: "quota",
	schema.CodeRateLimit: "rate_limited", schema.CodeUpstreamProtocol: "protocol",
}

func outcomeOf(ctx context.Context, err error) string {
	own, ok := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return "ok"
	case ctx.Err() != nil:
		return "cancelled"
	case !ok:
		return "dropped" // what it said could not be taken in
	case outcomes[own.Public.Code] != "":
		return outcomes[own.Public.Code]
	case own.Public.Status < http.StatusInternalServerError:
		return "invalid"
	}
	return "unavailable"
}
