package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// desk opens a router with one upstream over a real socket; sent holds what it was asked.
func desk(t *testing.T, cfg Config, answer http.HandlerFunc) (router *Router, sent *[]string) {
	t.Helper()
	sent = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		signed := r.Header.Get("Authorization") == "Bearer "+secret || r.Header.Get("X-Api-Key") == secret
		if err != nil || !signed || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%v, header %v", err, r.Header)
		}
		*sent = append(*sent, r.Method+" "+r.URL.Path+" "+string(body))
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	cfg.Name, cfg.BaseURL, cfg.APIKey = "far", server.URL+"/v1", secret
	router, err := Open([]Config{cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(router.Close)
	return router, sent
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// whole is a turn with all that bears on its length, and some that does not.
func whole() *Request {
	r := ask("m", "Hello")
	r.Create.Instructions, r.Create.Temperature, r.Create.Store = new("Be brief."), new(0.5), new(true)
	r.Create.Metadata, r.Create.Truncation = map[string]string{"a": "b"}, new("auto")
	r.Tools = []schema.Tool{{Type: schema.ToolFunction, Name: "f"}}
	return r
}

// Tokens are counted by the upstream itself, of what it would be sent; nothing is asked that does not bear on it.
func TestCountTokens_AsksTheUpstream(t *testing.T) {
	t.Parallel()
	router, sent := desk(t, Config{Dialect: "responses", Model: "inner"}, answers(200, `{"object":"response.input_tokens","input_tokens":42}`))
	if n, err := router.CountTokens(t.Context(), whole()); n != 42 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	want := []string{`POST /v1/responses/input_tokens {"model":"inner","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}],` +
		`"instructions":"Be brief.","tools":[{"type":"function","name":"f"}],"truncation":"auto"}`}
	if diff := cmp.Diff(want, *sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// A messages upstream has its own question, signed in its own way.
func TestCountTokens_AsksAMessagesUpstream(t *testing.T) {
	t.Parallel()
	router, sent := desk(t, Config{Dialect: "messages"}, answers(200, `{"input_tokens":17}`))
	req := whole()
	req.Create.Truncation = nil
	if n, err := router.CountTokens(t.Context(), req); n != 17 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	want := []string{`POST /v1/messages/count_tokens {"model":"m","system":[{"type":"text","text":"Be brief."}],` +
		`"messages":[{"role":"user","content":[{"type":"text","text":"Hello"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}`}
	if diff := cmp.Diff(want, *sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// Whoever cannot count says so: a dialect that has no question for it, and a server that does not know the question.
func TestCountTokens_SaysWhereItCannot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect string
		answer  http.HandlerFunc
		status  int
		code    string
	}{
		"chat":                  {"chat", nil, 400, schema.CodeUnsupported},
		"no such route":         {"responses", answers(404, `{"detail":"Not Found"}`), 400, schema.CodeUnsupported},
		"no such method":        {"responses", answers(405, ``), 400, schema.CodeUnsupported},
		"no such model":         {"responses", answers(404, `{"error":{"message":"no model m","code":"model_not_found"}}`), 404, schema.CodeModelNotFound},
		"refused":               {"responses", answers(400, `{"error":{"message":"bad input","param":"input"}}`), 400, schema.CodeInvalidValue},
		"credentials":           {"responses", answers(401, ``), 502, CodeRefused},
		"busy":                  {"responses", answers(429, ``), 429, schema.CodeRateLimit},
		"another answer":        {"responses", answers(200, `{"tokens":1}`), 502, schema.CodeUpstreamProtocol},
		"less than nothing":     {"responses", answers(200, `{"input_tokens":-1}`), 502, schema.CodeUpstreamProtocol},
		"no JSON":               {"responses", answers(200, `<html>`), 502, schema.CodeUpstreamProtocol},
		"an answer without end": {"responses", answers(200, `{"a":"`+strings.Repeat("a", 2<<10)), 502, schema.CodeUpstreamProtocol},
	} {
		router, _ := desk(t, Config{Dialect: c.dialect, MaxBytes: 1 << 10}, c.answer)
		_, err := router.CountTokens(t.Context(), ask("m", "Hello"))
		e, ok := errors.AsType[*schema.Error](err)
		if !ok || e.Status != c.status || e.Code != c.code || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: %v, want %d %s", name, err, c.status, c.code)
		}
	}
}

// The demo counts as its own usage does.
func TestCountTokens_DemoCountsAsItsUsage(t *testing.T) {
	t.Parallel()
	router, err := Open([]Config{{Name: "demo", Dialect: "demo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	req := ask("demo", "Where does the Elbe rise, and why there?")
	n, err := router.CountTokens(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	up, err := router.Route("demo")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := up.Stream(t.Context(), req, ignore); err != nil || out.Usage.InputTokens != n || n != 8 {
		t.Errorf("counted %d, used %+v, %v", n, out.Usage, err)
	}
}

// A context is compacted by the upstream that will read it, and comes back as items and what they cost.
func TestCompact_PassesThrough(t *testing.T) {
	t.Parallel()
	router, sent := desk(t, Config{Dialect: "responses", MaxCalls: 1}, answers(200, `{"id":"resp_up","object":"response.compaction","output":[
		{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]},
		{"id":"cmp_1","type":"compaction","encrypted_content":"gAAA"}],
		"usage":{"input_tokens":9,"output_tokens":3,"total_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":0}}}`))
	for range 2 { // the place at the gate is given back
		items, usage, err := router.Compact(t.Context(), whole())
		if err != nil || len(items) != 2 || items[1].Type != "compaction" || *items[1].EncryptedContent != "gAAA" || usage.TotalTokens != 12 {
			t.Errorf("%+v, %+v, %v", items, usage, err)
		}
	}
	want := `POST /v1/responses/compact {"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}],"instructions":"Be brief."}`
	if diff := cmp.Diff([]string{want, want}, *sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// Whoever cannot compact says so.
func TestCompact_SaysWhereItCannot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg    Config
		answer http.HandlerFunc
		code   string
	}{
		"chat":          {Config{Dialect: "chat"}, nil, schema.CodeUnsupported},
		"no such route": {Config{Dialect: "responses"}, answers(404, ``), schema.CodeUnsupported},
		"no items":      {Config{Dialect: "responses"}, answers(200, `{"output":[]}`), schema.CodeUpstreamProtocol},
		"a model apart": {Config{Dialect: "responses", Models: []string{"x"}}, nil, schema.CodeModelNotFound},
	} {
		router, _ := desk(t, c.cfg, c.answer)
		_, _, err := router.Compact(t.Context(), ask("m", "Hello"))
		if e, ok := errors.AsType[*schema.Error](err); !ok || e.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	router, err := Open([]Config{{Name: "demo", Dialect: "demo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	_, _, err = router.Compact(t.Context(), ask("demo", "Hello"))
	if e, ok := errors.AsType[*schema.Error](err); !ok || e.Code != schema.CodeUnsupported {
		t.Errorf("demo: %v", err)
	}
}

// A question ends with its context.
func TestCountTokens_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller has gone")
	router, _ := desk(t, Config{Dialect: "responses", FirstByte: time.Minute}, func(_ http.ResponseWriter, r *http.Request) {
		cancel(why)
		<-r.Context().Done()
	})
	if _, err := router.CountTokens(ctx, ask("m", "Hello")); !errors.Is(err, why) {
		t.Errorf("err = %v", err)
	}
}
