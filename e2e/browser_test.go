//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// page is what the browser's driver prints.
type page struct {
	Status  string `json:"status"`
	Text    string `json:"text"`
	Stopped struct {
		Opened int `json:"opened"`
	} `json:"stopped"`
}

// TestBrowser promises that a browser's EventSource, cut twice in the middle of a frame, goes on by itself with
// Last-Event-ID and puts together the whole text; and that one which is never closed stops after the last event.
func TestBrowser(t *testing.T) {
	g := serve(t, "")
	f := newFront(t, g)
	target, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	cut := newCutter(t, target.Host, 2)
	id := g.begin(t, "demo-slow")

	origin, stream := "http://"+cut.address(), "/v1/responses/"+id+"?stream=true"
	got := browse[page](t, "browser.mjs", origin+"/?response="+id, origin+stream)

	logged := g.replay(t, id)
	if got.Status != "completed" || got.Text != logged.text {
		t.Errorf("the page ended %s with %q, want %q", got.Status, got.Text, logged.text)
	}
	if n := cut.remaining(); n > 0 {
		t.Errorf("%d cuts were not made", n)
	}
	testReconnects(t, f.asked(), "GET "+stream)
}

// testReconnects looks at how the page came back: twice, each time behind an event further on; and the second
// EventSource once, to be told that there is no more.
func testReconnects(t *testing.T, requests []string, stream string) {
	t.Helper()
	var after []string
	for _, request := range requests {
		if rest, ok := strings.CutPrefix(request, stream); ok {
			after = append(after, strings.TrimPrefix(rest, " after "))
		}
	}
	if len(after) != 5 || after[0] != "" || after[1] == "" || after[2] == "" || after[1] == after[2] ||
		after[3] != "" || after[4] == "" {
		t.Errorf("the stream was asked for after %q, want two resumes, a fresh start and a farewell", after)
	}
}

// begin creates a streamed response, waits for its first event, and goes away.
func (g *gateway) begin(t *testing.T, model string) string {
	t.Helper()
	client := g.client()
	stream := client.Responses.NewStreaming(context.Background(), responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me about rivers.")},
	})
	defer stream.Close()
	if !stream.Next() {
		t.Fatalf("no first event: %v", stream.Err())
	}
	return stream.Current().Response.ID
}

// browse runs a driver of the browser, and returns what it printed.
func browse[T any](t *testing.T, driver string, args ...string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, node, append([]string{driver}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("drive the browser: %v\n%s", err, stderr.String())
	}
	var got T
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("read what the browser said: %v: %s", err, out)
	}
	return got
}
