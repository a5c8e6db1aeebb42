package schema

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// require_approval is always, never, or an object. What neither of its filters names needs approval, what both name too,
// and what cannot be understood is refused.
func TestTool_Approval(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw               string
		roll, peek, other bool // need approval: a tool that writes, one that reads, and one that no filter names
	}{
		{``, true, true, true}, {`null`, true, true, true}, {`"always"`, true, true, true}, {`"never"`, false, false, false},
		{`{}`, true, true, true}, {`{"never":{}}`, true, true, true}, {`{"never":null,"always":null}`, true, true, true},
		{`{"never":{"tool_names":["roll"]}}`, false, true, true},
		{`{"never":{"tool_names":[]}}`, true, true, true},
		{`{"never":{"read_only":true}}`, true, false, true},
		{`{"never":{"read_only":false}}`, true, true, true},
		{`{"never":{"read_only":true,"tool_names":["roll"]}}`, true, true, true},
		{`{"never":{"read_only":false,"tool_names":["roll"]}}`, false, true, true},
		{`{"always":{"tool_names":["roll"]}}`, true, true, true},
		{`{"always":{"tool_names":["roll"]},"never":{"tool_names":["roll","peek"]}}`, true, false, true},
		{`{"always":{"read_only":false},"never":{"tool_names":["roll","peek"]}}`, true, false, true},
	} {
		rule, err := (&Tool{RequireApproval: jsontext.Value(c.raw)}).Approval()
		if err != nil || rule.Needs("roll", false) != c.roll || rule.Needs("peek", true) != c.peek || rule.Needs("other", false) != c.other {
			t.Errorf("%s: roll %t, peek %t, other %t, %v", c.raw, rule.Needs("roll", false), rule.Needs("peek", true), rule.Needs("other", false), err)
		}
	}
	for _, raw := range []string{
		`"Never"`, `"none"`, `false`, `0`, `["never"]`, `{"never":"all"}`, `{"never":{"names":["a"]}}`, `{"sometimes":{}}`,
		`{"never":{"read_only":"yes"}}`, `{"never":{"tool_names":"a"}}`, `{"never":{"tool_names":[1]}}`,
	} {
		if _, err := (&Tool{RequireApproval: jsontext.Value(raw)}).Approval(); err == nil {
			t.Errorf("%s: accepted", raw)
		}
	}
}

