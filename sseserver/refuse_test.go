package sseserver

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// Each bad input of reference/reliability.md section 3 (HTTP in) has its documented answer, in the API's shape, and
// nothing of it reaches the queue.
func TestRefuse_BadInput(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.put(t, whole(t, storyID, "word"))
	const responses, story = "/v1/responses", "/v1/responses/" + storyID
	nested := strings.Repeat("[", 80) + strings.Repeat("]", 80)
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		"empty body":            {"POST", responses, ``, nil, 400, schema.CodeInvalidJSON},
		"no JSON":               {"POST", responses, `model=demo`, nil, 400, schema.CodeInvalidJSON},
		"truncated JSON":        {"POST", responses, `{"model":"demo","input":"h`, nil, 400, schema.CodeInvalidJSON},
		"trailing JSON":         {"POST", responses, `{"model":"demo","input":"hi"}{}`, nil, 400, schema.CodeInvalidJSON},
		"a list":                {"POST", responses, `[]`, nil, 400, schema.CodeInvalidValue},
		"a member of bad type":  {"POST", responses, `{"model":7,"input":"hi"}`, nil, 400, schema.CodeInvalidValue},
		"duplicate names":       {"POST", responses, `{"model":"demo","model":"gpt-4o","input":"hi"}`, nil, 400, schema.CodeInvalidJSON},
		"invalid UTF-8":         {"POST", responses, "{\"model\":\"demo\",\"input\":\"\xff\"}", nil, 400, schema.CodeInvalidJSON},
		"a lone surrogate":      {"POST", responses, `{"model":"demo","input":"\ud83d"}`, nil, 400, schema.CodeInvalidJSON},
		"another case":          {"POST", responses, `{"Model":"demo","input":"hi"}`, nil, 400, schema.CodeUnknown},
		"a misspelt member":     {"POST", responses, `{"model":"demo","input":"hi","temperatur":1}`, nil, 400, schema.CodeUnknown},
		"null":                  {"POST", responses, `null`, nil, 400, schema.CodeInvalidValue},
		"a name cut in a rune":  {"POST", responses, `{"model":"demo","input":"hi","metadata":{"` + strings.Repeat("é", 100) + `":7}}`, nil, 400, schema.CodeInvalidValue},
		"nested too deep":       {"POST", responses, `{"model":"demo","input":"hi","metadata":` + nested + `}`, nil, 400, schema.CodeInvalidJSON},
		"too many members":      {"POST", responses, `{"model":"demo","input":"hi","x":[` + strings.Repeat("1,", 30_000) + `1]}`, nil, 400, schema.CodeInvalidJSON},
		"a number beyond 2^53":  {"POST", responses, `{"model":"demo","input":"hi","x":12345678901234567890123}`, nil, 400, schema.CodeInvalidJSON},
		"too large":             {"POST", responses, `{"input":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, schema.CodeTooLarge},
		"no content type":       {"POST", responses, `{}`, []string{"Content-Type", ""}, 415, "unsupported_media_type"},
		"a form":                {"POST", responses, `{}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
		"a broken content type": {"POST", responses, `{}`, []string{"Content-Type", "application/json;;"}, 415, "unsupported_media_type"},
		"a compressed body":     {"POST", responses, `{}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type"},
		"a wrong method":        {"PUT", responses, `{}`, nil, 405, "method_not_allowed"},
		"GET without an id":     {"GET", responses, ``, nil, 426, "upgrade_required"},
		"POST to a response":    {"POST", story, `{}`, nil, 405, "method_not_allowed"},
		"an unknown route":      {"GET", "/v1/nothing", ``, nil, 404, "unknown_url"},
		"an unknown root":       {"GET", "/", ``, nil, 404, "unknown_url"},
		"an empty id":           {"GET", responses + "/", ``, nil, 404, "unknown_url"},
		"below a response":      {"GET", story + "/nothing", ``, nil, 404, "unknown_url"},
		"a call to nothing":     {"POST", story + "/nothing", `{}`, nil, 404, "unknown_url"},
		"an empty model":        {"GET", "/v1/models/", ``, nil, 404, "unknown_url"},
		"options of no URL":     {"OPTIONS", "/v1/nothing", ``, nil, 404, "unknown_url"},
		"a path that climbs":    {"GET", "/v1/responses/../../etc/passwd", ``, nil, 404, "unknown_url"},
		"large headers":         {"GET", story, ``, []string{"X-Large", strings.Repeat("x", 70<<10)}, 431, "headers_too_large"},
		"a large URL":           {"GET", story + "?include=" + strings.Repeat("x", 70<<10), ``, nil, 431, "headers_too_large"},
		"a broken query":        {"GET", story + "?stream=true;starting_after=1", ``, nil, 400, schema.CodeInvalidValue},
		"a cursor of no stream": {"GET", story + "?starting_after=1", ``, nil, 400, schema.CodeInvalidValue},
		"stream=maybe":          {"GET", story + "?stream=maybe", ``, nil, 400, schema.CodeInvalidValue},
		"an unknown model":      {"GET", "/v1/models/gpt-0", ``, nil, 404, schema.CodeModelNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := s.do(t, s.request(t, c.method, c.path, c.body, c.headers...))
			body := mustRefuse(t, resp, c.status, c.code)
			if len(body) > 1000 {
				t.Errorf("the answer has %d bytes", len(body))
			}
			if (c.status == 405) != (resp.Header.Get("Allow") != "") {
				t.Errorf("Allow: %q", resp.Header.Get("Allow"))
			}
		})
	}
	t.Cleanup(func() {
		if n := len(s.memory.commands); n != 0 {
			t.Errorf("%d commands were queued", n)
		}
	})
}

// A body without an end is cut at its limit, whatever length it claims to have.
func TestRefuse_EndlessBody(t *testing.T) {
	t.Parallel()
	s := serve(t)
	req := s.request(t, http.MethodPost, "/v1/responses", "")
	req.Body, req.ContentLength = io.NopCloser(endless{}), -1
	mustRefuse(t, s.do(t, req), 413, schema.CodeTooLarge)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte(" "), len(b))), nil }

// A panic is a 500 without internals, logged once with the request's id; behind the first byte it is an abort.
func TestRefuse_Panic(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) {
		c.Logger = log.logger()
		c.Mount = map[string]http.Handler{
			"/early/": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("CANARY-early") }),
			"/late/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "half")
				panic("CANARY-late")
			}),
		}
	})
	resp := s.get(t, "/early/x", "X-Request-Id", "my-id.1")
	if body := mustRefuse(t, resp, 500, schema.CodeServer); contains(body, "CANARY") || contains(body, ".go:") {
		t.Errorf("internals leak: %s", body)
	}
	if got := resp.Header.Get("X-Request-Id"); got != "my-id.1" {
		t.Errorf("request id %q, want the caller's own", got)
	}
	if resp, err := s.client.Do(s.request(t, http.MethodGet, "/late", "")); err == nil {
		defer resp.Body.Close()
		mustCut(t, resp.Body)
	}
	waitFor(t, "the log", func() bool { return log.count("CANARY-late") > 0 })
	if n := log.count("CANARY-early"); n != 1 || log.count("my-id.1") < 2 {
		t.Errorf("%d lines tell of the panic:\n%s", n, log.String())
	}
}

// A request id that could forge a log line is replaced.
func TestRefuse_RequestIDIsSane(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, id := range []string{"", "a b", "<script>", strings.Repeat("x", 200)} {
		got := s.get(t, "/healthz", "X-Request-Id", id).Header.Get("X-Request-Id")
		if got == id || !strings.HasPrefix(got, "req_") {
			t.Errorf("%q became %q", id, got)
		}
	}
}
