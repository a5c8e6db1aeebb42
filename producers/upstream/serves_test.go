package upstream

import (
	"errors"
	"fmt"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// Whatever a dialect cannot say is refused before a run, and the refusal names the member; what makes no difference is let
// through. A column says what becomes of the request there: "" is served, anything else is the member refused.
func TestAdmit(t *testing.T) {
	t.Parallel()
	router, err := Open([]Config{
		{Name: "chat", Dialect: "chat", BaseURL: "http://far.example/v1", Models: []string{"chat"}},
		{Name: "responses", Dialect: "responses", BaseURL: "http://far.example/v1", Models: []string{"responses"}},
		{Name: "demo", Dialect: "demo"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	for _, c := range []struct{ members, chat, responses, demo string }{
		{`"temperature":0.5,"top_p":1,"max_output_tokens":16,"user":"u","safety_identifier":"s","service_tier":"flex","prompt_cache_key":"k"`, "", "", ""},
		{`"metadata":{"a":"b"},"store":false,"max_tool_calls":3,"instructions":"Be brief.","stream_options":{"include_obfuscation":true}`, "", "", ""},
		{`"truncation":"disabled"`, "", "", ""},
		{`"truncation":"auto"`, "truncation", "", "truncation"}, // nobody would cut the context
		{`"text":{"format":{"type":"json_object"},"verbosity":"low"}`, "", "", ""},
		{`"text":{"format":{"type":"json_schema","name":"n","schema":{}}}`, "", "", ""},
		{`"reasoning":{"effort":"low","summary":"auto"}`, "", "", ""},
		{`"reasoning":{"summary":"detailed"}`, "reasoning.summary", "", ""},
		{`"reasoning":{"generate_summary":"concise"}`, "reasoning.generate_summary", "", ""},
		{`"reasoning":{"context":"auto","mode":"standard"}`, "", "", ""},
		{`"reasoning":{"context":"all_turns"}`, "reasoning.context", "", "reasoning.context"},
		{`"reasoning":{"mode":"pro"}`, "reasoning.mode", "", "reasoning.mode"},
		{`"include":["reasoning.encrypted_content","web_search_call.results"]`, "", "", ""},
		{`"include":["message.output_text.logprobs"],"top_logprobs":5`, "", "", "include"},
		{`"prompt":{"id":"pmpt_1"}`, "prompt", "", "prompt"},
		{`"prompt":null,"context_management":[],"moderation":null`, "", "", ""},
		{`"context_management":[{"type":"compaction"}]`, "context_management", "", "context_management"},
		{`"moderation":{"model":"m"}`, "moderation", "moderation", "moderation"},
		{`"access_programs":["x"]`, "access_programs", "", "access_programs"},
		{`"prompt_cache_retention":"24h","prompt_cache_options":{"ttl":1}`, "", "", ""},
		{`"presence_penalty":1,"frequency_penalty":0`, "", "", ""},
		{`"tools":[{"type":"web_search"}]`, "tools", "", "tools"},
		{`"tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}],"tool_choice":{"type":"custom","name":"c"},"parallel_tool_calls":false`, "", "", ""},
		{`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"web_search"}`, "tool_choice", "", "tool_choice"},
		{`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}`, "", "", ""},
		{`"tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example","require_approval":"never"}],"tool_choice":"required"`, "", "", ""},
		{`"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a.example/b.png"}]}]`, "", "", ""},
		{`"input":[{"role":"user","content":"hi"},{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}}]`, "input[1]", "", "input[1]"},
		{`"input":[{"type":"item_reference","id":"msg_1"},{"type":"computer_call","call_id":"c"}]`, "input[1]", "", "input[1]"},
		{`"input":[{"role":"user","content":[{"type":"input_file","file_id":"file_1"}]}]`, "input[0].content[0]", "", ""},
	} {
		for model, want := range map[string]string{"chat": c.chat, "responses": c.responses, "demo": c.demo} {
			body := fmt.Sprintf(`{"model":%q,"input":"hi",%s}`, model, c.members)
			if c.members[:8] == `"input":` {
				body = fmt.Sprintf(`{"model":%q,%s}`, model, c.members)
			}
			req, refused := schema.ParseCreate([]byte(body))
			if refused != nil {
				t.Fatalf("%s: %v", body, refused)
			}
			got := ""
			if e, ok := errors.AsType[*schema.Error](router.Admit(req)); ok {
				got = fmt.Sprint(e.Param)
				if e.Status != 400 || e.Code != schema.CodeUnsupported {
					t.Errorf("%s: %+v", body, e)
				}
			}
			if got != want {
				t.Errorf("%s: refused for %q, want %q", body, got, want)
			}
		}
	}
	e, ok := errors.AsType[*schema.Error](router.Admit(&schema.CreateRequest{Model: "nobody's"}))
	if !ok || e.Code != schema.CodeModelNotFound {
		t.Errorf("a model that nobody serves: %v", e)
	}
}

// The messages dialect judges some parameters by itself; the table's hold there too.
func TestAdmit_Messages(t *testing.T) {
	t.Parallel()
	router, err := Open([]Config{{Name: "messages", Dialect: "messages", BaseURL: "http://far.example/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	for members, want := range map[string]string{
		`"truncation":"auto"`:                           "truncation",
		`"include":["message.output_text.logprobs"]`:    "include",
		`"include":["reasoning.encrypted_content"]`:     "",
		`"text":{"verbosity":"low"}`:                    "text.verbosity",
		`"reasoning":{"effort":"low","summary":"auto"}`: "",
		`"reasoning":{"mode":"pro"}`:                    "reasoning.mode",
		`"prompt":{"id":"pmpt_1"}`:                      "prompt",
		`"presence_penalty":1`:                          "presence_penalty",
		`"prompt_cache_retention":"24h"`:                "",
		`"tools":[{"type":"web_search"}]`:               "tools",
	} {
		req, refused := schema.ParseCreate(fmt.Appendf(nil, `{"model":"m","input":"hi",%s}`, members))
		if refused != nil {
			t.Fatal(refused)
		}
		got := ""
		if e, ok := errors.AsType[*schema.Error](router.Admit(req)); ok {
			got = e.Param
		}
		if got != want {
			t.Errorf("%s: refused for %q, want %q", members, got, want)
		}
	}
}

// Every name in a dialect's list is a row of the table: a slip of the pen would refuse, or let through, for ever.
func TestServes_NamesRowsOfTheTable(t *testing.T) {
	t.Parallel()
	rows := map[string]bool{}
	for _, p := range params {
		rows[p.name] = true
	}
	for name, serves := range map[string][]string{"chat": chat.serves, "responses": responses.serves, "messages": messages.serves, "demo": demoServes} {
		for _, p := range serves {
			if !rows[p] {
				t.Errorf("%s serves %q, which is no row of the table", name, p)
			}
		}
	}
}

// An alias of the operator's is not what the caller is told about.
func TestAdmit_DoesNotTellTheAlias(t *testing.T) {
	t.Parallel()
	router, err := Open([]Config{{Name: "chat", Dialect: "chat", BaseURL: "http://far.example/v1", Model: "inner-name"}})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	if err := router.Admit(&schema.CreateRequest{Model: "m", Truncation: new("auto")}); err == nil || err.Error() !=
		"unsupported_parameter (truncation): This 'truncation' is not available with this model: leave it out." {
		t.Errorf("err = %v", err)
	}
}
