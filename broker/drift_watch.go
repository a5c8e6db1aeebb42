package broker

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// WatchReplicas looks at every replica of every stream now and then, until ctx ends. A replica that has lost messages is in a
// metric, and told once in the log, as is its recovery; so are servers that do not show what they have. One call serves a node.
func (b *Broker) WatchReplicas(ctx context.Context) error {
	w := &watcher{b: b}
	for pause(ctx, b.cfg.WatchEvery/2+rand.N(b.cfg.WatchEvery)) == nil {
		c, found, err := b.findDrift(ctx)
		if err != nil {
			w.b.log.Debug("replicas not seen", "error", err)
			continue
		}
		w.tell(c, found)
	}
	return nil
}

// findDrift looks once, and again where something looks wrong.
func (b *Broker) findDrift(ctx context.Context) (*census, []Drift, error) {
	first, err := b.takeCensus(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(drift(first, first)) == 0 {
		return first, nil, nil
	}
	if err := pause(ctx, b.cfg.WatchDoubt); err != nil {
		return nil, nil, err
	}
	second, err := b.takeCensus(ctx)
	if err != nil {
		return nil, nil, err
	}
	return second, drift(first, second), nil
}

// watcher remembers what it has told.
type watcher struct {
	b     *Broker
	found []Drift
	blind []string
	deaf  []string
}

// tell sets the metrics, and logs what has changed.
func (w *watcher) tell(c *census, found []Drift) {
	for _, d := range w.found {
		if slices.Contains(c.silent, d.Stream) {
			found = append(found, d) // nobody says that it is whole
		}
	}
	m := w.b.metrics
	m.drift.Reset()
	m.unknown.Reset()
	for stream, servers := range c.replicas {
		for server := range servers {
			m.drift.WithLabelValues(stream, server).Set(0)
		}
	}
	for _, d := range found {
		m.drift.WithLabelValues(d.Stream, d.Server).Set(float64(d.Missing))
		if !slices.ContainsFunc(w.found, d.same) {
			w.b.log.Error("replica has lost messages", "stream", d.Stream, "server", d.Server, "missing", d.Missing,
				"do", "have the server copy the stream anew: see `midstream doctor`")
		}
	}
	for _, d := range w.found {
		if !slices.ContainsFunc(found, d.same) {
			w.b.log.Info("replica is whole again", "stream", d.Stream, "server", d.Server)
		}
	}
	for _, server := range c.unseen {
		m.unknown.WithLabelValues(server).Set(1)
	}
	if len(c.unseen) > 0 && !slices.Equal(w.blind, c.unseen) {
		w.b.log.Warn("replicas cannot be seen", "servers", c.unseen, "do", "list the monitoring URL of every server in nats.monitor")
	}
	if len(c.silent) > 0 && !slices.Equal(w.deaf, c.silent) {
		w.b.log.Warn("replicas cannot be seen of streams without a leader", "streams", c.silent)
	}
	w.found, w.blind, w.deaf = found, c.unseen, c.silent
}

func (d Drift) same(other Drift) bool { return d.Stream == other.Stream && d.Server == other.Server }

// pause returns ctx's error if it ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
