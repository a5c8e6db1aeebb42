//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3/responses"

	"github.com/midstream-dev/midstream/schema"
)

// The capacity of a gateway under overload: runs that work, and runs that may wait.
const (
	overloadRuns   = 4
	overloadQueued = 8
)

// TestOverload promises that ten times as many clients as a node has places for are each told the truth: a response that
// ends, or 429 or 503 with the time to come back. What was accepted ends, and afterwards the node is as it was before.
func TestOverload(t *testing.T) {
	overload(t, 10*(overloadRuns+overloadQueued), 3)
}

// overload has a number of clients ask some times each, all at once.
func overload(t *testing.T, clients, times int) {
	g := serve(t, fmt.Sprintf("limits: {runs: %d, queued: %d}", overloadRuns, overloadQueued))
	g.accepted(t, 0) // what is opened once is open
	before := g.metrics(t)

	var c crowd
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for range times {
				c.add(g.create(i%2 == 0))
			}
		})
	}
	all.Wait()
	http.DefaultClient.CloseIdleConnections()
	c.judge(t, clients*times)
	g.settles(t, before)
	g.accepted(t, 1)
}

// accepted asks once, and must be answered.
func (g *gateway) accepted(t *testing.T, n int) {
	t.Helper()
	if a := g.create(true); a.err != nil || a.status != http.StatusOK {
		t.Fatalf("request %d of nobody else: %+v", n, a)
	}
	http.DefaultClient.CloseIdleConnections()
}

// answer is what became of one request.
type answer struct {
	status int
	took   time.Duration
	begun  bool  // it was in doubt, and may have begun: it must not be asked for again
	err    error // of a promise that was broken
}

// create asks for a response, streamed or not, and reads it to its end.
func (g *gateway) create(stream bool) answer { return g.createBefore(context.Background(), stream) }

// createBefore gives up when ctx ends.
func (g *gateway) createBefore(ctx context.Context, stream bool) (a answer) {
	body := fmt.Sprintf(`{"model":"demo","input":"Rivers. [[tokens=20]] [[delay=5ms]]","stream":%t}`, stream)
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/responses", strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a = answer{status: resp.StatusCode, took: time.Since(began), err: err}
	switch {
	case err != nil:
	case resp.StatusCode == http.StatusInternalServerError && resp.Header.Get("X-Should-Retry") == "false":
		a.begun = true
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable:
		a.err = comesBack(resp, text)
	case resp.StatusCode != http.StatusOK:
		a.err = fmt.Errorf("%s: %s", resp.Status, text)
	case stream && bytes.HasSuffix(text, []byte("data: [DONE]\n\n")):
		_, a.err = schema.CheckStream(text)
	case stream:
		a.err = fmt.Errorf("a stream without end: %s", text)
	default:
		a.err = ended(text)
	}
	return a
}

func ended(text []byte) error {
	var r responses.Response
	if err := r.UnmarshalJSON(text); err != nil || r.Status != "completed" {
		return fmt.Errorf("%w, not a whole response: %s", err, text)
	}
	return nil
}

// comesBack judges a refusal: it says when to come back, and does not keep SDKs from it.
func comesBack(resp *http.Response, text []byte) error {
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || after < 1 || after > 60 || resp.Header.Get("X-Should-Retry") != "" {
		return fmt.Errorf("%s with headers %v", resp.Status, resp.Header)
	}
	for _, key := range []string{`"message"`, `"type"`, `"param"`, `"code"`} {
		if !bytes.Contains(text, []byte(key)) {
			return fmt.Errorf("%s without %s: %s", resp.Status, key, text)
		}
	}
	return nil
}

// crowd collects answers.
type crowd struct {
	mu      sync.Mutex
	answers []answer
}

func (c *crowd) add(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, a)
}

func (c *crowd) judge(t *testing.T, want int) {
	t.Helper()
	count := map[int]int{}
	for _, a := range c.answers {
		count[a.status]++
		if a.err != nil || a.begun {
			t.Errorf("status %d, in doubt %t: %v", a.status, a.begun, a.err)
		}
	}
	t.Logf("%d answers by status: %v; refusals took %s", len(c.answers), count, refusalTimes(c.answers))
	if len(c.answers) != want || count[http.StatusOK] < overloadRuns || count[http.StatusTooManyRequests] == 0 {
		t.Errorf("%d answers, %v: want %d, some of them refused", len(c.answers), count, want)
	}
}

// settles waits until the node holds no more than before: goroutines, but for hubs, which stay for a minute, and files.
func (g *gateway) settles(t *testing.T, before map[string]float64) {
	t.Helper()
	const (
		slack  = 8 // the scrape itself, timers, a pool
		perHub = 2 // its own, and its subscription's
	)
	var now map[string]float64
	eventually(t, "goroutines and files are those of before", func() bool {
		now = g.metrics(t)
		http.DefaultClient.CloseIdleConnections()
		goroutines := now["go_goroutines"] - before["go_goroutines"] - perHub*(now["midstream_hub_hubs"]-before["midstream_hub_hubs"])
		return goroutines <= slack && now["process_open_fds"] <= before["process_open_fds"]+slack
	})
	if grown := now["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]; grown > 512<<20 {
		t.Errorf("resident memory has grown by %.0f MiB", grown/(1<<20))
	}
}
