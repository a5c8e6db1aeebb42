package broker

import (
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

// fanOut is how many readers of one response share what one would need alone.
const fanOut = 3000

// However many readers a response has on a node, its log is read and subscribed to as if there were one, and JetStream keeps no
// consumer for any of them.
func TestFollow_ThousandsShareOneTail(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	b, ctx := mustOpen(t, func(c *Config) { c.Partitions, c.Metrics = 1, metrics }), testContext(t)
	h := mustBegin(t, b, "resp_popular")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(ctx, schema.RecordClaim, []byte(`{}`), delta(1)))

	var all sync.WaitGroup
	attach := func() {
		f, err := b.Follow(ctx, h.Ref, -1)
		must(t, err)
		all.Go(func() {
			defer f.Close()
			var err error
			for err == nil {
				_, err = f.Next(ctx)
			}
			if !errors.Is(err, io.EOF) || f.Seq() != 100 {
				t.Errorf("a reader got %d events, then %v", f.Seq()+1, err)
			}
		})
	}
	attach()
	reads := func() float64 {
		return counted(t, metrics, "midstream_hub_reads_total", "hub") + counted(t, metrics, "midstream_hub_reads_total", "laggard")
	}
	before, subscriptions := reads(), b.conns.live.NumSubscriptions()
	for range fanOut - 1 {
		attach()
	}
	for n := int64(2); n < 100; n++ {
		must(t, w.Append(ctx, delta(n)))
	}
	must(t, w.Commit(ctx, schema.RecordEvents, nil,
		schema.Event{Type: schema.Completed, SequenceNumber: 100, Response: &schema.Response{ID: "resp_popular", Status: "completed"}}))
	if now := b.conns.live.NumSubscriptions(); now > subscriptions {
		t.Errorf("%d subscriptions for %d readers, %d for one", now, fanOut, subscriptions)
	}
	all.Wait()
	// A hub that has heard nothing for a while looks by itself: a slow machine may see that once or twice.
	if more := reads() - before; more > 8 {
		t.Errorf("%v reads of the log for %d more readers", more, fanOut-1)
	}
	info, err := b.js.Stream(ctx, logStream+"0")
	must(t, err)
	if n := info.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers", n)
	}
}
