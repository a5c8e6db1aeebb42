package sseserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// said puts a finished response into the log that asks and answers with the given words.
func (s *site) said(tb testing.TB, id, input, answer string, thread ...string) *run {
	tb.Helper()
	cmd := storyCommand(id)
	cmd.Thread = thread
	cmd.Request = fmt.Appendf(nil, `{"model":"demo","input":%s}`, input)
	r := tell(tb, cmd)
	for _, step := range []func() []byte{r.begin, r.open, func() []byte { return r.say(answer) }, r.close, r.finish} {
		step()
	}
	return s.put(tb, r)
}

// A request that goes on from a response is given its whole thread.
func TestCreate_PreviousResponse(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.said(t, "resp_b", `"two"`, "2", "resp_a")
	s.post(t, `{"model":"demo","input":"three","stream":true,"previous_response_id":"resp_b"}`)
	cmd := s.command(t)
	if diff := cmp.Diff([]string{"resp_a", "resp_b"}, cmd.Thread); diff != "" {
		t.Errorf("thread (-want +got):\n%s", diff)
	}
	s.post(t, `{"model":"demo","stream":true,"previous_response_id":"resp_b"}`) // its input may be empty
	s.command(t)
}

// References become the items that they name, of whichever response, asked or said.
func TestCreate_ItemReferences(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, b := "resp_019350000000700080000000000000aa", "resp_019350000000700080000000000000bb"
	s.said(t, a, `[{"role":"user","content":"one"},{"id":"msg_own","role":"user","content":"mine"}]`, "1")
	s.said(t, b, `"two"`, "2")
	s.post(t, fmt.Sprintf(`{"model":"demo","stream":true,"input":[{"type":"item_reference","id":%q},{"id":%q},
		{"role":"user","content":"then"},{"type":"item_reference","id":%q}]}`,
		schema.ItemID(b, schema.KindMessage, 0), schema.InputID(a, schema.KindMessage, 0), schema.ItemID(a, schema.KindMessage, 0)))
	req, err := s.command(t).Parse()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range req.Input {
		got = append(got, it.Role+" "+it.Text())
	}
	if diff := cmp.Diff([]string{"assistant 2", "user one", "user then", "assistant 1"}, got); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
}

// What is not there, no longer, not yet, or not to be stored is refused in the API's words, and nothing is queued.
func TestCreate_RefusesWhatItCannotGoOnFrom(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.said(t, "resp_long", `"x"`, "y", strings.Split(strings.Repeat("resp_a,", schema.MaxThread)+"resp_a", ",")[:schema.MaxThread]...)
	s.said(t, "resp_gone", `"x"`, "y")
	s.memory.set(t, func(m *memory) { m.gone[mustRef(t, "resp_gone")] = true })
	open := tell(t, storyCommand("resp_open"))
	open.begin()
	open.open()
	open.say("half a")
	s.put(t, open)
	previous := func(id string) string {
		return fmt.Sprintf(`{"model":"demo","input":"x","previous_response_id":%q}`, id)
	}
	reference := func(id string) string {
		return fmt.Sprintf(`{"model":"demo","input":[{"type":"item_reference","id":%q}]}`, id)
	}
	for body, want := range map[string]string{
		previous("resp_never"):     "400 previous_response_not_found previous_response_id",
		previous("resp_gone"):      "400 previous_response_not_found previous_response_id",
		previous("a.b"):            "400 previous_response_not_found previous_response_id",
		previous("t1.>"):           "400 previous_response_not_found previous_response_id",
		previous(""):               "400 previous_response_not_found previous_response_id",
		previous("resp_open"):      "400 invalid_value previous_response_id",
		previous("resp_long"):      "400 invalid_value previous_response_id",
		reference("msg_never0001"): "404 not_found input",
		reference("msg_gone0000"):  "404 not_found input",
		reference("msg_a.b0000"):   "404 not_found input",
		reference("x"):             "404 not_found input",
		reference(schema.ItemID("resp_open", schema.KindMessage, 0)):                                  "400 invalid_value input",
		reference(schema.ItemID("resp_long", schema.KindMessage, 7)):                                  "404 not_found input",
		`{"model":"demo","input":[{"type":"compaction","id":"c","encrypted_content":"ours:spoilt"}]}`: "400 invalid_value input",
		`{"model":"demo","input":[{"type":"item_reference"}]}`:                                        "400 missing_required_parameter input[0].id",
	} {
		resp := s.post(t, body)
		e := refusalIn(t, read(t, resp))
		if got := fmt.Sprintf("%d %s %s", resp.StatusCode, e.Code, e.Param); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d commands were enqueued", n)
	}
}

// refusalIn reads an error of the API.
func refusalIn(tb testing.TB, body []byte) schema.Error {
	tb.Helper()
	var e struct {
		Error struct {
			Message, Type string
			Param, Code   *string
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &e, json.MatchCaseInsensitiveNames(true)); err != nil {
		tb.Fatalf("%v: %s", err, body)
	}
	out := schema.Error{Message: e.Error.Message, Type: e.Error.Type}
	if e.Error.Param != nil {
		out.Param = *e.Error.Param
	}
	if e.Error.Code != nil {
		out.Code = *e.Error.Code
	}
	return out
}

// References cannot fetch more than one command may hold, whatever that takes: it is found out before all of it is in memory.
func TestFindings_AreBounded(t *testing.T) {
	found := findings{items: make([]schema.Item, 5)}
	text := strings.Repeat("x", 1<<20)
	large := schema.Item{ID: "msg_1", Content: schema.Content{{Type: schema.PartInputText, Text: &text}}}
	var refused *schema.Error
	for i := range found.items {
		if err := found.put(i, large); errors.As(err, &refused) {
			if i != 3 || refused.Status != 413 || found.items[i].ID != "" {
				t.Errorf("item %d: %v", i, err)
			}
			return
		}
	}
	t.Error("more than 4 MiB were found")
}
