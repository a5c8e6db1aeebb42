package broker

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what the broker counts.
type metrics struct {
	appends *prometheus.HistogramVec // seconds from the first try to the acknowledgement, by kind
	packed  prometheus.Histogram     // events in a record
	retries *prometheus.CounterVec   // tries that had to be repeated, by reason
	lost    *prometheus.CounterVec   // writers that lost their log, by reason
	sealed  prometheus.Histogram     // bytes of an archive
	writers prometheus.Gauge
	claimed prometheus.Counter
	refused *prometheus.CounterVec // by bound
	fill    *prometheus.GaugeVec   // of what is bounded
	waiting prometheus.Gauge
	cancels *prometheus.CounterVec // responses that Cancel was called for, by who ended them
	orphans *prometheus.CounterVec // runs that had neither a job nor an archive, by who found them
	opened  *prometheus.CounterVec // responses that a producer opened over NATS, by how that was found out
	strange prometheus.Counter     // responses that producers send to and that must not be opened
	mended  prometheus.Counter     // records that a replica lacked
	drift   *prometheus.GaugeVec   // messages that a server lacks of a stream
	unknown *prometheus.GaugeVec   // servers whose replicas cannot be seen
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		appends: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "midstream_append_seconds",
			Help: "Time from the first try of an append to its acknowledgement.", Buckets: prometheus.ExponentialBuckets(0.0001, 3, 11)}, []string{"kind"}),
		packed: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "midstream_append_events",
			Help: "Events committed together in one record.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "midstream_append_retries_total",
			Help: "Appends that had to be tried again, by reason or JetStream error code."}, []string{"reason"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "midstream_writers_lost_total",
			Help: "Writers that lost their log before they were closed."}, []string{"reason"}),
		sealed: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "midstream_sealed_bytes",
			Help: "Compressed size of sealed responses.", Buckets: prometheus.ExponentialBuckets(1024, 4, 8)}),
		writers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "midstream_writers", Help: "Open writers."}),
		claimed: prometheus.NewCounter(prometheus.CounterOpts{Name: "midstream_jobs_claimed_total", Help: "Jobs handed out to this node."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "midstream_runs_refused_total",
			Help: "Runs, conversations and items refused, by the bound that was reached."}, []string{"bound"}),
		fill: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "midstream_fill_ratio",
			Help: "How full what admission watches is, from 0 to 1: disk, store, the fullest partition of the log, queue, conversations."}, []string{"of"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "midstream_runs_waiting", Help: "Runs of the whole cluster that no worker has taken yet."}),
		cancels: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "midstream_cancels_total",
			Help: "Cancels, by who ended the response: its owner when asked; this node, where nobody owned it, or by the fence, where the owner did not answer; or it had ended."}, []string{"by"}),
		orphans: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "midstream_orphans_total",
			Help: "Runs that had lost their job before their end and were put back into the queue, by who found them: the sweep, or a reader of a silent response."}, []string{"by"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "midstream_responses_opened_total",
			Help: "Responses that a producer opened over NATS, by how this node came to know: word of its message, or the sweep."}, []string{"by"}),
		strange: prometheus.NewCounter(prometheus.CounterOpts{Name: "midstream_responses_not_opened_total",
			Help: "Responses that are not there though a producer sends to them over NATS, and that were not opened: no producer may choose such an id."}),
		mended: prometheus.NewCounter(prometheus.CounterOpts{Name: "midstream_replica_reads_mended_total",
			Help: "Reads that a damaged replica answered with a gap, and the leader without."}),
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "midstream_replica_missing_messages",
			Help: "Messages of a stream that a server has lost and that JetStream does not give back to it; 0 where its replica is whole."}, []string{"stream", "server"}),
		unknown: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "midstream_replica_unknown",
			Help: "1 for a server whose replicas cannot be seen: there is no nats.monitor for it, or it does not answer."}, []string{"server"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.appends, m.packed, m.retries, m.lost, m.sealed, m.writers, m.claimed, m.refused, m.cancels,
		m.fill, m.waiting, m.orphans, m.opened, m.strange, m.mended, m.drift, m.unknown} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the broker: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) retried(err error) { m.retries.WithLabelValues(reason(err)).Inc() }

func (m *metrics) appended(e *entry, took time.Duration) {
	m.appends.WithLabelValues(string(e.Kind)).Observe(took.Seconds())
	m.packed.Observe(float64(e.Served()))
}

// show tells what a look has found.
func (m *metrics) show(o *outlook) {
	for of, l := range map[Bound]level{
		BoundDisk: o.disk.level, BoundStore: o.store, BoundLog: o.fullestLog(), BoundQueueBytes: o.queue, BoundConversations: o.conversations,
	} {
		m.fill.WithLabelValues(string(of)).Set(l.ratio())
	}
	m.waiting.Set(float64(o.waiting))
}
