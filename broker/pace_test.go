package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// A quiet server is never waited for; a busy one is given as long as it takes beyond a quick answer, but never longer than
// the bound.
func TestPace(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{
		0:                     0,
		quickAnswer:           0,
		quickAnswer + 1000000: 1000000,
		time.Second:           maxFlushInterval,
	} {
		var p pace
		for range 200 {
			p.answered(took)
		}
		if got := p.pause(); (got - want).Abs() > 100*time.Microsecond {
			t.Errorf("answers in %s: pause %s, not %s", took, got, want)
		}
	}
	var p pace
	p.answered(20 * time.Millisecond)
	if got := p.pause(); got > quickAnswer {
		t.Errorf("one slow answer makes a pause of %s", got)
	}
}

// BenchmarkLive writes responses at the pace of models, 50 events a second each, and measures from Append to the live subject.
func BenchmarkLive(b *testing.B) {
	for _, sync := range []time.Duration{0, time.Second} {
		for _, live := range []int{20, 400} {
			b.Run(fmt.Sprintf("sync=%s/live=%d", describeSync(sync), live), func(b *testing.B) {
				br := mustBenchBroker(b, sync)
				l := &latencies{}
				b.ResetTimer()
				each(live, func(i int) { l.write(b, br, fmt.Sprintf("resp_live%d", i)) })
				l.report(b)
			})
		}
	}
}

// latencies collects the time of each event from Append to the live subject.
type latencies struct {
	mu      sync.Mutex
	all     []time.Duration
	records int
}

func (l *latencies) write(b *testing.B, br *Broker, response string) {
	w := mustWriter(b, br, mustBegin(b, br, response), 1, "n1")
	appended := make([]time.Time, b.N+1)
	p, err := locate(mustRef(b, response), br.partitions)
	must(b, err)
	var done sync.WaitGroup
	done.Add(b.N)
	stop, err := br.live.listen(p.live(), func(h *heard) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.records++
		for n := h.First; n <= h.Last; n++ {
			l.all = append(l.all, time.Since(appended[n]))
			done.Done()
		}
	})
	must(b, err)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 1; n <= b.N; n++ {
		appended[n] = time.Now()
		must(b, w.Append(context.Background(), benchEvent(int64(n))))
		<-tick.C
	}
	done.Wait()
}

func (l *latencies) report(b *testing.B) {
	slices.Sort(l.all)
	ms := func(q float64) float64 { return l.all[int(q*float64(len(l.all)-1))].Seconds() * 1000 }
	b.ReportMetric(ms(0.50), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(float64(len(l.all))/float64(l.records), "events/record")
	b.ReportMetric(float64(len(l.all))/b.Elapsed().Seconds(), "events/s")
}
