package schema

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// allowed_tools is a list of names, an object, or nothing, and binds its own entry.
func TestTool_Allowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw            string
		roll, readOnly bool // a tool that is not read-only; "peek", which is
	}{
		{``, true, true}, {`null`, true, true}, {`[]`, false, false}, {`["roll"]`, true, false},
		{`{}`, true, true}, {`{"tool_names":["peek"]}`, false, true}, {`{"read_only":true}`, false, true},
		{`{"read_only":true,"tool_names":["roll"]}`, false, false}, {`{"read_only":false}`, true, true},
	} {
		a, err := (&Tool{AllowedTools: jsontext.Value(c.raw)}).Allowed()
		if err != nil || a.Allows("roll", false) != c.roll || a.Allows("peek", true) != c.readOnly {
			t.Errorf("%s: roll %t, peek %t, %v", c.raw, a.Allows("roll", false), a.Allows("peek", true), err)
		}
	}
	if _, err := (&Tool{AllowedTools: jsontext.Value(`[1]`)}).Allowed(); err == nil {
		t.Error("a list of numbers: accepted")
	}
}

// The secrets of a request leave it by server, and are in nothing that is made of it.
func TestCreateRequest_TakeSecrets(t *testing.T) {
	t.Parallel()
	req, refused := ParseCreate([]byte(`{"model":"m","input":"hi","tools":[
		{"type":"mcp","server_label":"a","server_url":"https://a.example","require_approval":"never","authorization":"hush1","headers":{"X-Key":"hush2"}},
		{"type":"mcp","server_label":"b","require_approval":"never"}]}`))
	if refused != nil {
		t.Fatal(refused)
	}
	want := map[string]Secret{"a": {Authorization: "hush1", Headers: map[string]string{"X-Key": "hush2"}}}
	if diff := cmp.Diff(want, req.TakeSecrets()); diff != "" {
		t.Errorf("secrets:\n%s", diff)
	}
	cmd := testCommand("resp_1")
	cmd.Request = must(json.Marshal(req))(t)
	rec := must(cmd.RequestRecord())(t)
	if all := string(rec.Body) + string(rec.Frames); strings.Contains(all, "hush") || strings.Contains(all, "authorization") {
		t.Errorf("a secret is in the record:\n%s", all)
	}
	if !strings.Contains(string(rec.Frames), `"headers":null`) {
		t.Errorf("an MCP tool is shown without headers:\n%s", rec.Frames)
	}
}

// The same command gives the same bytes, whoever makes them.
func TestCommand_GivesTheSameBytes(t *testing.T) {
	t.Parallel()
	cmd := testCommand("resp_1")
	cmd.Request = []byte(`{"model":"m","input":"hi","metadata":{"b":"1","a":"2","c":"3"},"text":{"verbosity":"low"}}`)
	first := must(cmd.RequestRecord())(t)
	for range 20 {
		again := must(must(ParseCommand(must(cmd.Encode())(t)))(t).RequestRecord())(t)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
	}
}
