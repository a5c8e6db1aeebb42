package producers

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/broker"
)

// Whatever names producers choose, there is a bound of labels; those that are known stay.
func TestRelayMetrics_BoundedLabels(t *testing.T) {
	m := newRelayMetrics()
	sent := func(producer string) {
		s := &broker.Sent{Stored: time.Now()}
		s.Producer = producer
		m.took(s)
	}
	for i := range 2 * maxProducerLabels {
		sent(fmt.Sprint("p", i))
	}
	sent("p0")
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.batch)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, metric := range families[0].GetMetric() {
		got[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
	}
	if len(got) != maxProducerLabels+1 || got["p0"] != 2 || got["p1"] != 1 || got[otherProducers] != maxProducerLabels {
		t.Errorf("%d labels: %v", len(got), got)
	}
}
