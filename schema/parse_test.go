package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

var goodBodies = []string{
	`{"model":"m","input":"hi"}`,
	`{"model":"m","input":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}],"stream":true}`,
	`{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:,"}]}],"metadata":{"a":"b"}}`,
	`{"model":"m","input":"hi","tools":[{"type":"function","name":"f","parameters":null},{"type":"web_search"}],"tool_choice":"auto"}`,
	`{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"d","server_url":"https://x","require_approval":"never","headers":{"A":"b"},"authorization":"s","allowed_tools":["t"]}]}`,
	`{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"4"}]}`,
	`{"model":"m","input":[{"role":"user","content":[{"type":"input_image","file_id":"file_1"},{"type":"input_file","file_url":"https://a.example/b.pdf"}]}]}`,
	`{"model":"m","input":[{"role":"user","content":"hi"},{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}}]}`,
	`{"model":"m","input":[{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"data:,"}}]}`,
	`{"model":"m","input":"hi","reasoning":{"effort":"low"},"text":{"verbosity":"low"},"temperature":0.5,"include":[],"client_metadata":{"a":"1"}}`,
	`{"model":"m","input":"hi","prompt_cache_options":{"x":[` + strings.Repeat("0,", MaxMembers-1) + `0],"y":` + wideObject(MaxMembers) + `}}`,
	`{"model":"m","input":"hi","metadata":null}`,
	`{"model":"m","input":"hi","metadata":{"a":""}}`,
	`{"model":"m","input":"hi","metadata":{"a":"` + strings.Repeat("é", 512) + `"}}`,
}

