//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metrics reads what a gateway measures of itself, each series by its name; labels but that of the node stay in it.
func (g *gateway) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(string(g.get(t, "/metrics"))) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(line, "#") {
			all[nodeLabel.Replace(plain(name))] += number
		}
	}
	return all
}

var nodeLabel = strings.NewReplacer("{}", "", ",}", "}", "{,", "{")

// plain takes the label of the node out.
func plain(name string) string {
	before, rest, ok := strings.Cut(name, `node="`)
	if !ok {
		return name
	}
	_, after, _ := strings.Cut(rest, `"`)
	return before + strings.TrimPrefix(after, ",")
}

// eventually waits for what must happen.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(90 * time.Second); !happened(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// refusalTimes tells how long refusals took: it judges nothing, since the machine is shared.
func refusalTimes(answers []answer) string {
	var took []time.Duration
	for _, a := range answers {
		if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
			took = append(took, a.took)
		}
	}
	if len(took) == 0 {
		return "none"
	}
	slices.Sort(took)
	return fmt.Sprintf("p50 %s, p99 %s", took[len(took)/2], took[len(took)*99/100])
}
