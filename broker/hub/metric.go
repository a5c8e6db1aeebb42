package hub

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	tips      prometheus.Counter
	hubReads  prometheus.Counter
	lagReads  prometheus.Counter
	holes     prometheus.Counter
	followers prometheus.Gauge
}

func counter(name, help string, labels prometheus.Labels) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "midstream", Subsystem: "hub", Name: name, Help: help, ConstLabels: labels,
	})
}

func gauge(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Namespace: "midstream", Subsystem: "hub", Name: name, Help: help}
}

func newMetrics(h *Hubs) *metrics {
	const reads = "Reads of a log, by who read: a hub, or a follower that lags beyond its hub."
	m := &metrics{
		tips:      counter("tips_total", "Questions to a stream leader for the tip of a log.", nil),
		hubReads:  counter("reads_total", reads, prometheus.Labels{"by": "hub"}),
		lagReads:  counter("reads_total", reads, prometheus.Labels{"by": "laggard"}),
		holes:     counter("holes_total", "Logs or archives that were found damaged. Alert on any.", nil),
		followers: prometheus.NewGauge(gauge("followers", "Followers that are open.")),
	}
	all := []prometheus.Collector{
		m.tips, m.hubReads, m.lagReads, m.holes, m.followers,
		prometheus.NewGaugeFunc(gauge("hubs", "Responses in memory."), func() float64 { return float64(h.count()) }),
		prometheus.NewGaugeFunc(gauge("bytes", "Bytes of frames in memory."), func() float64 { return float64(h.bytes.Load()) }),
	}
	for _, c := range all {
		if h.cfg.Metrics == nil {
			break
		}
		if err := h.cfg.Metrics.Register(c); err != nil {
			h.log.Warn("metric is not registered", "error", err)
		}
	}
	return m
}
