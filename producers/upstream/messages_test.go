package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/schema"
)

// encode makes the body of a messages call for a request as a story writes it.
func encode(t *testing.T, request string) (*messagesRequest, error) {
	t.Helper()
	s := &story{t: t}
	s.readRequest([]byte(request))
	body, err := (&endpoint{cfg: Config{}.withDefaults(), dialect: messages}).body(&s.req)
	if err != nil {
		return nil, err
	}
	return body.(*messagesRequest), nil
}

// What the Messages API has no word for is refused, with the name of the parameter: it is never just left out.
func TestMessages_RefusesWhatItCannotSay(t *testing.T) {
	t.Parallel()
	for member, param := range map[string]string{
		`"truncation":"auto"`:                          "truncation",
		`"top_logprobs":2`:                             "top_logprobs",
		`"include":["message.output_text.logprobs"]`:   "include",
		`"text":{"verbosity":"low"}`:                   "text.verbosity",
		`"text":{"format":{"type":"json_object"}}`:     "text.format",
		`"temperature":1.5`:                            "temperature",
		`"service_tier":"flex"`:                        "service_tier",
		`"reasoning":{"effort":"enormous"}`:            "reasoning.effort",
		`"reasoning":{"effort":"low"},"temperature":0`: "temperature",
		`"reasoning":{"effort":"low"},"top_p":0.5`:     "top_p",
		`"reasoning":{"effort":"low"},"tools":[{"type":"function","name":"f"}],"tool_choice":"required"`:                       "tool_choice",
		`"reasoning":{"summary":"auto"},"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"f"}`: "tool_choice",
		`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"web_search"}`:                                         "tool_choice",
		`"tools":[{"type":"function","name":"f"}],"tool_choice":"perhaps"`:                                                     "tool_choice",
		`"tools":[{"type":"web_search"}]`: "tools",
		`"tools":[{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"start: x"}}]`:              "tools",
		`"input":[{"role":"developer","content":"Rules."},{"role":"user","content":" "}]`:                                         "input",
		`"input":[{"role":"user","content":[{"type":"input_image","file_id":"file_1"}]}]`:                                         "input[0].content[0]",
		`"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png,x"}]}]`:                             "input[0].content[0]",
		`"input":[{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_file","file_id":"file_1"}]}]`:         "input[0].content[1]",
		`"input":[{"role":"user","content":[{"type":"input_file","file_data":"data:application/zip;base64,AA=="}]}]`:              "input[0].content[0]",
		`"input":[{"role":"user","content":[{"type":"input_file","file_data":"data:text/plain;base64,/w=="}]}]`:                   "input[0].content[0]",
		`"input":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"mp3"}}]}]`:               "input[0].content[0]",
		`"input":[{"role":"user","content":"x"},{"type":"function_call_output","call_id":"c","output":7}]`:                        "input[1].output",
		`"input":[{"role":"user","content":"x"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_image"}]}]`: "input[1].output[0]",
		`"input":[{"role":"user","content":"x"},{"type":"computer_call","call_id":"c"}]`:                                          "input[1]",
	} {
		request := `{"model":"m",` + member + `}`
		if !strings.Contains(member, `"input"`) {
			request = `{"model":"m","input":"x",` + member + `}`
		}
		_, err := encode(t, request)
		var refused *schema.Error
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Param != param {
			t.Errorf("%s: err = %v, want a refusal of %s", member, err, param)
		}
	}
}

// What says only the default, or nothing that an answer depends on, is no reason to refuse.
func TestMessages_TakesWhatChangesNothing(t *testing.T) {
	t.Parallel()
	for _, member := range []string{
		`"truncation":"disabled"`, `"top_logprobs":0`, `"include":["reasoning.encrypted_content"]`, `"text":{"verbosity":"medium","format":{"type":"text"}}`,
		`"temperature":1`, `"top_p":1`, `"reasoning":null`, `"reasoning":{"effort":null,"summary":null}`, `"reasoning":{"effort":"low"},"temperature":1,"top_p":0.95`,
		`"prompt_cache_key":"k"`, `"metadata":{"a":"b"}`, `"tool_choice":"required"`, `"parallel_tool_calls":false`, `"store":false`,
	} {
		if _, err := encode(t, `{"model":"m","input":"x",`+member+`}`); err != nil {
			t.Errorf("%s: %v", member, err)
		}
	}
}

// Whatever the items, the turns are as the API wants them: the user's and the assistant's alternate, the system speaks
// only between the one and the other or at the end, results come first, no block is blank.
func TestMessages_TurnsAlternate(t *testing.T) {
	t.Parallel()
	content := []string{`"Hello"`, `" \n"`, `[]`, `[{"type":"input_text","text":""},{"type":"input_text","text":"x "}]`}
	rapid.Check(t, func(rt *rapid.T) {
		items := []string{`{"role":"user","content":"first"}`}
		for i := range rapid.IntRange(0, 12).Draw(rt, "items") {
			said := rapid.SampledFrom(content).Draw(rt, "content")
			items = append(items, rapid.SampledFrom([]string{
				`{"role":"user","content":` + said + `}`, `{"role":"assistant","content":` + said + `}`, `{"role":"developer","content":` + said + `}`,
				fmt.Sprintf(`{"type":"function_call","call_id":"c%d","name":"f","arguments":"{}"}`, i),
				fmt.Sprintf(`{"type":"function_call_output","call_id":"c%d","output":%s}`, i, said),
				`{"type":"reasoning","summary":[],"encrypted_content":"messages.1.thinking.EqQB"}`,
				`{"type":"reasoning","summary":[],"encrypted_content":"gAAAA"}`,
			}).Draw(rt, "item"))
		}
		b, err := encode(t, `{"model":"m","input":[`+strings.Join(items, ",")+`]}`)
		if err != nil {
			rt.Fatal(err)
		}
		checkTurns(rt, b.Messages)
		b.hoist()
		checkTurns(rt, b.Messages)
	})
}

