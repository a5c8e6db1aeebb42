package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// The third is given by its hash: printf %s CANARY-readers-000 | sha256sum.
const threeKeys = `nats: {data: %q}
keys:
  - {name: rivers, secret: CANARY-rivers-0000, tenant: rivers}
  - {name: lakes, secret: CANARY-lakes-00000, tenant: lakes}
  - {name: readers, sha256: 88f0669452e26a8ba7f14ea076cac77f888d48997f2c8c215556511da78a8371, tenant: rivers, scopes: [responses]}
  - {name: agents, secret: CANARY-agents-0000, tenant: rivers, scopes: [ingest]}
`

// guarded is a node that asks for keys.
func guarded(t *testing.T) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "midstream.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, threeKeys, t.TempDir()), 0o600); err != nil {
		t.Fatal(err)
	}
	return serveNode(t, "--config="+file)
}

// as makes a request with a key; "" is none.
func (r *running) as(t *testing.T, key, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	h := http.Header{}
	if key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	response, raw := r.do(t, method, path, body, h)
	if response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%s %s: 401 with WWW-Authenticate %q", method, path, response.Header.Get("WWW-Authenticate"))
	}
	return response.StatusCode, string(raw)
}

// TestKeys promises that nobody is let in without a key that is good for what he asks, whatever the route; that probes need
// none; and that no key is ever logged, while its name is.
func TestKeys(t *testing.T) {
	node := guarded(t)
	want := func(key, method, path, body string, status int, code string) {
		t.Helper()
		if got, answer := node.as(t, key, method, path, body); got != status || !strings.Contains(answer, code) {
			t.Errorf("%s %s as %q: %d %s, want %d %s", method, path, key, got, answer, status, code)
		}
	}
	for _, path := range []string{"responses", "responses/input_tokens", "responses/compact", "conversations", "responses/resp_x/cancel",
		"responses/resp_x/events"} {
		want("", "POST", "/v1/"+path, `{}`, 401, `"code":"invalid_api_key"`)
		want("CANARY-nobody-0000", "POST", "/v1/"+path, `{}`, 401, `"code":"invalid_api_key"`)
	}
	for _, path := range []string{"responses", "responses/resp_x", "responses/resp_x/input_items", "models", "models/demo", "nothing", "conversations/conv_x"} {
		want("", "GET", "/v1/"+path, "", 401, `"code":"invalid_api_key"`)
		want("CANARY-agents-0000", "GET", "/v1/"+path, "", 403, `"code":"insufficient_scope"`)
	}
	want("CANARY-readers-000", "POST", "/v1/responses/resp_x/events", `{}`, 403, `"code":"insufficient_scope"`)
	want("CANARY-agents-0000", "POST", "/v1/responses", `{"model":"demo","input":"x"}`, 403, `"code":"insufficient_scope"`)
	want("CANARY-readers-000", "GET", "/v1/models", "", 200, "demo")
	for _, path := range []string{"/healthz", "/readyz", "/openapi.yaml"} {
		want("", "GET", path, "", 200, "")
	}
	log := node.errors.String()
	if strings.Contains(log, "CANARY") || !strings.Contains(log, `"key":"readers"`) {
		t.Errorf("the log shows a key, or no name:\n%s", log)
	}
}

