package upstream

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gather returns what a router counts under a name.
func gather(t *testing.T, r *Router, name string) []*dto.Metric {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := r.Register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

func gaugeOf(t *testing.T, r *Router, name string) (sum float64) {
	t.Helper()
	for _, m := range gather(t, r, name) {
		sum += m.GetGauge().GetValue()
	}
	return sum
}
