package producers

import (
	"context"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/schema"
)

// listItem is a tool list as a caller sends it back.
func listItem(label string, names ...string) string {
	var tools []string
	for _, n := range names {
		tools = append(tools, `{"name":"`+n+`","input_schema":{"type":"object","properties":{}},"annotations":{"readOnlyHint":`+
			map[bool]string{true: "true", false: "false"}[strings.HasPrefix(n, "get")]+`}}`)
	}
	return `{"type":"mcp_list_tools","server_label":"` + label + `","tools":[` + strings.Join(tools, ",") + `]}`
}

func (s *stage) offered() (names []string) {
	for _, t := range s.model.asked[len(s.model.asked)-1].Tools {
		names = append(names, t.Name)
	}
	return names
}

// While a server's list is in the context it is not listed again. Its tools are offered as this request's entry allows; a
// server that is new is listed, and so is one whose list failed or cannot be read; one that is no more offers nothing.
func TestRun_ListsOnlyWhatIsNotInTheContext(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var listed []string
	s.tools.list = func(_ context.Context, srv mcp.Server) ([]mcp.Tool, error) {
		s.tools.mu.Lock()
		defer s.tools.mu.Unlock()
		listed = append(listed, srv.Label)
		return tools()[:1], nil
	}
	s.model.turns = []turnFunc{says("ok")}
	failed := `{"type":"mcp_list_tools","server_label":"failed","tools":[],"error":"down"}`
	odd := `{"type":"mcp_list_tools","server_label":"odd","tools":[{"name":7}]}`
	input := strings.Join([]string{
		listItem("old", "set"), listItem("gone", "set"), listItem("old", "get", "getAll", "set"), failed, odd, `{"role":"user","content":"hi"}`,
	}, ",")
	never := `,"require_approval":"never"`
	resp, records := s.run(body(`[`+input+`]`, entry("new", never), entry("old", never+`,"allowed_tools":{"read_only":true}`), entry("failed", never), entry("odd", never)))
	if n := count(resp.Output, schema.KindListTools); n != 3 || len(listed) != 3 {
		t.Errorf("%d lists shown, %v listed", n, listed)
	}
	if got := strings.Count(strings.Join(types(records), " "), "mcp_list_tools.in_progress"); got != 3 {
		t.Errorf("%d lists begun", got)
	}
	want := []string{"new__echo", "old__get", "old__getAll", "failed__echo", "odd__echo"}
	if diff := cmp.Diff(want, s.offered()); diff != "" {
		t.Error(diff)
	}
}

// A list that an earlier response made is not made again by the one that goes on from it.
func TestRun_KeepsTheListsOfItsPast(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`)), says("ok")}
	defer s.node(t.Context())()
	first := s.create(with("x"))
	s.records(first)
	resp := s.response(s.records(s.goOn(with("x", "y"), first.Response())))
	if n := count(resp.Output, schema.KindListTools); n != 1 || resp.Output[0].ServerLabel != "y" {
		t.Errorf("lists: %+v", resp.Output)
	}
	if diff := cmp.Diff([]string{"x__echo", "x__fail", "y__echo", "y__fail"}, s.offered()); diff != "" {
		t.Error(diff)
	}
}

// A tool_choice of an MCP server is put into the names that the model is shown; a choice that was obeyed forces nothing more.
func TestRun_ChoosesMCPTools(t *testing.T) {
	t.Parallel()
	for choice, want := range map[string][2]string{
		`{"type":"mcp","server_label":"x","name":"echo"}`: {`{"type":"function","name":"x__echo"}`, `"auto"`},
		`{"type":"mcp","server_label":"x"}`: {
			`{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"x__echo"},{"type":"function","name":"x__fail"}]}`,
			`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"x__echo"},{"type":"function","name":"x__fail"}]}`,
		},
		`{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"y","name":"fail"},{"type":"function","name":"f"}]}`: {
			`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"y__fail"},{"type":"function","name":"f"}]}`,
			`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"y__fail"},{"type":"function","name":"f"}]}`,
		},
		`{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"y","name":"nothing"}]}`: {`"none"`, `"none"`},
		`{"type":"function","name":"f"}`: {`{"type":"function","name":"f"}`, `"auto"`},
	} {
		s := newStage(t)
		s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`)), says("ok")}
		s.run(strings.NewReplacer(`"input"`, `"tool_choice":`+choice+`,"input"`,
			`"tools":[`, `"tools":[{"type":"function","name":"f","parameters":{"type":"object"}},`).Replace(with("x", "y")))
		if got := string(s.model.asked[0].ToolChoice); got != want[0] {
			t.Errorf("%s: first %s", choice, got)
		}
		if got := string(s.model.asked[1].ToolChoice); got != want[1] {
			t.Errorf("%s: then %s", choice, got)
		}
	}
}

