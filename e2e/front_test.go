//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"testing"
)

// front is a reverse proxy before a gateway that remembers what clients asked for, and which responses they created. It
// serves the browser's page too: same origin.
type front struct {
	url string

	mu       sync.Mutex
	requests []string // "GET /v1/responses/resp_…?stream=true after 7"
	bodies   []string // of the POSTs
	created  []string // ids, in the order in which they were answered
}

func newFront(t *testing.T, g *gateway) *front {
	t.Helper()
	target, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval:  -1,
		ModifyResponse: f.listen,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		f.note(r)
		proxy.ServeHTTP(w, r)
	})
	mux.Handle("/", http.FileServer(http.Dir("clients/browser")))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *front) note(r *http.Request) {
	line := fmt.Sprintf("%s %s", r.Method, r.URL)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		line += " after " + id
	}
	body := overhear(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, line)
	if r.Method == http.MethodPost {
		f.bodies = append(f.bodies, body)
	}
}

// overhear reads the body of a request and puts it back. A client that hangs up meanwhile is the gateway's to judge.
func overhear(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

func (f *front) listen(r *http.Response) error {
	if r.Request.Method == http.MethodPost {
		r.Body = &ear{ReadCloser: r.Body, front: f}
	}
	return nil
}

func (f *front) heard(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = append(f.created, id)
}

// asked returns what has been asked for so far.
func (f *front) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// only returns the one response that was created, and all that was asked for.
func (f *front) only(t *testing.T) (id string, requests []string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.created) != 1 {
		t.Fatalf("created %v with %v, want one response", f.created, f.requests)
	}
	return f.created[0], slices.Clone(f.requests)
}

// all returns the responses that were created, in order, and the bodies that asked for them.
func (f *front) all() (ids, bodies []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.created), slices.Clone(f.bodies)
}

var responseID = regexp.MustCompile(`"id":"(resp_\w+)"`)

// ear passes a body on, and tells the front the first response id in it.
type ear struct {
	io.ReadCloser
	front *front
	head  bytes.Buffer
	done  bool
}

func (e *ear) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if !e.done {
		e.head.Write(p[:n])
		if id := responseID.FindSubmatch(e.head.Bytes()); id != nil {
			e.done = true
			e.front.heard(string(id[1]))
		}
	}
	return n, err
}
