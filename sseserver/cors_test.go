package sseserver

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

const (
	pageOrigin    = "https://app.example"
	foreignOrigin = "https://evil.example"
)

func forPages(origins ...string) func(*Config) {
	return func(c *Config) { c.Origins = origins }
}

// corsOf returns the headers of an answer that speak of origins.
func corsOf(resp *http.Response) map[string]string {
	got := map[string]string{}
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			got[name] = strings.Join(resp.Header.Values(name), ", ")
		}
	}
	return got
}

// Every kind of answer lets a page of a configured origin read it, headers and all: JSON, a stream, 204, and errors from
// wherever they come.
func TestCORS_EveryAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, forPages(pageOrigin), func(c *Config) {
		c.LoopbackHosts = true
		c.Mount = map[string]http.Handler{"/broken": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })}
	})
	s.put(t, whole(t, storyID, "word"))
	want := map[string]string{
		"Access-Control-Allow-Origin":   pageOrigin,
		"Access-Control-Expose-Headers": exposedHeaders,
		"Vary":                          "Origin",
	}
	const story = "/v1/responses/" + storyID
	for name, c := range map[string]struct {
		method, path, body, host string
		headers                  []string
		status                   int
	}{
		"JSON":             {"GET", story, "", "", nil, 200},
		"a stream":         {"GET", story + "?stream=true", "", "", nil, 200},
		"a finished one":   {"GET", story + "?stream=true", "", "", []string{"Last-Event-ID", lastOf(t, s)}, 204},
		"a created stream": {"POST", "/v1/responses", streamed, "", nil, 200},
		"bad JSON":         {"POST", "/v1/responses", "{", "", nil, 400},
		"no such URL":      {"GET", "/v1/nothing", "", "", nil, 404},
		"a wrong method":   {"PUT", "/v1/responses", "", "", nil, 405},
		"a large body":     {"POST", "/v1/responses", strings.Repeat(" ", 2<<20), "", nil, 413},
		"a wrong host":     {"GET", story, "", "evil.example", nil, 421},
		"large headers":    {"GET", story, "", "", []string{"X-Large", strings.Repeat("x", 70<<10)}, 431},
		"a panic":          {"GET", "/broken", "", "", nil, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := s.request(t, c.method, c.path, c.body, append(c.headers, "Origin", pageOrigin)...)
			req.Host = c.host
			resp := s.do(t, req)
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
			if diff := cmp.Diff(want, corsOf(resp)); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func lastOf(t *testing.T, s *site) string {
	t.Helper()
	frames := read(t, s.get(t, storyStream))
	ids := bytes.Split(frames, []byte("\nid: "))
	return string(bytes.SplitN(ids[len(ids)-1], []byte("\n"), 2)[0])
}

// A preflight is told the URL's methods, by the route table, and those of the headers it asks for that may be sent.
func TestCORS_Preflight(t *testing.T) {
	t.Parallel()
	s := serve(t, forPages(pageOrigin))
	for name, c := range map[string]struct {
		path, asked      string
		status           int
		methods, headers string
	}{
		"create": {"/v1/responses", "authorization,content-type,x-stainless-os,openai-beta,idempotency-key", 204,
			"OPTIONS, GET, POST", "authorization, content-type, x-stainless-os, openai-beta, idempotency-key"},
		"producer":    {"/v1/responses", "midstream-producer, Midstream-Seq", 204, "OPTIONS, GET, POST", "midstream-producer, midstream-seq"},
		"resume":      {"/v1/responses/" + storyID, "Last-Event-ID, X-Client-Request-Id", 204, "OPTIONS, DELETE, GET, HEAD", "last-event-id, x-client-request-id"},
		"no header":   {"/v1/models", "", 204, "OPTIONS, GET, HEAD", ""},
		"one too odd": {"/v1/models/org/name", "x-evil, authorization, openai-, x-stainless-a b, x-stainless-a:b", 204, "OPTIONS, GET, HEAD", "authorization, openai-"},
		"nowhere":     {"/v1/nothing", "authorization", 404, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := s.do(t, s.request(t, http.MethodOptions, c.path, "", "Origin", pageOrigin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", c.asked))
			want := map[string]string{
				"Access-Control-Allow-Origin": pageOrigin,
				"Vary":                        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
			}
			if c.methods != "" {
				want["Access-Control-Allow-Methods"], want["Access-Control-Max-Age"] = c.methods, "7200"
			}
			if c.headers != "" {
				want["Access-Control-Allow-Headers"] = c.headers
			}
			if diff := cmp.Diff(want, corsOf(resp)); diff != "" || resp.StatusCode != c.status {
				t.Errorf("status %d, headers (-want +got):\n%s", resp.StatusCode, diff)
			}
		})
	}
}

// A page of an origin that is not configured is told nothing, on a preflight and on any answer; without configuration,
// nobody is. With "*" all are, without credentials.
func TestCORS_Origins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		configured []string
		origin     string
		want       map[string]string
	}{
		"none configured": {nil, pageOrigin, map[string]string{}},
		"another":         {[]string{pageOrigin}, foreignOrigin, map[string]string{"Vary": "Origin"}},
		"another scheme":  {[]string{pageOrigin}, "http://app.example", map[string]string{"Vary": "Origin"}},
		"another port":    {[]string{pageOrigin}, pageOrigin + ":444", map[string]string{"Vary": "Origin"}},
		"a name around":   {[]string{pageOrigin}, "https://app.example.evil.example", map[string]string{"Vary": "Origin"}},
		"a sandbox":       {[]string{pageOrigin}, "null", map[string]string{"Vary": "Origin"}},
		"no page":         {[]string{pageOrigin}, "", map[string]string{"Vary": "Origin"}},
		"all": {[]string{"*"}, foreignOrigin, map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": exposedHeaders, "Vary": "Origin"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, forPages(c.configured...))
			if diff := cmp.Diff(c.want, corsOf(s.get(t, "/v1/models", "Origin", c.origin))); diff != "" {
				t.Errorf("GET (-want +got):\n%s", diff)
			}
			preflight := corsOf(s.do(t, s.request(t, http.MethodOptions, "/v1/responses", "", "Origin", c.origin,
				"Access-Control-Request-Method", "POST")))
			allowed := preflight["Access-Control-Allow-Origin"]
			if allowed != c.want["Access-Control-Allow-Origin"] || (preflight["Access-Control-Allow-Methods"] != "") != (allowed != "") {
				t.Errorf("preflight: %v", preflight)
			}
		})
	}
}