// A choice that forces a call fails the response where nothing that it allows is offered: the model would answer without a
// call else, as if none had been asked for.
func TestRun_RefusesToForceACallOfNothing(t *testing.T) {
	t.Parallel()
	for choice, lists := range map[string]bool{ // whether the server lists tools
		`"required"`: false,
		`{"type":"allowed_tools","mode":"required","tools":[{"type":"mcp","server_label":"x"}]}`:                  false,
		`{"type":"allowed_tools","mode":"required","tools":[{"type":"mcp","server_label":"x","name":"nothing"}]}`: true,
		`{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"x__nothing"}]}`:            true,
		`{"type":"function","name":"x__nothing"}`:                                                                 true,
	} {
		s := newStage(t)
		if !lists {
			s.tools.list = func(context.Context, mcp.Server) ([]mcp.Tool, error) { return nil, nil }
		}
		s.model.turns = []turnFunc{says("ok")}
		resp, _ := s.run(strings.Replace(with("x"), `"input"`, `"tool_choice":`+choice+`,"input"`, 1))
		if resp.Status != schema.StatusFailed || resp.Error == nil || resp.Error.Param != "tool_choice" || len(s.model.asked) > 0 {
			t.Errorf("%s: %s, error %+v, %d model calls", choice, resp.Status, resp.Error, len(s.model.asked))
		}
	}
}

// A tool that the server does not have cannot be chosen; what is withheld at max_tool_calls forces nothing.
func TestRun_RefusesAChoiceOfNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("ok")}
	choice := `"tool_choice":{"type":"mcp","server_label":"x","name":"nothing"},"input"`
	if resp, _ := s.run(strings.Replace(with("x"), `"input"`, choice, 1)); resp.Error == nil || resp.Error.Param != "tool_choice" {
		t.Errorf("error: %+v", resp.Error)
	}
	if resp, _ := s.run(strings.Replace(with("x"), `"input"`, `"max_tool_calls":0,`+choice, 1)); resp.Status != schema.StatusCompleted {
		t.Errorf("withheld: %s, %+v", resp.Status, resp.Error)
	}
	if got := string(s.model.asked[0].ToolChoice); got != `"auto"` {
		t.Errorf("withheld: %s", got)
	}
}

// An answer to a request for approval is not an order to ask again.
func TestApproval_ObeysAChoiceOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	first, resp := s.asked(`{}`)
	req := body(`[`+answer(resp.Output[1].ID, true, "")+`]`, entry("x", ""))
	s.records(s.goOn(strings.Replace(req, `"input"`, `"tool_choice":"required","input"`, 1), first.Response()))
	if got := string(s.model.asked[len(s.model.asked)-1].ToolChoice); got != `"auto"` {
		t.Errorf("tool_choice: %s", got)
	}
	history := written(resp.Output[1]) + "," + answer(resp.Output[1].ID, false, "") + `,{"role":"assistant","content":"as you like"},{"role":"user","content":"now do"}`
	s.records(s.create(strings.Replace(body(`[`+history+`]`, entry("x", "")), `"input"`, `"tool_choice":"required","input"`, 1)))
	if got := string(s.model.asked[len(s.model.asked)-1].ToolChoice); got != `"required"` {
		t.Errorf("tool_choice behind an answer of long ago: %s", got)
	}
}