func checkTurns(t *rapid.T, turns []messagesTurn) {
	allowed := map[string]string{"": roleUser + roleAssistant, roleUser: roleAssistant + roleSystem, roleAssistant: roleUser, roleSystem: roleAssistant}
	before := ""
	for i, m := range turns {
		if !strings.Contains(allowed[before], m.Role) || len(m.Content) == 0 {
			t.Fatalf("turn %d is the %s's, behind the %s's: %+v", i, m.Role, before, m.Content)
		}
		before = m.Role
		result := func(p messagesPart) bool { return p.Type == blockResult }
		if other := slices.IndexFunc(m.Content, func(p messagesPart) bool { return !result(p) }); other >= 0 && slices.ContainsFunc(m.Content[other:], result) {
			t.Fatalf("turn %d has a result behind something else: %+v", i, m.Content)
		}
		if slices.ContainsFunc(m.Content, func(p messagesPart) bool { return p.Type == blockText && strings.TrimSpace(p.Text) == "" }) {
			t.Fatalf("turn %d has a blank block: %+v", i, m.Content)
		}
	}
}

// The context only grows: what a call was told stands at the beginning of what the next one is told, since a model takes
// its thoughts back only with the context in which it had them.
func TestMessages_ContextOnlyGrows(t *testing.T) {
	t.Parallel()
	items := []string{
		`{"role":"developer","content":"Rules."}`, `{"role":"user","content":"a"}`, `{"role":"developer","content":"More rules."}`,
		`{"type":"reasoning","summary":[],"encrypted_content":"messages.1.thinking.EqQB"}`, `{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}`,
		`{"type":"function_call_output","call_id":"c1","output":"one"}`, `{"type":"function_call","call_id":"c2","name":"f","arguments":"{}"}`,
		`{"type":"function_call_output","call_id":"c2","output":"two"}`, `{"role":"developer","content":"Finish."}`,
		`{"type":"reasoning","summary":[],"encrypted_content":"messages.1.thinking.EsAB"}`, `{"role":"assistant","content":"b"}`, `{"role":"user","content":"c"}`,
	}
	var before *messagesRequest
	for _, n := range []int{3, 6, 9, 12} { // where the model speaks next
		b, err := encode(t, `{"model":"m","instructions":"Be brief.","input":[`+strings.Join(items[:n], ",")+`]}`)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil {
			if diff := cmp.Diff(before.System, b.System); diff != "" {
				t.Errorf("after %d items the system prompt differs:\n%s", n, diff)
			}
			if diff := cmp.Diff(before.Messages, b.Messages[:len(before.Messages)], cmp.AllowUnexported()); diff != "" {
				t.Errorf("after %d items what was said differs:\n%s", n, diff)
			}
		}
		before = b
	}
}

// A key that is not there is not sent; the version always is.
func TestMessages_ListsModels(t *testing.T) {
	t.Parallel()
	for _, key := range []string{secret, ""} {
		list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, there := r.Header["X-Api-Key"]
			if r.URL.String() != "/v1/models?limit=1000" || r.Header.Get("Anthropic-Version") != "2023-06-01" || there != (key != "") || r.Header.Get("X-Api-Key") != key {
				t.Errorf("%s with %q", r.URL, r.Header)
			}
			fmt.Fprint(w, `{"data":[{"type":"model","id":"claude-sonnet-5","display_name":"Claude Sonnet 5"},{"type":"model","id":"other"}],"has_more":false,"first_id":"claude-sonnet-5","last_id":"other"}`)
		}))
		defer list.Close()
		router, err := Open([]Config{{Name: "a", Dialect: "messages", BaseURL: list.URL + "/v1", APIKey: key, Models: []string{"claude-*"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer router.Close()
		if diff := cmp.Diff([]Model{{"claude-sonnet-5", "a"}}, router.Models(t.Context())); diff != "" {
			t.Errorf("models (-want +got):\n%s", diff)
		}
	}
}

// message_stop ends the answer, though the connection hangs; pings keep a silent model's alive.
func TestMessages_PingsAndStops(t *testing.T) {
	t.Parallel()
	s := scripts["messages"]
	inBubbleOf(t, "messages", func(w http.ResponseWriter, r *http.Request) {
		_ = flush(w, s.hello)
		for range 10 {
			time.Sleep(50 * time.Second) // virtual time
			_ = flush(w, "event: ping\ndata: {\"type\":\"ping\"}\n\n")
		}
		_ = flush(w, s.goodbye)
		<-r.Context().Done()
	}, func(t *testing.T, up Upstream) {
		err, took := stream(t, up, ignore)
		if err != nil || took > 501*time.Second {
			t.Errorf("err = %v after %v", err, took)
		}
	})
}
