package main

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// TestConfig_Connectors promises that a connector's id stands for one URL, and is refused where it cannot.
func TestConfig_Connectors(t *testing.T) {
	got := mustLoad(t, "mcp:\n  servers:\n    - {label: a, url: 'https://a.example', connector_id: c_a}\n    - {label: b, url: 'https://b.example'}\n")
	if urls := got.connectors(); len(urls) != 1 || urls["c_a"] != "https://a.example" {
		t.Errorf("connectors: %v", urls)
	}
	for _, c := range []struct{ servers, want string }{
		{"[{label: a, command: [x], connector_id: c}]", "a connector_id needs a url"},
		{"[{label: a, url: 'https://a.example', connector_id: c}, {label: b, url: 'https://b.example', connector_id: c}]", "another server with the connector_id c"},
	} {
		if _, err := load(t, "mcp: {servers: "+c.servers+"}\n"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.servers, err)
		}
	}
}

// TestDoor promises that an entry is let in only if whoever runs it knows how: this node, or the model's upstream.
func TestDoor(t *testing.T) {
	router, err := upstream.Open([]upstream.Config{
		{Name: "own", Dialect: "responses", BaseURL: "http://127.0.0.1:1/v1", Models: []string{"own"}, MCP: "passthrough"},
		{Name: "other", Dialect: "responses", BaseURL: "http://127.0.0.1:1/v1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	d := door{router: router, servers: map[string]mcp.Server{"here": {URL: "http://10.0.0.1/"}}, connectors: map[string]string{"c": "http://10.0.0.1/"}}
	for _, c := range []struct {
		model string
		tool  schema.Tool
		param string
	}{
		{"other", schema.Tool{ServerLabel: "here"}, ""},
		{"other", schema.Tool{ServerLabel: "x", ConnectorID: "c"}, ""},
		{"other", schema.Tool{ServerLabel: "x", ConnectorID: "d"}, "tools[0].connector_id"},
		{"other", schema.Tool{ServerLabel: "here", ConnectorID: "d"}, "tools[0].connector_id"},
		{"other", schema.Tool{ServerLabel: "x", ServerURL: "http://10.0.0.2/"}, "tools[0].server_url"},
		{"own", schema.Tool{ServerLabel: "x", ServerURL: "http://10.0.0.2/"}, ""},
		{"own", schema.Tool{ServerLabel: "x", ConnectorID: "d"}, ""},
		{"own", schema.Tool{ServerLabel: "here"}, "tools[0]"},
	} {
		c.tool.Type = schema.ToolMCP
		err := d.admit(t.Context(), &schema.CreateRequest{Model: c.model, Tools: []schema.Tool{c.tool}})
		var got string
		if refusal, ok := err.(*schema.Error); ok {
			got = refusal.Param
		}
		if got != c.param || (err == nil) != (c.param == "") {
			t.Errorf("%s, %+v: %v", c.model, c.tool, err)
		}
	}
}

// TestServe_Approval promises that the demo asks before it calls a tool, and that a newcomer can allow or deny the call: by
// previous_response_id, by a reference, or with the whole history.
func TestServe_Approval(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir())
	ask := func(members string) *schema.Response {
		t.Helper()
		response, raw := node.do(t, "POST", "/v1/responses", `{"model":"demo","tools":[{"type":"mcp","server_label":"demo"}],`+members+`}`, nil)
		var got schema.Response
		if err := json.Unmarshal(raw, &got); err != nil || response.StatusCode != 200 {
			t.Fatalf("%s, %v: %s", response.Status, err, raw)
		}
		return &got
	}
	const user = `{"role":"user","content":"Roll two dice"}`
	first := ask(`"input":[` + user + `]`)
	if len(first.Output) != 2 || first.Output[1].Type != schema.KindApprovalRequest || first.Output[1].Name != "roll_dice" {
		t.Fatalf("output: %+v", first.Output)
	}
	history, err := json.Marshal(first.Output)
	if err != nil {
		t.Fatal(err)
	}
	id := first.Output[1].ID
	for road, front := range map[string]string{
		"previous_response_id": `"previous_response_id":"` + first.ID + `","input":[`,
		"item_reference":       `"input":[` + user + `,{"type":"item_reference","id":"` + id + `"},`,
		"the whole history":    `"input":[` + user + `,` + strings.Trim(string(history), "[]") + `,`,
	} {
		answer := front + `{"type":"mcp_approval_response","approval_request_id":"` + id + `","approve":`
		allowed := ask(answer + `true}]`).Output
		n := len(allowed) - 2 // behind a list, if that is not in the context
		if n < 0 || allowed[n].Type != schema.KindMCPCall || allowed[n].Failed() || !strings.Contains(allowed[n+1].Text(), "The tool says") {
			t.Errorf("%s, allowed: %+v", road, allowed)
		}
		denied := ask(answer + `false,"reason":"no luck"}]`).Output
		if last := len(denied) - 1; last < 0 || denied[last].Type != schema.KindMessage || !strings.Contains(denied[last].Text(), "no luck") {
			t.Errorf("%s, denied: %+v", road, denied)
		}
	}
}