// A connector is reached at the URL that the operator has set, with the caller's credentials and nobody else's.
func TestRun_ReachesConnectors(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.Servers = map[string]mcp.Server{"mail": {Label: "mail", URL: "http://10.0.0.9/mcp", Authorization: "operator"}}
	s.config.Connectors = map[string]string{"connector_mail": "http://10.0.0.9/mcp"}
	var reached []mcp.Server
	s.tools.list = func(_ context.Context, srv mcp.Server) ([]mcp.Tool, error) {
		reached = append(reached, srv)
		return tools(), nil
	}
	s.model.turns = []turnFunc{says("ok")}
	cmd := s.command(`{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"mail","connector_id":"connector_mail"}]}`)
	if err := s.broker.Enqueue(t.Context(), cmd, []byte(`{"mail":{"authorization":"caller"}}`)); err != nil {
		t.Fatal(err)
	}
	stop := s.node(t.Context())
	s.records(cmd.Ref())
	stop()
	want := []mcp.Server{{Label: "mail", URL: "http://10.0.0.9/mcp", Authorization: "caller", Trusted: true}}
	if diff := cmp.Diff(want, reached); diff != "" {
		t.Error(diff)
	}
	resp, _ := s.run(`{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"mail","connector_id":"connector_other"}]}`)
	if resp.Status != schema.StatusFailed || len(reached) != 1 {
		t.Errorf("an unknown connector: %s, reached %v", resp.Status, reached)
	}
}

// Deltas are padded to one of few sizes if the caller asks for it, and the log holds what every reader gets; else there is no
// padding, not even an upstream's.
func TestRun_Obfuscates(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{false, true} {
		s := newStage(t)
		padded := message(1, "more")
		padded[1].Obfuscation = "theirs"
		s.model.turns = []turnFunc{plays(message(0, "a", "sixteen letters.", "seventeen letters"), padded)}
		req := `{"model":"m","input":"hi"}`
		if asked {
			req = `{"model":"m","input":"hi","stream_options":{"include_obfuscation":true}}`
		}
		_, records := s.run(req)
		deltas := 0
		for _, r := range records {
			for rest := r.Frames; len(rest) > 0; {
				f, more, err := schema.CutFrame(rest)
				if err != nil {
					t.Fatal(err)
				}
				rest = more
				e, err := schema.ParseEvent(f.Data)
				if err != nil {
					t.Fatal(err)
				}
				if e.Delta == nil {
					if strings.Contains(string(f.Data), "obfuscation") {
						t.Errorf("not a delta: %s", f.Data)
					}
					continue
				}
				deltas++
				if size := len(*e.Delta) + len(e.Obfuscation); asked && size%sizeClass != 0 || !asked && e.Obfuscation != "" {
					t.Errorf("asked %t: %s", asked, f.Data)
				}
			}
		}
		if deltas != 4 {
			t.Errorf("%d deltas", deltas)
		}
	}
}

// Annotations are MCP's own, or in OpenAI's words.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{``: false, `{}`: false, `{"readOnlyHint":true}`: true, `{"read_only":true}`: true, `{"readOnlyHint":"yes"}`: false} {
		if got := readOnly(jsontext.Value(raw)); got != want {
			t.Errorf("%s: %t", raw, got)
		}
	}
}

// A model that calls a tool which is withheld from it is refused and told so: the client is not handed a call that it does
// not know.
func TestRun_RefusesACallOfAWithheldTool(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{plays(functionCall(0, "x__echo", `{}`)), plays(functionCall(0, "x__echo", `{"n":1}`)), says("done")}
	resp, _ := s.run(strings.Replace(with("x"), `"input"`, `"max_tool_calls":1,"input"`, 1))
	if len(resp.Output) != 4 || resp.Output[2].Type != schema.KindMCPCall || !strings.Contains(string(resp.Output[2].Error), "max_tool_calls") {
		t.Errorf("%s, error %+v, %+v", resp.Status, resp.Error, resp.Output)
	}
	if len(s.tools.calls) != 1 {
		t.Errorf("calls %v", s.tools.calls)
	}
}

// A choice that names a withheld MCP tool as the function that the model knows does not reach the upstream, which would
// refuse a function that it is not shown.
func TestToolChoice_NamesNoWithheldFunction(t *testing.T) {
	t.Parallel()
	for choice, want := range map[string]string{
		`{"type":"function","name":"x__echo"}`: `"auto"`,
		`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"x__echo"},{"type":"function","name":"f"}]}`: `{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}`,
	} {
		s := newStage(t)
		s.model.turns = []turnFunc{says("done")}
		s.run(strings.NewReplacer(`"input"`, `"max_tool_calls":0,"tool_choice":`+choice+`,"input"`,
			`"tools":[`, `"tools":[{"type":"function","name":"f","parameters":{"type":"object"}},`).Replace(with("x")))
		if got := string(s.model.asked[0].ToolChoice); got != want {
			t.Errorf("%s: the upstream was given %s", choice, got)
		}
	}
}
