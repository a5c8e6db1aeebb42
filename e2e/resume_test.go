//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestResume promises that a model call outlives the node that made it, where the upstream keeps its calls: Midstream is such an
// upstream. Its front's producer is killed in the middle of a sentence; another one goes on with the next word, and the upstream
// was called once.
func TestResume(t *testing.T) {
	t.Parallel()
	back := serve(t, "")
	calls := &counter{}
	nodes := fronts(t, calls.before(t, back.url))

	client := &wire{}
	client.post(t, nodes[0].url, "demo-slow", slowly)
	client.until(t, 4)
	nodes[1].kill(t)
	nodes[2].start(t)
	logged := client.finish(t, nodes[0])
	nodes[1].start(t) // so that the test's end finds a node to stop
	if words := strings.Fields(logged.text); len(words) != 16 {
		t.Errorf("the client got %q, want 16 words", logged.text)
	}
	if n := strings.Count(strings.Join(logged.events, " "), "output_item.added"); n != 1 {
		t.Errorf("%d items, want one: %q", n, logged.events)
	}
	if calls.made.Load() != 1 || calls.taken.Load() == 0 {
		t.Errorf("the upstream was called %d times, and asked %d times to go on", calls.made.Load(), calls.taken.Load())
	}
}

// fronts starts a gateway that keeps the log, and a producer. A second producer is only prepared: start starts it.
func fronts(t *testing.T, upstream string) []*gateway {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	common := fmt.Sprintf("user: river, password: bank, secret_key: %q", base64.StdEncoding.EncodeToString(key))
	config := func(name, role, nats string) string {
		return fmt.Sprintf(`
node: %s
listen: 127.0.0.1:0
roles: [%s]
nats: {%s, %s}
upstreams:
  - {name: back, dialect: responses, base_url: %q, models: ["demo*"], resume: true}
`, name, role, nats, common, upstream)
	}
	outside := "url: nats://127.0.0.1:" + port
	front := launch(t, config("front", "gateway", fmt.Sprintf("data: %q, listen: 127.0.0.1:%s", t.TempDir(), port)))
	one := launch(t, config("one", "producer", outside))
	two := launch(t, config("two", "producer", outside))
	two.stop(t) // it must not take the run before one is killed
	return []*gateway{front, one, two}
}

// counter stands before an upstream and counts calls that are made, and that are taken up.
type counter struct{ made, taken atomic.Int64 }

func (c *counter) before(t *testing.T, base string) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			c.made.Add(1)
		case http.MethodGet:
			c.taken.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}
