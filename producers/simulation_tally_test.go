package producers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/midstream-dev/midstream/schema"
)

// tally counts what befell the responses of a run of the simulation: faults that never strike show nothing.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func newTally() *tally { return &tally{count: map[string]int{}} }

func (t *tally) add(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, n := range w.fired {
		t.count[string(what)] += n
	}
	for _, h := range w.journal {
		for _, e := range h.records {
			if e.kind == schema.RecordClaim && e.attempt > 1 {
				t.count["(takeover)"]++
			}
		}
		t.count["(record)"] += len(h.records)
	}
	t.count["(bubble)"]++
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t.count)) {
		fmt.Fprintf(&b, "%s %d, ", what, t.count[what])
	}
	return strings.TrimSuffix(b.String(), ", ")
}