// TestKeys_Tenants promises that a key reaches the responses and conversations of its tenant, and those of no other.
func TestKeys_Tenants(t *testing.T) {
	node := guarded(t)
	const rivers, lakes, agents = "CANARY-rivers-0000", "CANARY-lakes-00000", "CANARY-agents-0000"
	create := func(key, path, body string) string {
		t.Helper()
		status, answer := node.as(t, key, "POST", path, body)
		var made struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(answer), &made); err != nil || status != 200 {
			t.Fatalf("POST %s: %d %s", path, status, answer)
		}
		return made.ID
	}
	response := create(rivers, "/v1/responses", `{"model":"demo","input":"x"}`)
	conversation := create(rivers, "/v1/conversations", `{}`)
	fed := create(rivers, "/v1/responses", `{"model":"x","midstream":{"producers":["agent"]}}`)

	for _, r := range []struct{ method, path, body string }{
		{"GET", "/v1/responses/" + response, ""},
		{"GET", "/v1/responses/" + response + "?stream=true", ""},
		{"GET", "/v1/responses/" + response + "/input_items", ""},
		{"POST", "/v1/responses/" + response + "/cancel", ""},
		{"DELETE", "/v1/responses/" + response, ""},
		{"GET", "/v1/conversations/" + conversation, ""},
		{"GET", "/v1/conversations/" + conversation + "/items", ""},
		{"DELETE", "/v1/conversations/" + conversation, ""},
		{"POST", "/v1/responses", `{"model":"demo","input":"x","previous_response_id":"` + response + `"}`},
		{"POST", "/v1/responses", `{"model":"demo","input":"x","conversation":"` + conversation + `"}`},
		{"POST", "/v1/responses", `{"model":"demo","input":[{"type":"item_reference","id":"msg_` + strings.TrimPrefix(response, "resp_") + `"}]}`},
	} {
		if status, answer := node.as(t, lakes, r.method, r.path, r.body); status != 404 && status != 400 {
			t.Errorf("another tenant: %s %s %s: %d %s", r.method, r.path, r.body, status, answer)
		}
	}
	event := `{"type":"response.completed","response":{"status":"completed"}}`
	headers := []string{"Midstream-Producer", "agent"}
	if status, answer := node.as(t, lakes, "POST", "/v1/responses/"+fed+"/events", event, headers...); status == 403 || !strings.Contains(answer, "accepted") && status != 404 {
		t.Errorf("another tenant feeds: %d %s", status, answer)
	}
	if status, answer := node.as(t, agents, "POST", "/v1/responses/"+fed+"/events", event, headers...); status != 200 {
		t.Errorf("a producer with a key of its tenant: %d %s", status, answer)
	}
	for _, id := range []string{response, fed} {
		status, answer := node.as(t, rivers, "GET", "/v1/responses/"+id+"?stream=true", "")
		if _, err := schema.CheckStream([]byte(strings.TrimSuffix(answer, "data: [DONE]\n\n"))); status != 200 || err != nil {
			t.Errorf("the tenant's own %s: %d %v", id, status, err)
		}
	}
}

// TestKeys_Mistakes promises that a key which would not keep anybody out is refused before the node starts, and not quoted; and that
// keys open addresses which are not loopback.
func TestKeys_Mistakes(t *testing.T) {
	for name, mistake := range map[string][2]string{
		"no secret":    {"{name: a}", "a secret, or the sha256"},
		"two secrets":  {"{name: a, secret: CANARY-0123456789, sha256: ab}", "a secret, or the sha256"},
		"a short one":  {"{name: a, secret: CANARY}", "fewer than 16"},
		"no hash":      {"{name: a, sha256: CANARY}", "64 hex digits"},
		"of nothing":   {"{name: a, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}", "no secret at all"},
		"no name":      {"{secret: CANARY-0123456789}", "its name"},
		"no tenant":    {"{name: a, secret: CANARY-0123456789, tenant: a.b}", "its tenant"},
		"no scope":     {"{name: a, secret: CANARY-0123456789, scopes: [all]}", `no scope "all"`},
		"a duplicate":  {"{name: a, secret: CANARY-0123456789}\n- {name: b, secret: CANARY-0123456789}", "the key of a too"},
		"another name": {"{name: a, key: CANARY-0123456789}", "unknown field"},
	} {
		_, err := load(t, "keys:\n- "+mistake[0]+"\n")
		if err == nil || !strings.Contains(err.Error(), mistake[1]) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := load(t, "listen: 0.0.0.0:8080\nkeys: [{name: a, secret: CANARY-0123456789}]\n"); err != nil {
		t.Error(err)
	}
}

// TestKeys_Tail promises that tail gets in with the key of its environment, and says what is wrong without.
func TestKeys_Tail(t *testing.T) {
	node := guarded(t)
	status, answer := node.as(t, "CANARY-rivers-0000", "POST", "/v1/responses", `{"model":"demo","input":"x"}`)
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(answer), &made); err != nil || status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if code, out, stderr := runCommand(t, "tail", made.ID, "--server="+node.url); code != exitError || !strings.Contains(stderr, "API key") {
		t.Errorf("without a key: exit code %d\n%s%s", code, out, stderr)
	}
	t.Setenv("MIDSTREAM_API_KEY", "CANARY-rivers-0000")
	if code, out, stderr := runCommand(t, "tail", made.ID, "--server="+node.url); code != exitOK || strings.Contains(out+stderr, "CANARY") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
}