func items(t *testing.T, list string) []Item {
	t.Helper()
	var in Input
	if err := json.Unmarshal([]byte(`[`+list+`]`), &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// Answers to requests for approval are followed once: those of the input that grant, whose request is known and whose call
// was not made. A history that is sent whole is not followed again.
func TestCheckApprovals(t *testing.T) {
	t.Parallel()
	const (
		request = `{"type":"mcp_approval_request","id":"mcpr_1","server_label":"x","name":"roll","arguments":"{}"}`
		other   = `{"type":"mcp_approval_request","id":"mcpr_1","server_label":"x","name":"erase","arguments":"{}"}`
		yes     = `{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true}`
		no      = `{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":false}`
		call    = `{"type":"mcp_call","id":"mcp_1","server_label":"x","name":"roll","arguments":"{}","approval_request_id":"mcpr_1"}`
		user    = `{"role":"user","content":"go on"}`
	)
	join := func(list ...string) string { return strings.Join(list, ",") }
	for name, c := range map[string]struct {
		past, input string
		tools       string
		made        string // name of the tool to call
		param       string // of the refusal
	}{
		"by thread":                   {past: request, input: yes, made: "roll"},
		"by full input":               {input: join(user, request, yes), made: "roll"},
		"the older request counts":    {past: request, input: join(other, yes), made: "roll"},
		"denied":                      {past: request, input: no},
		"not answered":                {past: request, input: user},
		"a history":                   {input: join(user, request, yes, call, user)},
		"a denied history":            {input: join(user, request, no, user), tools: "none"},
		"an answer of the past":       {past: join(request, yes), input: user},
		"unknown":                     {input: yes, param: "input[0].approval_request_id"},
		"unknown, denied":             {input: join(user, no), param: "input[1].approval_request_id"},
		"answered twice":              {past: request, input: join(yes, no), param: "input[1].approval_request_id"},
		"answered in the past":        {past: join(request, no), input: yes, param: "input[0].approval_request_id"},
		"made already":                {past: join(request, call), input: yes, param: "input[0].approval_request_id"},
		"for a server that is absent": {past: request, input: yes, tools: "none", param: "input[0]"},
		"half a request":              {past: `{"type":"mcp_approval_request","id":"mcpr_1","name":"roll"}`, input: yes, param: "input[0].approval_request_id"},
	} {
		tools := []Tool{{Type: ToolFunction, Name: "f"}, {Type: ToolMCP, ServerLabel: "x"}}
		if c.tools != "" {
			tools = nil
		}
		past, input := items(t, c.past), items(t, c.input)
		err := CheckApprovals(past, input, tools)
		if (err == nil) != (c.param == "") || err != nil && (err.Param != c.param || err.Status != 400) {
			t.Errorf("%s: %+v", name, err)
		}
		if err != nil {
			continue
		}
		made := Approved(past, input)
		if len(made) > 1 || (len(made) == 1) != (c.made != "") || len(made) == 1 && made[0].Name != c.made {
			t.Errorf("%s: to be made: %+v", name, made)
		}
	}
}

// One request approves no more calls than a server is ready to look up.
func TestCheckApprovals_Bound(t *testing.T) {
	t.Parallel()
	var past, input []Item
	for n := range MaxApprovals + 1 {
		id := ItemID("resp_1", KindApprovalRequest, n)
		past = append(past, Item{ID: id, Type: KindApprovalRequest, ServerLabel: "x", Name: "roll"})
		input = append(input, Item{Type: KindApproval, ApprovalRequestID: jsontext.Value(`"` + id + `"`), Approve: new(true)})
	}
	tools := []Tool{{Type: ToolMCP, ServerLabel: "x"}}
	if err := CheckApprovals(past, input[1:], tools); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if err := CheckApprovals(past, input, tools); err == nil || err.Param != "input" {
		t.Errorf("beyond the bound: %v", err)
	}
}

// What a request says of MCP servers, approvals and deltas is refused with the member at fault, or understood.
func TestParseCreate_MCP(t *testing.T) {
	t.Parallel()
	tool := func(members string) string {
		return `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a"` + members + `}]}`
	}
	choice := func(c string) string {
		return strings.Replace(tool(""), `"input"`, `"tool_choice":`+c+`,"input"`, 1)
	}
	for body, param := range map[string]string{
		tool(``): "", tool(`,"require_approval":null`): "", tool(`,"require_approval":"always"`): "",
		tool(`,"require_approval":{"never":{"read_only":true}}`):                                                           "",
		tool(`,"require_approval":"Never"`):                                                                                "tools[0].require_approval",
		tool(`,"require_approval":{"never":{"name":["a"]}}`):                                                               "tools[0].require_approval",
		tool(`,"allowed_tools":{"toolnames":["a"]}`):                                                                       "tools[0].allowed_tools",
		tool(`,"connector_id":"connector_gmail","authorization":"t"`):                                                      "",
		tool(`,"connector_id":"connector_gmail","server_url":"https://a.example"`):                                         "tools[0]",
		tool(`,"connector_id":"` + strings.Repeat("x", 129) + `"`):                                                         "tools[0].connector_id",
		tool(`,"tunnel_id":"t"`):                                                                                           "tools[0].tunnel_id",
		choice(`{"type":"mcp","server_label":"a"}`):                                                                        "",
		choice(`{"type":"mcp","server_label":"a","name":"f"}`):                                                             "",
		choice(`{"type":"mcp","server_label":"b"}`):                                                                        "tool_choice.server_label",
		choice(`{"type":"mcp"}`):                                                                                           "tool_choice.server_label",
		choice(`{"type":"mcp","server_label":"a","name":1}`):                                                               "tool_choice",
		choice(`{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"a"}]}`):                       "",
		choice(`{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search"},{"type":"mcp","server_label":"b"}]}`): "tool_choice.tools[1].server_label",
		`{"model":"m","input":"hi","stream_options":{"include_obfuscation":true}}`:                                         "",
		`{"model":"m","input":"hi","stream_options":{"include_obfuscation":"yes"}}`:                                        "stream_options.include_obfuscation",
		`{"model":"m","input":"hi","stream_options":[]}`:                                                                   "stream_options",
		`{"model":"m","input":[{"type":"mcp_approval_response","approval_request_id":"a","approve":false}]}`:               "",
		`{"model":"m","input":[{"type":"mcp_approval_response","approval_request_id":"a"}]}`:                               "input[0].approve",
		`{"model":"m","input":[{"type":"mcp_approval_response","approve":true}]}`:                                          "input[0].approval_request_id",
		`{"model":"m","input":[{"type":"mcp_approval_response","approval_request_id":7,"approve":true}]}`:                  "input[0].approval_request_id",
	} {
		_, err := ParseCreate([]byte(body))
		if (err == nil) != (param == "") || err != nil && err.Param != param {
			t.Errorf("%s: %+v", body, err)
		}
	}
}

// A delta with its obfuscation is written the same way by the fast path as by the encoder, and read again.
func TestAppendFrame_Obfuscation(t *testing.T) {
	t.Parallel()
	e := Event{Type: TextDelta, SequenceNumber: 4, ItemID: "m", OutputIndex: new(0), ContentIndex: new(0), Delta: new("a\"b"),
		Logprobs: []jsontext.Value{}, Obfuscation: "Xy7"}
	if !e.plainDelta() {
		t.Error("a delta with obfuscation takes the slow path")
	}
	fast := must(appendDelta(nil, &e))(t)
	slow := must(json.Marshal(&e, oneForm))(t)
	if string(fast) != string(slow) {
		t.Errorf("fast %s\nslow %s", fast, slow)
	}
	if again := must(ParseEvent(fast))(t); again.Obfuscation != "Xy7" || again.Rest != nil {
		t.Errorf("read again: %+v", again)
	}
	if e.Obfuscation = `"`; e.plainDelta() {
		t.Error("what is no token takes the fast path")
	}
}

// Whatever a caller sends, its answers are followed only where nothing speaks against them, each request once.
func FuzzCheckApprovals(f *testing.F) {
	f.Add(`[{"type":"mcp_approval_request","id":"a","server_label":"x","name":"f"}]`, `[{"type":"mcp_approval_response","approval_request_id":"a","approve":true}]`)
	f.Add(`[]`, `[{"type":"mcp_call","approval_request_id":"a"},{"type":"mcp_approval_response","approval_request_id":null,"approve":true}]`)
	f.Add(`[{"type":"mcp_approval_response"}]`, `[{"type":"mcp_approval_request","id":""},{"type":"mcp_approval_response","approval_request_id":""}]`)
	f.Fuzz(func(t *testing.T, first, second string) {
		var past, input Input
		if json.Unmarshal([]byte(first), &past) != nil || json.Unmarshal([]byte(second), &input) != nil {
			return
		}
		err := CheckApprovals(past, input, []Tool{{Type: ToolMCP, ServerLabel: "x"}})
		made := Approved(past, input)
		if err != nil && (err.Status != 400 || len(err.Message) > 512) {
			t.Fatalf("refusal: %+v", err)
		}
		seen := map[string]bool{}
		for _, request := range made {
			if seen[request.ID] || request.Name == "" || err == nil && request.ServerLabel != "x" {
				t.Fatalf("to be made: %+v", made)
			}
			seen[request.ID] = true
		}
	})
}
