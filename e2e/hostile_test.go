//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-json-experiment/json"
)

// TestHostileUpstream promises that whatever an upstream does, the response ends as failed, says why in a code that is
// documented, and keeps what was said before.
func TestHostileUpstream(t *testing.T) {
	t.Parallel()
	g := serve(t, fmt.Sprintf(`
upstreams:
  - {name: hostile, dialect: chat, base_url: %q, models: ["*"], first_byte: 5s, idle: 5s}
`, hostile(t, upstreams)))
	for model, story := range map[string]struct{ code, said string }{
		"html":    {"upstream_protocol", ""},
		"garbage": {"upstream_protocol", "Once upon"},
		"empty":   {"upstream_protocol", ""},
		"line":    {"upstream_protocol", "Once upon"},
		"silent":  {"upstream_timeout", ""},
		"stalls":  {"upstream_timeout", "Once upon"},
	} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			got := g.story(t, say(model, "Tell me about rivers."))
			if got.Status != "failed" || string(got.Error.Code) != story.code || got.OutputText() != story.said {
				t.Errorf("got %s with %q (%s), want failed with %q (%s)",
					got.Status, got.OutputText(), got.Error.RawJSON(), story.said, story.code)
			}
		})
	}
}

// upstreams are bad models, by name.
func upstreams(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model string `json:"model"`
	}
	if err := json.UnmarshalRead(r.Body, &q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch q.Model {
	case "html":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Captive portal</title>")
		return
	case "silent":
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if q.Model == "empty" {
		return
	}
	chunk(w, map[string]any{"role": "assistant", "content": "Once upon"}, nil)
	_ = http.NewResponseController(w).Flush() // a reader that is gone is the gateway's business
	switch q.Model {
	case "garbage":
		fmt.Fprint(w, "data: {\"choices\":[{]}\xff\n\n")
	case "line":
		fmt.Fprint(w, "data: ")
		flood(w, 100<<20)
	case "stalls":
		<-r.Context().Done()
	}
}

// flood writes n bytes that mean nothing, or as many as are taken.
func flood(w io.Writer, n int) {
	block := bytes.Repeat([]byte("flood "), 10_000)
	for ; n > 0; n -= len(block) {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// hostile serves for as long as the test lasts.
func hostile(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}
