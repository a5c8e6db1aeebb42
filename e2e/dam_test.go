//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// dam is a model server of the chat dialect that says some words, waits until it is opened, and says the rest. So a
// story can be in the middle of a response for as long as it needs.
type dam struct {
	url  string
	gate chan struct{}
	once sync.Once
}

// The words of a dam's answer: w0 … w19.
const (
	damWords = 20
	damHeld  = 10 // are said before it is opened
)

func newDam(t *testing.T) *dam {
	t.Helper()
	d := &dam{gate: make(chan struct{})}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	t.Cleanup(d.open) // before Close, which waits for answers under way
	d.url = server.URL
	return d
}

func (d *dam) open() { d.once.Do(func() { close(d.gate) }) }

func (d *dam) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	for i := range damWords {
		if i == damHeld {
			select {
			case <-d.gate:
			case <-r.Context().Done():
				return
			}
		}
		chunk(w, map[string]any{"role": "assistant", "content": fmt.Sprintf("w%d ", i)}, nil)
		if flush() != nil {
			return
		}
	}
	chunk(w, map[string]any{}, "stop")
	fmt.Fprint(w, "data: [DONE]\n\n")
}
