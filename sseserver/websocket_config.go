package sseserver

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SocketLimits are the bounds of one WebSocket. A zero value has the default that its comment names. The size of a message
// is bounded by MaxBody, and the time that it takes by BodyTimeout. Messages to the client are in no queue: a lane writes
// what it has read of the log before it reads on, so at most one for each lane waits for a slow client.
type SocketLimits struct {
	// Age is how long a connection may be open: 60 min, as at OpenAI. Then its clients connect anew.
	Age time.Duration
	// Lanes bounds the named lanes of a connection, for as long as it is open: 32.
	Lanes int
	// Active bounds the responses that run at once, whatever the lanes: 16. More wait.
	Active int
	// Queue bounds the creates that wait in one lane: 16. Behind that nothing more is read.
	Queue int
	// QueueBytes bounds the creates that wait in all lanes: 4 MiB. Behind that nothing more is read. It is never less
	// than MaxBody.
	QueueBytes int64
	// Kept bounds the responses made with store false that can be gone on from: 16, the latest.
	Kept int
	// KeptBytes bounds the items of all of them: 4 MiB.
	KeptBytes int
}

func (l SocketLimits) withDefaults(maxBody int64) SocketLimits {
	l.Age = cmp.Or(l.Age, time.Hour)
	l.Lanes = cmp.Or(l.Lanes, 32)
	l.Active = cmp.Or(l.Active, 16)
	l.Queue = cmp.Or(l.Queue, 16)
	l.QueueBytes = max(cmp.Or(l.QueueBytes, 4<<20), maxBody)
	l.Kept = cmp.Or(l.Kept, 16)
	l.KeptBytes = cmp.Or(l.KeptBytes, 4<<20)
	return l
}

type socketMetrics struct {
	open     prometheus.Gauge
	received prometheus.Counter
	sent     prometheus.Counter
}

func newSocketMetrics(reg prometheus.Registerer) *socketMetrics {
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "midstream_websocket_messages_total", Help: "Messages over WebSockets."}, []string{"direction"})
	m := &socketMetrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "midstream_websockets", Help: "Open WebSockets."}),
		received: messages.WithLabelValues("received"),
		sent:     messages.WithLabelValues("sent"),
	}
	reg.MustRegister(m.open, messages)
	return m
}
