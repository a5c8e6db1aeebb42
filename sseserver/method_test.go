package sseserver

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveAll serves every route that there is.
func serveAll(t *testing.T, adjust ...func(*Config)) *site {
	t.Helper()
	all := func(c *Config) {
		c.Conversations, c.Errands, c.Models = liveBroker(t), fixedErrands{}, listOf(Model{ID: "demo"})
	}
	return serve(t, append([]func(*Config){all}, adjust...)...)
}

// table is which methods each path of the server has. Paths are named by what is found there, where a response of the story
// and the model demo are.
func (s *site) table() map[string][]string {
	methods := map[string][]string{}
	named := strings.NewReplacer("/responses/:id", "/responses/"+storyID, ":id", "conv_x", ":item", "msg_x", "*", "demo")
	for _, r := range s.echo.Routes() {
		if r.Method != "echo_route_not_found" {
			methods[named.Replace(r.Path)] = append(methods[named.Replace(r.Path)], r.Method)
		}
	}
	return methods
}

// sorted returns a list of methods, as a header has it.
func sorted(header string) []string {
	list := strings.Split(header, ", ")
	slices.Sort(list)
	return list
}

// Over the whole table of routes, a method that a path has not is answered 405, with those that it has; so is a preflight.
func TestMethod_NotAllowed(t *testing.T) {
	t.Parallel()
	s := serveAll(t, forPages(pageOrigin))
	table := s.table()
	if len(table) < 15 {
		t.Fatalf("%d paths: this test looks in the wrong place", len(table))
	}
	all := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"}
	for path, has := range table {
		want := sorted(strings.Join(append(has, "OPTIONS"), ", "))
		for _, method := range all {
			if slices.Contains(has, method) {
				continue
			}
			resp := s.do(t, s.request(t, method, path, ""))
			if diff := cmp.Diff(want, sorted(resp.Header.Get("Allow"))); diff != "" {
				t.Errorf("%s %s: Allow (-want +got):\n%s", method, path, diff)
			}
			if method == "HEAD" && resp.StatusCode == http.StatusMethodNotAllowed {
				continue // without a body
			}
			mustRefuse(t, resp, http.StatusMethodNotAllowed, "method_not_allowed")
		}
		resp := s.do(t, s.request(t, "OPTIONS", path, "", "Origin", pageOrigin, "Access-Control-Request-Method", has[0]))
		if diff := cmp.Diff(want, sorted(resp.Header.Get("Access-Control-Allow-Methods"))); diff != "" || resp.StatusCode != http.StatusNoContent {
			t.Errorf("preflight of %s: status %d, methods (-want +got):\n%s", path, resp.StatusCode, diff)
		}
	}
}

// What is below a path of the table, or beside it, is no URL at all, whatever the method.
func TestMethod_OfNoURL(t *testing.T) {
	t.Parallel()
	s := serveAll(t)
	const responses, story = "/v1/responses/", "/v1/responses/" + storyID
	for _, path := range []string{
		responses, story + "/", story + "/nothing", story + "/cancel/", story + "/cancel/x", story + "/cancels", story + "/input_items/x",
		responses + "input_tokens/", responses + "input_tokens/x", responses + "compact/cancel/x",
		"/v1/conversations/", "/v1/conversations/conv_x/", "/v1/conversations/conv_x/nothing", "/v1/models/", "/v1/nothing",
		"/v1", "/", "/healthz/", "/metrics/x", "/openapi.yaml/x",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "OPTIONS", "BREW"} {
			if body := mustRefuse(t, s.do(t, s.request(t, method, path, "")), http.StatusNotFound, "unknown_url"); t.Failed() {
				t.Fatalf("%s %s: %s", method, path, body)
			}
		}
	}
}

// A HEAD tells of everything that can be got what a GET does, without the body; but for a stream, which has no end to tell of.
func TestMethod_Head(t *testing.T) {
	t.Parallel()
	s := serveAll(t)
	s.put(t, whole(t, storyID, "word"))
	looked := 0
	for path, has := range s.table() {
		if !slices.Contains(has, "GET") || path == socketPath {
			continue
		}
		looked++
		got, want := s.do(t, s.request(t, "HEAD", path, "")), s.get(t, path)
		if body := read(t, got); got.StatusCode != want.StatusCode || len(body) > 0 {
			t.Errorf("HEAD %s: status %d, not %d, and %d bytes", path, got.StatusCode, want.StatusCode, len(body))
		}
		for _, name := range []string{"Content-Type", "ETag", "X-Content-Type-Options"} {
			if got.Header.Get(name) != want.Header.Get(name) {
				t.Errorf("HEAD %s: %s is %q, not %q", path, name, got.Header.Get(name), want.Header.Get(name))
			}
		}
		if path != "/metrics" && got.ContentLength != want.ContentLength {
			t.Errorf("HEAD %s: of %d bytes, not %d", path, got.ContentLength, want.ContentLength)
		}
	}
	if looked < 9 {
		t.Errorf("only %d paths", looked)
	}
	if resp := s.do(t, s.request(t, "HEAD", storyStream, "")); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HEAD of a stream: status %d", resp.StatusCode)
	}
}
