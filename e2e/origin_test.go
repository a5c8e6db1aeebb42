//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// foreign is what a page of another origin could see.
type foreign struct {
	Created struct {
		RequestID string `json:"request_id"`
		Stream    string `json:"stream"`
		Refused   string `json:"refused"`
	} `json:"created"`
	Simple   string `json:"simple"`
	Followed struct {
		Opened int    `json:"opened"`
		Text   string `json:"text"`
		Status string `json:"status"`
	} `json:"followed"`
}

// visit lets a page of an origin of its own use a gateway whose cors.origins are those that configure makes of it.
func visit(t *testing.T, configure func(origin string) string) (*gateway, string, foreign) {
	t.Helper()
	pages := httptest.NewServer(http.FileServer(http.Dir("testdata/foreign")))
	t.Cleanup(pages.Close)
	g := serve(t, configure(pages.URL))
	target, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	cut := newCutter(t, target.Host, 1)
	id := g.begin(t, "demo-slow")
	return g, id, browse[foreign](t, "foreign.mjs", pages.URL, g.url, "http://"+cut.address()+"/v1/responses/"+id+"?stream=true")
}

// TestBrowser_ConfiguredOrigin promises that a page of an origin that the operator names creates a stream and reads its
// headers, and that its EventSource, cut in the middle of a frame, goes on with Last-Event-ID.
func TestBrowser_ConfiguredOrigin(t *testing.T) {
	g, id, got := visit(t, func(origin string) string { return fmt.Sprintf("cors: {origins: [%q]}\n", origin) })
	if got.Created.Refused != "" || got.Created.RequestID == "" || !strings.HasSuffix(got.Created.Stream, "data: [DONE]\n\n") {
		t.Errorf("the page created %+v", got.Created)
	}
	logged := g.replay(t, id)
	if got.Followed.Status != "completed" || got.Followed.Text != logged.text || got.Followed.Opened != 2 {
		t.Errorf("the page followed %+v, want %q after one cut", got.Followed, logged.text)
	}
}

// TestBrowser_ForeignOrigin promises that a page of any other origin reads nothing and starts nothing, also by a POST for
// which its browser asks no leave.
func TestBrowser_ForeignOrigin(t *testing.T) {
	for name, config := range map[string]string{"none configured": "", "another configured": "cors: {origins: ['http://127.0.0.1:1']}\n"} {
		t.Run(name, func(t *testing.T) {
			g, _, got := visit(t, func(string) string { return config })
			if got.Created.Refused == "" || got.Created.Stream != "" {
				t.Errorf("the page created %+v", got.Created)
			}
			if got.Followed.Opened != 0 || got.Followed.Text != "" {
				t.Errorf("the page followed %+v", got.Followed)
			}
			metrics := string(g.get(t, "/metrics"))
			for _, want := range []string{
				`midstream_http_requests_total{code="200",route="/v1/responses"} 1`, // the test's own
				`midstream_http_requests_total{code="403",route="/v1/responses"} 1`, // the page's, without a preflight
			} {
				if !strings.Contains(metrics, want+"\n") {
					t.Errorf("no %s in the metrics", want)
				}
			}
		})
	}
}
