package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// A producer that repeats its request may repeat the secrets of it: they are no part of the command, which is stored as it is.
func TestOpened_KeepsNoSecrets(t *testing.T) {
	t.Parallel()
	ref, err := NewRef("t1", "resp_openedbyaproducer0")
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := Opened(ref, "p", []jsontext.Value{jsontext.Value(`{"type":"response.created","response":{"id":"r","model":"gpt-4o","tools":[
		{"type":"mcp","server_label":"wiki","server_url":"https://wiki.example/mcp","authorization":"CANARY-1","headers":{"X-Key":"CANARY-2"}}]}}`)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if body := string(cmd.Request); strings.Contains(body, "CANARY") || !strings.Contains(body, "wiki.example") || !strings.Contains(body, "gpt-4o") {
		t.Errorf("command %s", body)
	}
}