// wideObject returns an object of n members.
func wideObject(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

var badBodies = []struct{ name, body, code, param string }{
	{"nothing", ``, CodeInvalidJSON, ""},
	{"cut", `{"model":"m","input":`, CodeInvalidJSON, ""},
	{"two values", `{"model":"m","input":"hi"}{}`, CodeInvalidJSON, ""},
	{"trailing letters", `{"model":"m","input":"hi"}x`, CodeInvalidJSON, ""},
	{"a list", `[]`, CodeInvalidValue, ""},
	{"null", ` null`, CodeInvalidValue, ""},
	{"a name twice", `{"model":"m","model":"n","input":"hi"}`, CodeInvalidJSON, ""},
	{"invalid UTF-8", "{\"model\":\"\xff\",\"input\":\"hi\"}", CodeInvalidJSON, ""},
	{"a lone surrogate", `{"model":"\ud800","input":"hi"}`, CodeInvalidJSON, ""},
	{"too deep", `{"model":"m","input":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, CodeInvalidJSON, ""},
	{"too wide", `{"model":"m","input":"hi","x":[` + strings.Repeat("0,", MaxMembers) + `0]}`, CodeInvalidJSON, ""},
	{"too wide an object", `{"model":"m","input":"hi","x":` + wideObject(MaxMembers+1) + `}`, CodeInvalidJSON, ""},
	{"metadata that is null", `{"model":"m","input":"hi","metadata":{"b":"","a":null}}`, CodeInvalidValue, "metadata.a"},
	{"metadata that is a number", `{"model":"m","input":"hi","metadata":{"a":1}}`, CodeInvalidValue, "metadata.a"},
	{"too large a number", `{"model":"m","input":"hi","x":9007199254740993}`, CodeInvalidJSON, ""},
	{"a number of 400 digits", `{"model":"m","input":"hi","x":` + strings.Repeat("9", 400) + `}`, CodeInvalidJSON, ""},
	{"a number beyond doubles", `{"model":"m","input":"hi","x":1e999}`, CodeInvalidJSON, ""},
	{"another case", `{"Model":"m","input":"hi"}`, CodeUnknown, "Model"},
	{"no input", `{"model":"m"}`, CodeMissing, "input"},
	{"a wrong type", `{"model":1,"input":"hi"}`, CodeInvalidValue, "model"},
	{"a wrong type inside", `{"model":"m","input":[{"role":"user","content":[{"type":1}]}]}`, CodeInvalidValue, "input[0].content[0].type"},
	{"an unknown role", `{"model":"m","input":[{"role":"root","content":"x"}]}`, CodeInvalidValue, "input[0].role"},
	{"an id twice", `{"model":"m","input":[{"role":"user","content":"a","id":"x"},{"role":"user","content":"b","id":"x"}]}`, CodeInvalidValue, "input"},
	{"a message without content", `{"model":"m","input":[{"role":"user"}]}`, CodeMissing, "input[0].content"},
	{"a message whose content is null", `{"model":"m","input":[{"role":"user","content":null}]}`, CodeMissing, "input[0].content"},
	{"a call without a name", `{"model":"m","input":[{"type":"function_call","call_id":"c","arguments":"{}"}]}`, CodeMissing, "input[0].name"},
	{"an output that is an object", `{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":{}}]}`, CodeInvalidValue, "input[0].output"},
	{"an output that is nothing", `{"model":"m","input":[{"type":"function_call_output","call_id":"c"}]}`, CodeMissing, "input[0].output"},
	{"an output of parts that are none", `{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":["x"]}]}`, CodeInvalidValue, "input[0].output"},
	{"an output of an image that is nowhere", `{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"},{"type":"input_image"}]}]}`, CodeMissing, "input[0].output[1].image_url"},
	{"an image that is nowhere", `{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":null,"detail":"low"}]}]}`, CodeMissing, "input[0].content[0].image_url"},
	{"an image as chat has it", `{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":{"url":"data:,"}}]}]}`, CodeInvalidValue, "input[0].content[0].image_url"},
	{"a file that is nowhere", `{"model":"m","input":[{"role":"user","content":[{"type":"input_file","filename":"a.pdf"}]}]}`, CodeMissing, "input[0].content[0].file_data"},
	{"a text that says nothing", `{"model":"m","input":[{"role":"user","content":[{"type":"input_text"}]}]}`, CodeMissing, "input[0].content[0].text"},
	{"an item of a kind to come", `{"model":"m","input":[{"type":"telepathy_call","id":"t"}]}`, CodeInvalidValue, "input[0]"},
	{"an output without its call", `{"model":"m","input":[{"type":"function_call_output","output":"4"}]}`, CodeMissing, "input[0].call_id"},
	{"a forged label", `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a.>"}]}`, CodeInvalidValue, "tools[0].server_label"},
	{"a label twice", `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a","require_approval":"never"},{"type":"mcp","server_label":"a","require_approval":"never"}]}`, CodeInvalidValue, "tools[1].server_label"},
	{"a header with a line break", `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example","require_approval":"never","headers":{"A":"b\r\nC: d"}}]}`, CodeInvalidValue, "tools[0].headers"},
	{"credentials for the operator's server", `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a","require_approval":"never","authorization":"x"}]}`, CodeUnsupported, "tools[0]"},
	{"credentials in another case", `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example","require_approval":"never","Authorization":"x"}]}`, CodeInvalidValue, "tools[0]"},
	{"a function twice", `{"model":"m","input":"hi","tools":[{"type":"function","name":"f"},{"type":"function","name":"f"}]}`, CodeInvalidValue, "tools[1].name"},
	{"a function named like an MCP tool", `{"model":"m","input":"hi","tools":[{"type":"function","name":"a__f"},{"type":"mcp","server_label":"a","require_approval":"never"}]}`, CodeInvalidValue, "tools"},
	{"too long a name in metadata", `{"model":"m","input":"hi","metadata":{"` + strings.Repeat("é", 65) + `":"a"}}`, CodeInvalidValue, "metadata"},
	{"too much metadata", `{"model":"m","input":"hi","metadata":{"a":"` + strings.Repeat("x", 513) + `"}}`, CodeInvalidValue, "metadata"},
	{"text that is a string", `{"model":"m","input":"hi","text":"x"}`, CodeInvalidValue, "text"},
	{"reasoning that is a list", `{"model":"m","input":"hi","reasoning":[]}`, CodeInvalidValue, "reasoning"},
	{"too hot", `{"model":"m","input":"hi","temperature":3}`, CodeInvalidValue, "temperature"},
}

// What can be served is accepted; what cannot is refused with a code and the name of the member at fault.
func TestParseCreate_NamesTheMemberAtFault(t *testing.T) {
	t.Parallel()
	for _, body := range goodBodies {
		if _, err := ParseCreate([]byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, c := range badBodies {
		_, err := ParseCreate([]byte(c.body))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if err.Code != c.code || err.Param != c.param || err.Status != 400 || len(err.Message) > 512 {
			t.Errorf("%s: %+v", c.name, err)
		}
	}
}

// A request that is accepted is the same when it is written and read again, and nothing panics.
func FuzzParseCreate(f *testing.F) {
	for _, body := range goodBodies {
		f.Add([]byte(body))
	}
	for _, c := range badBodies {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := ParseCreate(body)
		if err != nil {
			return
		}
		data := must(json.Marshal(req))(t)
		again, err := ParseCreate(data)
		if err != nil {
			t.Fatalf("written again: %v\n%s", err, data)
		}
		if diff := cmp.Diff(data, must(json.Marshal(again))(t)); diff != "" {
			t.Fatalf("written again:\n%s", diff)
		}
		showsNoSecret(t, req)
	})
}

// showsNoSecret fails if a response made of the request breaks the checker's rules for one that has just begun.
func showsNoSecret(t *testing.T, req *CreateRequest) {
	t.Helper()
	secrets := req.TakeSecrets()
	cmd := testCommand("resp_1")
	cmd.Request = must(json.Marshal(req))(t)
	rec, err := cmd.RequestRecord()
	if err != nil {
		t.Fatalf("no request record: %v", err)
	}
	if _, err := new(checker).take(rec.Frames); err != nil {
		t.Fatalf("response.created: %v\n%s", err, rec.Frames)
	}
	for label, s := range secrets {
		if len(s.Authorization) > 8 && strings.Contains(string(rec.Body), s.Authorization) {
			t.Fatalf("the secret of %s is in the record", label)
		}
	}
}

// A command that is read is of this version, names a legal ref, and makes the same command again.
func FuzzParseCommand(f *testing.F) {
	f.Add(must(testCommand("resp_1").Encode())(f))
	f.Add([]byte(`{"v":2,"tenant":"t","response":"r"}`))
	f.Add([]byte(`{"v":1,"tenant":"t.>","response":"r"}`))
	f.Add([]byte(`{"v":1,"tenant":"t","response":"r","request":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCommand(data)
		if err != nil {
			return
		}
		if !ValidToken(c.Ref().Tenant()) || !ValidToken(c.Ref().Response()) || c.Version != FormatVersion {
			t.Fatalf("accepted: %+v", c)
		}
		again := must(ParseCommand(must(c.Encode())(t)))(t)
		if diff := cmp.Diff(must(c.Encode())(t), must(again.Encode())(t)); diff != "" {
			t.Fatalf("written again:\n%s", diff)
		}
		if rec, err := c.RequestRecord(); err == nil {
			must(FoldRun(c.Ref(), []Record{rec}))(t)
		}
	})
}
