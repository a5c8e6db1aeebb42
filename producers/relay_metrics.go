package producers

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/broker"
)

// maxProducerLabels bounds the names of producers that have a label of their own on this node, since producers choose them: the
// first that come. The rest are otherProducers together.
const (
	maxProducerLabels = 64
	otherProducers    = "other"
)

// relayMetrics is what the relays of a node count. It is safe for concurrent use.
type relayMetrics struct {
	events *prometheus.CounterVec
	batch  *prometheus.CounterVec
	lag    *prometheus.HistogramVec
	failed *prometheus.CounterVec

	overruled prometheus.Counter

	mu    sync.Mutex
	names map[string]struct{}
}

func newRelayMetrics() *relayMetrics {
	return &relayMetrics{
		names: map[string]struct{}{},
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_relay_events_total", Help: "Events that relays took from producers, whichever way they came, repeats included.",
		}, []string{"producer"}),
		batch: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_relay_batches_total", Help: "Messages in which those events were stored.",
		}, []string{"producer"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "midstream_relay_lag_seconds", Buckets: prometheus.ExponentialBuckets(.001, 4, 8),
			Help: "From the storing of a producer's message, by the NATS server's clock, to its relay, by the node's.",
		}, []string{"producer"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_relays_failed_total", Help: "Responses that failed for what their producers sent, or did not send, by error code.",
		}, []string{"code"}),
		overruled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "midstream_relay_overruled_total",
			Help: "Events of producers that said of a text another whole than its deltas, repeats included. What was streamed stood.",
		}),
	}
}

func (m *relayMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.events, m.batch, m.lag, m.failed, m.overruled}
}

// took counts a message that was not relayed before.
func (m *relayMetrics) took(sent *broker.Sent) {
	label := m.label(sent.Producer)
	m.events.WithLabelValues(label).Add(float64(len(sent.Events)))
	m.batch.WithLabelValues(label).Inc()
	m.lag.WithLabelValues(label).Observe(max(time.Since(sent.Stored), 0).Seconds())
}

func (m *relayMetrics) label(producer string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.names[producer]; known {
		return producer
	}
	if len(m.names) == maxProducerLabels {
		return otherProducers
	}
	m.names[producer] = struct{}{}
	return producer
}
