package producers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// metrics counts what a node does. Labels come from closed sets, or from the operator's own server labels.
type metrics struct {
	active prometheus.Gauge
	runs   *prometheus.CounterVec
	took   prometheus.Histogram
	calls  *prometheus.CounterVec

	progress prometheus.Counter
	attempts *prometheus.CounterVec
	relay    *relayMetrics
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		relay:  newRelayMetrics(),
		active: prometheus.NewGauge(prometheus.GaugeOpts{Name: "midstream_runs_active", Help: "Runs that this node works on."}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_runs_total", Help: "Runs that this node ended, by status.",
		}, []string{"status"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "midstream_run_seconds", Help: "From claim to seal.", Buckets: prometheus.ExponentialBuckets(.01, 3, 10),
		}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_tool_calls_total", Help: "MCP tool calls, by outcome.",
		}, []string{"outcome"}),
		progress: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "midstream_tool_progress_total", Help: "Progress notifications that kept MCP tool calls alive.",
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_attempts_total", Help: "Attempts at runs, by how they ended.",
		}, []string{"end"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range append(m.relay.collectors(), m.active, m.runs, m.took, m.calls, m.progress, m.attempts) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) ended(status string, took time.Duration) {
	m.runs.WithLabelValues(status).Inc()
	m.took.Observe(took.Seconds())
}

func (m *metrics) call(ok bool) {
	outcome := "completed"
	if !ok {
		outcome = "failed"
	}
	m.calls.WithLabelValues(outcome).Inc()
}

// root begins the run's span below the request's, which may have been served by another node.
func (r *run) root(ctx context.Context) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": r.fold.Command.Trace})
	return r.span(ctx, "run", "midstream.response", r.ref.Response())
}

// span begins a span with the given pairs of names and values.
func (r *run) span(ctx context.Context, name string, pairs ...string) (context.Context, trace.Span) {
	attrs := make([]attribute.KeyValue, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		attrs = append(attrs, attribute.String(pairs[i], pairs[i+1]))
	}
	return r.node.Tracer.Start(ctx, name, trace.WithAttributes(attrs...))
}