// What a foreign page sends without a preflight starts nothing, whatever its browser says of it; a WebSocket neither. A
// page of the same or of a configured origin, and a caller that is no browser, are not asked twice.
func TestOrigin_ForeignPagesChangeNothing(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 100)
	s := serve(t, forPages(pageOrigin), func(c *Config) {
		c.Mount = map[string]http.Handler{"/demo/": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reached <- r.Method
			_, _ = io.WriteString(w, "mounted")
		})}
	})
	for name, headers := range map[string][]string{
		"a new browser":     {"Sec-Fetch-Site", "cross-site", "Origin", foreignOrigin},
		"another port":      {"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"},
		"an old browser":    {"Origin", foreignOrigin},
		"a sandboxed frame": {"Origin", "null"},
		"a plain form":      {"Origin", foreignOrigin, "Content-Type", "text/plain"},
	} {
		t.Run("refused/"+name, func(t *testing.T) {
			mustRefuse(t, s.post(t, streamed, headers...), http.StatusForbidden, "origin_not_allowed")
			mustRefuse(t, s.do(t, s.request(t, http.MethodPost, "/demo/mcp", "", headers...)), http.StatusForbidden, "origin_not_allowed")
			upgrade := append(slices.Clone(headers), "Upgrade", "websocket", "Connection", "Upgrade")
			mustRefuse(t, s.get(t, "/v1/responses", upgrade...), http.StatusForbidden, "origin_not_allowed")
		})
	}
	if len(reached) != 0 || len(s.memory.commands) != 0 {
		t.Fatalf("%d requests reached the mount, %d the queue", len(reached), len(s.memory.commands))
	}
	for name, headers := range map[string][]string{
		"no browser":          nil,
		"the same origin":     {"Sec-Fetch-Site", "same-origin", "Origin", s.url},
		"the same, old":       {"Origin", s.url},
		"a configured origin": {"Sec-Fetch-Site", "cross-site", "Origin", pageOrigin},
	} {
		t.Run("taken/"+name, func(t *testing.T) {
			if resp := s.post(t, streamed, headers...); resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			s.command(t)
		})
	}
}

// "*" is the operator's word that any page may start runs.
func TestOrigin_AnyMayStart(t *testing.T) {
	t.Parallel()
	s := serve(t, forPages("*"))
	if resp := s.post(t, streamed, "Origin", foreignOrigin, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// A refusal of the origin tells a page nothing, and the operator what to configure.
func TestOrigin_RefusalNamesTheSetting(t *testing.T) {
	t.Parallel()
	s := serve(t)
	resp := s.post(t, streamed, "Origin", foreignOrigin)
	var body struct {
		Error schema.Error `json:"error"`
	}
	if err := json.Unmarshal(read(t, resp), &body); err != nil || !strings.Contains(body.Error.Message, "cors.origins") {
		t.Errorf("%+v, %v", body, err)
	}
	if got := corsOf(resp); len(got) != 0 {
		t.Errorf("headers %v", got)
	}
}
