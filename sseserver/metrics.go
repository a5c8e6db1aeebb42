package sseserver

import (
	"context"
	"errors"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/broker/hub"
)

// kindCreate, kindStart, kindSocket, and the label of each cursor tell streams apart by how they began.
const (
	kindCreate = "create"
	kindStart  = "start"
	kindSocket = "websocket"
)

// label names the cursor in a metric.
func (c cursor) label() string {
	switch c.kind {
	case headerCursor:
		return "last_event_id"
	case queryCursor:
		return queryCursor
	}
	return kindStart
}

type metrics struct {
	requests    *prometheus.CounterVec
	subscribers prometheus.Gauge
	events      prometheus.Counter
	bytes       prometheus.Counter
	firstEvent  *prometheus.HistogramVec
	resumes     *prometheus.CounterVec
	aborted     *prometheus.CounterVec
	conns       prometheus.Gauge
	refused     prometheus.Counter
	sockets     *socketMetrics
	ingested    prometheus.Counter
	notIngested *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		sockets: newSocketMetrics(reg),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_http_requests_total", Help: "Requests by route and status code."}, []string{"route", "code"}),
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "midstream_subscribers", Help: "Open event streams."}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "midstream_events_served_total", Help: "Events written to subscribers."}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "midstream_stream_bytes_total", Help: "Bytes written to subscribers."}),
		firstEvent: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "midstream_first_event_seconds", Help: "Time from a stream's request to its first event.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"kind"}),
		resumes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_resumes_total", Help: "Streams of existing responses by their cursor."}, []string{"kind"}),
		aborted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_streams_aborted_total", Help: "Streams broken off before the terminal event."}, []string{"reason"}),
		ingested: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "midstream_ingest_events_total", Help: "Events of producers that came by HTTP and were stored."}),
		notIngested: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "midstream_ingest_refused_total", Help: "Requests of producers that were refused, in part or as a whole, by error code. response_ended and producer_ended came behind an end."}, []string{"code"}),
		conns: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "midstream_connections", Help: "Open connections."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "midstream_connections_refused_total", Help: "Connections closed at once because too many were open."}),
	}
	reg.MustRegister(m.requests, m.subscribers, m.events, m.bytes, m.firstEvent, m.resumes, m.aborted, m.conns, m.refused,
		m.ingested, m.notIngested)
	return m
}

// abortReason says in a word why a stream was broken off. A write that times out ends the request's context too, so the
// deadline is looked for first.
func abortReason(err error) string {
	switch {
	case errors.Is(err, errDraining):
		return "drain"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "slow"
	case errors.Is(err, hub.ErrCut):
		return "cut"
	case errors.Is(err, errSocketAge):
		return "age"
	case errors.Is(err, errSilent):
		return "silent"
	case errors.Is(err, errPeerLeft):
		return "client"
	case errors.Is(err, context.Canceled):
		return "client"
	}
	return "write"
}
