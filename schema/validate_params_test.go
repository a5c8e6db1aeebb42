package schema

import (
	"fmt"
	"strings"
	"testing"
)

// What the API fixes of the parameters that are passed on raw is checked before anything is queued, and the refusal names
// the member.
func TestParseCreate_ChecksParameters(t *testing.T) {
	t.Parallel()
	const f = `"tools":[{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"custom","name":"c"},{"type":"web_search"}]`
	const mcp = `"tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example","require_approval":"never"}]`
	longLabel := strings.Repeat("l", 64)
	for _, c := range []struct{ members, param string }{
		{`"include":["reasoning.encrypted_content","file_search_call.results","message.output_text.logprobs"]`, ""},
		{`"include":[]`, ""},
		{`"include":["reasoning.encrypted_content","reasoning.plain_content"]`, "include[1]"},

		{`"text":null`, ""},
		{`"text":{"format":null,"verbosity":"low"}`, ""},
		{`"text":{"format":{"type":"text"},"verbosity":"chatty"}`, ""},
		{`"text":{"format":{"type":"json_object"}}`, ""},
		{`"text":{"format":{"type":"json_schema","name":"town","schema":{"type":"object"},"strict":null}}`, ""},
		{`"text":{"format":{"type":"json_schema","name":"town","schema":{},"strict":true,"description":"d"}}`, ""},
		{`"text":{"format":"json_object"}`, "text.format"},
		{`"text":{"verbosity":3}`, "text.verbosity"},
		{`"text":{"format":{}}`, "text.format.type"},
		{`"text":{"format":{"type":"xml"}}`, "text.format.type"},
		{`"text":{"format":{"type":"json_schema","schema":{}}}`, "text.format.name"},
		{`"text":{"format":{"type":"json_schema","name":"a b","schema":{}}}`, "text.format.name"},
		{`"text":{"format":{"type":"json_schema","name":"a"}}`, "text.format.schema"},
		{`"text":{"format":{"type":"json_schema","name":"a","schema":"{}"}}`, "text.format.schema"},
		{`"text":{"format":{"type":"json_schema","name":"a","schema":{},"strict":"yes"}}`, "text.format.strict"},

		{`"reasoning":{"effort":"xhigh","summary":"auto","generate_summary":null}`, ""},
		{`"reasoning":{"effort":"an effort to come"}`, ""},
		{`"reasoning":{"effort":1}`, "reasoning.effort"},
		{`"reasoning":{"summary":true}`, "reasoning.summary"},

		{`"prompt":{"id":"pmpt_1","variables":{"a":"b"}}`, ""},
		{`"prompt":null,"context_management":null,"moderation":null`, ""},
		{`"prompt":{"version":"2"}`, "prompt.id"},
		{`"prompt":"pmpt_1"`, "prompt"},
		{`"context_management":[{"type":"compaction","compact_threshold":1000}]`, ""},
		{`"context_management":{"type":"compaction"}`, "context_management"},
		{`"prompt_cache_retention":24`, "prompt_cache_retention"},
		{`"prompt_cache_options":"x"`, "prompt_cache_options"},
		{`"moderation":"on"`, "moderation"},
		{`"presence_penalty":-2,"frequency_penalty":2`, ""},
		{`"presence_penalty":2.5`, "presence_penalty"},
		{`"frequency_penalty":"1"`, "frequency_penalty"},
		{`"client_metadata":"codex"`, "client_metadata"},
		{`"temperatur":0.5`, "temperatur"},
		{`"stream_options":{"include_usage":true,"something_else":1}`, ""}, // inside of objects the upstream judges

		{f, ""},
		{`"tools":[{"type":"function","name":"f","parameters":null,"strict":null,"description":null}]`, ""},
		{`"tools":[{"type":"function","name":"f","parameters":[]}]`, "tools[0].parameters"},
		{`"tools":[{"type":"function","name":"f","strict":"true"}]`, "tools[0].strict"},
		{`"tools":[{"type":"function","name":"f","description":{}}]`, "tools[0].description"},
		{`"tools":[{"type":"custom","name":"c","format":{"type":"text"}}]`, ""},
		{`"tools":[{"type":"custom","name":"c","format":"text"}]`, "tools[0].format"},

		{`"tool_choice":"none"`, ""},
		{`"tool_choice":null`, ""},
		{`"tool_choice":"auto",` + f, ""},
		{`"tool_choice":"required",` + f, ""},
		{`"tool_choice":"required"`, "tool_choice"},
		{`"tool_choice":"required","prompt":{"id":"p"}`, ""},
		{`"tool_choice":"sometimes",` + f, "tool_choice"},
		{`"tool_choice":{"type":"function","name":"f"},` + f, ""},
		{`"tool_choice":{"type":"custom","name":"c"},` + f, ""},
		{`"tool_choice":{"type":"web_search"},` + f, ""},
		{`"tool_choice":{"type":"function","name":"a__roll"},` + mcp, ""},
		{`"tool_choice":{"type":"function","name":"roll"},` + mcp, "tool_choice"}, // no name that its tools have before the model
		{`"tool_choice":{"type":"function","name":"` + longLabel[:55] + `_01234567"},` + strings.Replace(mcp, `"a"`, `"`+longLabel+`"`, 1), ""},
		{`"tool_choice":{"type":"mcp","server_label":"a","name":"roll"},` + mcp, ""},
		{`"tool_choice":{"type":"mcp","server_label":"b"},` + mcp, "tool_choice.server_label"},
		{`"tool_choice":{"type":"mcp"},` + mcp, "tool_choice.server_label"},
		{`"tool_choice":{"type":"mcp","server_label":7},` + mcp, "tool_choice"},
		{`"tool_choice":{"type":"function","name":"c"},` + f, "tool_choice"},
		{`"tool_choice":{"type":"function"},` + f, "tool_choice.name"},
		{`"tool_choice":{"name":"f"},` + f, "tool_choice.type"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"},{"type":"web_search"}]},` + f, ""},
		{`"tool_choice":{"type":"allowed_tools","mode":"none","tools":[{"type":"function","name":"f"}]},` + f, "tool_choice.mode"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]},` + f, "tool_choice.tools"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"name":"f"}]},` + f, "tool_choice.tools[0].type"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":["f"]},` + f, "tool_choice"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":"f"},` + f, "tool_choice"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function"}]},` + f, "tool_choice.tools[0].name"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"b"}]},` + mcp, "tool_choice.tools[0].server_label"},
		{`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]},` + f, "tool_choice"},
	} {
		_, refused := ParseCreate(fmt.Appendf(nil, `{"model":"m","input":"hi",%s}`, c.members))
		switch {
		case c.param == "" && refused != nil:
			t.Errorf("%s: %v", c.members, refused)
		case c.param != "" && (refused == nil || refused.Param != c.param || refused.Status != 400):
			t.Errorf("%s: %v, want a refusal of %s", c.members, refused, c.param)
		}
	}
}

// The penalties of the Open Responses specification are shown as they were asked for.
func TestCreateRequest_ShowsPenalties(t *testing.T) {
	t.Parallel()
	cmd := testCommand("resp_1")
	cmd.Request = []byte(`{"model":"m","input":"hi","presence_penalty":0.5,"frequency_penalty":-1}`)
	rec := must(cmd.RequestRecord())(t)
	if !strings.Contains(string(rec.Frames), `"presence_penalty":0.5,"frequency_penalty":-1`) {
		t.Errorf("created: %s", rec.Frames)
	}
}

// What the API does not have is refused by its name, with the name that the API has for it if it is known from elsewhere.
func TestParseCreate_RefusesUnknownMembers(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`"temperatur":0.5`:      "Unknown parameter: 'temperatur'.",
		`"zz":1,"aa":null`:      "Unknown parameter: 'aa'.",
		`"max_tokens":10`:       "Unknown parameter: 'max_tokens'. The Responses API has 'max_output_tokens' for it.",
		`"response_format":{}`:  "Unknown parameter: 'response_format'. The Responses API has 'text.format' for it.",
		`"seed":7`:              "Unknown parameter: 'seed'. It belongs to Chat Completions: the Responses API has nothing for it.",
		`"a\u0000é'":1`:         `Unknown parameter: 'a\x00\u00e9\''.`,
		`"` + longName + `1":1`: "Unknown parameter: '" + longName[:quotable] + `\u2026'.`,
	} {
		_, refused := ParseCreate(fmt.Appendf(nil, `{"model":"m","input":"hi",%s}`, member))
		if refused == nil || refused.Code != CodeUnknown || refused.Message != want || len(refused.Param) > MaxToken {
			t.Errorf("%s: %+v, want %s", member, refused, want)
		}
	}
	_, refused := ParseCreate([]byte(`{"model":"m","messages":[]}`)) // the hint comes before the complaint that input is missing
	if refused == nil || refused.Param != "messages" || !strings.Contains(refused.Message, "'input'") {
		t.Errorf("messages: %v", refused)
	}
}

var longName = strings.Repeat("n", 200)
