package sseserver

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// fixedErrands counts the words of a context, and compacts it to its first one.
type fixedErrands struct{}

func (fixedErrands) CountTokens(_ context.Context, req *schema.CreateRequest, past []schema.Item) (int64, error) {
	if req.Model == "mute" {
		return 0, fmt.Errorf("count: %w", schema.Refuse(schema.CodeUnsupported, "model", "It cannot count."))
	}
	return int64(len(strings.Fields(textOf(append(past, req.Input...))))), nil
}

func (fixedErrands) Compact(_ context.Context, ref schema.Ref, req *schema.CreateRequest, past []schema.Item) ([]schema.Item, *schema.Usage, error) {
	if req.Model == "busy" {
		return nil, nil, fmt.Errorf("compact: %w", &schema.Error{Status: 429, Type: schema.TypeRateLimit, Code: schema.CodeRateLimit, RetryAfter: 6100 * time.Millisecond})
	}
	first, _, _ := strings.Cut(textOf(append(past, req.Input...)), " ")
	return []schema.Item{{ID: "cmp_" + ref.Response(), Type: schema.KindCompaction, EncryptedContent: new("ours:" + first + " of " + ref.Tenant())}}, nil, nil
}

func textOf(items []schema.Item) string {
	var texts []string
	for _, it := range items {
		texts = append(texts, it.Text())
	}
	return strings.Join(texts, " ")
}

// A count and a compaction are of the whole context, thread and references included; they start no run. What a compaction
// holds takes its place in the next request.
func TestErrands(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Errands = fixedErrands{} })
	s.said(t, "resp_a", `"one two"`, "three")
	post := func(path, body string) []byte {
		t.Helper()
		resp := s.do(t, s.request(t, http.MethodPost, path, body))
		got := read(t, resp)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, resp.StatusCode, got)
		}
		return got
	}
	body := `{"model":"demo","previous_response_id":"resp_a","input":"four five"}`
	if got := string(post("/v1/responses/input_tokens", body)); got != `{"object":"response.input_tokens","input_tokens":5}` {
		t.Errorf("count: %s", got)
	}
	var c compaction
	if err := json.Unmarshal(post("/v1/responses/compact", body), &c); err != nil {
		t.Fatal(err)
	}
	if c.Object != "response.compaction" || !strings.HasPrefix(c.ID, "resp_") || c.CreatedAt == 0 || c.Usage == nil || len(c.Output) != 1 {
		t.Errorf("compaction: %+v", c)
	}
	next, err := json.Marshal(map[string]any{"model": "demo", "stream": true, "input": append(c.Output, schema.Item{
		Type: schema.KindCompaction, EncryptedContent: new("somebody's"),
	})})
	if err != nil {
		t.Fatal(err)
	}
	s.post(t, string(next))
	req, err := s.command(t).Parse()
	if err != nil {
		t.Fatal(err)
	}
	want := schema.Input{
		{ID: "cmp_" + c.ID, Type: schema.KindMessage, Role: "developer", Content: schema.Content{schema.NewPart(schema.PartInputText, "one of default")}},
		{Type: schema.KindCompaction, EncryptedContent: new("somebody's")},
	}
	if diff := cmp.Diff(want, req.Input); diff != "" {
		t.Errorf("next input (-want +got):\n%s", diff)
	}
	mustRefuse(t, s.do(t, s.request(t, http.MethodPost, "/v1/responses/input_tokens", `{"model":"mute","input":"x"}`)), 400, schema.CodeUnsupported)
	mustRefuse(t, s.do(t, s.request(t, http.MethodPost, "/v1/responses/compact", `{"model":"demo","input":"x","previous_response_id":"resp_no"}`)), 400, schema.CodePreviousNotFound)
	busy := s.do(t, s.request(t, http.MethodPost, "/v1/responses/compact", `{"model":"busy","input":"x"}`))
	mustRefuse(t, busy, 429, schema.CodeRateLimit)
	if got := busy.Header.Get("Retry-After"); got != "7" {
		t.Errorf("Retry-After of an upstream that is busy: %q", got)
	}
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d runs were started", n)
	}
}

// What would make another answer of a response is refused by name, and what says the same as nothing is not.
func TestErrands_MakeNoResponse(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Errands = fixedErrands{} })
	for _, path := range []string{pathCount, pathCompact} {
		for _, name := range []string{"stream", "background"} {
			resp := s.do(t, s.request(t, http.MethodPost, path, `{"model":"demo","input":"x","`+name+`":true}`))
			if body := mustRefuse(t, resp, http.StatusBadRequest, schema.CodeUnsupported); !strings.Contains(body, `"param":"`+name+`"`) {
				t.Errorf("%s: %s", path, body)
			}
		}
		body := `{"model":"demo","input":"x","stream":false,"background":false,"store":false}`
		for range 2 {
			if resp := s.do(t, s.request(t, http.MethodPost, path, body, headerKey, "k")); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d: %s", path, resp.StatusCode, read(t, resp))
			}
		}
	}
}

// An errand is a request as any other to the tenant's limit.
func TestErrands_RateLimit(t *testing.T) {
	t.Parallel()
	for _, path := range []string{pathCount, pathCompact} {
		s := serve(t, func(c *Config) { c.Errands, c.RequestsPerMinute = fixedErrands{}, 1 })
		body := `{"model":"demo","input":"x"}`
		if resp := s.do(t, s.request(t, http.MethodPost, path, body)); resp.StatusCode != http.StatusOK || standing(resp)[1] != "0" {
			t.Errorf("%s: status %d, %v", path, resp.StatusCode, standing(resp))
		}
		mustRefuse(t, s.do(t, s.request(t, http.MethodPost, path, body)), http.StatusTooManyRequests, schema.CodeRateLimit)
	}
}
