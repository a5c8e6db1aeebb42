package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

// benchWriters is how many responses are written at once where a benchmark says "many".
const benchWriters = 64

// payload256 makes frames of about 256 bytes.
var payload256 = strings.Repeat("x", 150)

// mustBenchBroker has 16 partitions and a log that no benchmark fills.
func mustBenchBroker(b *testing.B, sync time.Duration) *Broker {
	return mustOpen(b, func(c *Config) { c.SyncInterval, c.Partitions, c.LogBytes = sync, 16, 32<<30 })
}

// BenchmarkAppend compares Append and Commit with a bare JetStream publish of the same frame on the same server, in turn. The
// metric x-raw is how many times as many events a second the log takes; below 1 it is slower.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []time.Duration{0, time.Second} {
		name := "sync=" + describeSync(sync)
		b.Run(name+"/one by one", func(b *testing.B) {
			br := mustBenchBroker(b, sync)
			raw := rawPerSecond(b, br, 1)
			w := mustWriter(b, br, mustBegin(b, br, "resp_bench"), 1, "n1")
			for n := int64(1); b.Loop(); n++ {
				must(b, w.Commit(context.Background(), schema.RecordEvents, nil, benchEvent(n)))
			}
			report(b, b.N, raw)
		})
		b.Run(name+"/grouped", func(b *testing.B) {
			br := mustBenchBroker(b, sync)
			raw := rawPerSecond(b, br, benchWriters)
			writers := make([]*Writer, benchWriters)
			for i := range writers {
				writers[i] = mustWriter(b, br, mustBegin(b, br, fmt.Sprintf("resp_bench%d", i)), 1, "n1")
			}
			b.ResetTimer()
			each(len(writers), func(i int) {
				for n := range int64(b.N) {
					must(b, writers[i].Append(context.Background(), benchEvent(n+1)))
				}
				must(b, writers[i].Flush(context.Background()))
			})
			report(b, b.N*benchWriters, raw)
		})
	}
}

func benchEvent(n int64) schema.Event {
	return schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &payload256}
}

func each(n int, run func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { run(i) })
	}
	all.Wait()
}

func report(b *testing.B, events int, raw float64) {
	perSecond := float64(events) / b.Elapsed().Seconds()
	b.ReportMetric(perSecond, "events/s")
	b.ReportMetric(raw, "raw-events/s")
	b.ReportMetric(perSecond/raw, "x-raw")
}

// rawPerSecond publishes one event a message, each publisher on its own subject with one message under way, for half a second.
func rawPerSecond(b *testing.B, br *Broker, publishers int) float64 {
	e := benchEvent(1)
	frame, err := schema.AppendFrame(nil, &e)
	must(b, err)
	counts := make([]int, publishers)
	began := time.Now()
	each(publishers, func(i int) {
		p, err := locate(mustRef(b, fmt.Sprintf("resp_raw%d", i)), br.partitions)
		must(b, err)
		for time.Since(began) < time.Second/2 {
			_, err := br.js.PublishMsg(context.Background(), &nats.Msg{Subject: p.log(), Data: frame})
			must(b, err)
			counts[i]++
		}
	})
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds()
}

// BenchmarkReplay reads a finished response of 1 000 events from its archive, as a node does that has never seen it.
func BenchmarkReplay(b *testing.B) {
	br := mustBenchBroker(b, time.Second)
	h := mustBegin(b, br, "resp_bench")
	w := mustWriter(b, br, h, 1, "n1")
	for n := int64(1); n < 1000; n++ {
		must(b, w.Append(context.Background(), benchEvent(n)))
	}
	must(b, w.Seal(context.Background(), true))
	for b.Loop() {
		_, found, err := source{br}.Sealed(context.Background(), h.Ref)
		if !found || err != nil {
			b.Fatal(found, err)
		}
	}
}
