package main

import (
	"fmt"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// TestServe_Conversation promises that a response goes on in its conversation: whoever has seen its end finds its input and
// output there, also behind a restart of the node.
func TestServe_Conversation(t *testing.T) {
	data := "--nats.data=" + t.TempDir()
	node := serveNode(t, data)
	read := func(method, path, body string, into any) {
		t.Helper()
		resp, raw := node.do(t, method, path, body, nil)
		if err := json.Unmarshal(raw, into); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, raw)
		}
	}
	var conversation struct {
		ID string `json:"id"`
	}
	read("POST", "/v1/conversations", `{"items":[{"role":"user","content":"I like rivers."}]}`, &conversation)
	var list struct {
		Data []schema.Item `json:"data"`
	}
	items := func() {
		t.Helper()
		read("GET", "/v1/conversations/"+conversation.ID+"/items?order=asc&limit=100", "", &list)
	}
	for turn := range 3 {
		var response schema.Response
		read("POST", "/v1/responses", fmt.Sprintf(`{"model":"demo","input":"Tell me more.","conversation":%q}`, conversation.ID), &response)
		items()
		last := list.Data[len(list.Data)-1]
		if len(list.Data) != 1+2*(turn+1) || last.ID != response.Output[0].ID || last.Text() != response.Output[0].Text() {
			t.Fatalf("turn %d: %d items, the last is %s", turn, len(list.Data), last.ID)
		}
	}
	if code := node.stop(); code != 0 {
		t.Fatalf("stopped with %d", code)
	}
	node.code <- exitOK // for the cleanup
	node = serveNode(t, data)
	items()
	if len(list.Data) != 7 {
		t.Errorf("behind a restart: %d items", len(list.Data))
	}
}
