package sseserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// serveConversations starts a server over the embedded broker, whose conversations are the real ones.
func serveConversations(tb testing.TB, adjust ...func(*Config)) *site {
	tb.Helper()
	b := liveBroker(tb)
	return serveLive(tb, append([]func(*Config){func(c *Config) { c.Conversations, c.Tenants = b, tenantHeader{} }}, adjust...)...)
}

// tenantHeader takes the tenant from a header.
type tenantHeader struct{}

func (tenantHeader) Tenant(r *http.Request) (string, error) {
	if tenant := r.Header.Get("X-Tenant"); tenant != "" {
		return tenant, nil
	}
	return "default", nil
}

// call makes a request and returns the status and the body, in which minted ids and times have become their names.
func (s *site) call(tb testing.TB, method, path, body string, headers ...string) string {
	tb.Helper()
	resp := s.do(tb, s.request(tb, method, path, body, headers...))
	text := string(read(tb, resp))
	text = minted.ReplaceAllString(text, "${1}_MINTED")
	text = stamped.ReplaceAllString(text, `"created_at":TIME`)
	return fmt.Sprintf("%d %s", resp.StatusCode, text)
}

var (
	minted  = regexp.MustCompile(`\b(conv|msg|fc|item)_[0-9a-f]{12}7[0-9a-f]{19}(?:_[0-9a-f]{24})?\b`)
	stamped = regexp.MustCompile(`"created_at":1[0-9]{9}\b`)
)

// newConversation creates a conversation and returns its path.
func (s *site) newConversation(tb testing.TB, body string, headers ...string) string {
	tb.Helper()
	resp := s.do(tb, s.request(tb, http.MethodPost, "/v1/conversations", body, headers...))
	var v conversationBody
	if err := json.Unmarshal(read(tb, resp), &v); err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	return "/v1/conversations/" + v.ID
}

const hello = `{"items":[{"role":"user","content":"Hello!"}],"metadata":{"topic":"demo"}}`

// A conversation from its first to its last moment, in the shapes of the API's reference.
func TestConversations_FromCreateToDelete(t *testing.T) {
	t.Parallel()
	s := serveConversations(t)
	object := `{"id":"conv_MINTED","object":"conversation","created_at":TIME,"metadata":{"topic":"demo"}}`
	first := `{"id":"msg_MINTED","type":"message","status":"completed","role":"user","content":[{"type":"input_text","text":"Hello!"}]}`
	call := `{"id":"fc_own","type":"function_call","status":"completed","call_id":"c1","name":"f","arguments":"{}"}`
	output := `{"id":"item_MINTED","type":"function_call_output","status":"completed","call_id":"c1","output":"7"}`
	if got := s.call(t, "POST", "/v1/conversations", hello); got != "200 "+object {
		t.Errorf("created: %s", got)
	}
	path := s.newConversation(t, hello)
	for _, c := range []struct{ what, method, path, body, want string }{
		{"retrieved", "GET", "", "", "200 " + object},
		{"listed", "GET", "/items", "", `200 {"object":"list","data":[` + first + `],"first_id":"msg_MINTED","last_id":"msg_MINTED","has_more":false}`},
		{"added", "POST", "/items?include[]=reasoning.encrypted_content", `{"items":[{"type":"function_call","id":"fc_own","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"7"}]}`,
			`200 {"object":"list","data":[` + call + `,` + output + `],"first_id":"fc_own","last_id":"item_MINTED","has_more":false}`},
		{"added nothing", "POST", "/items", `{"items":[]}`, `200 {"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}`},
		{"listed newest first", "GET", "/items?limit=2", "", `200 {"object":"list","data":[` + output + `,` + call + `],"first_id":"item_MINTED","last_id":"fc_own","has_more":true}`},
		{"listed behind", "GET", "/items?after=fc_own&order=asc", "", `200 {"object":"list","data":[` + output + `],"first_id":"item_MINTED","last_id":"item_MINTED","has_more":false}`},
		{"retrieved item", "GET", "/items/fc_own", "", "200 " + call},
		{"removed item", "DELETE", "/items/fc_own", "", "200 " + object},
		{"retrieved removed item", "GET", "/items/fc_own", "", `404 {"error":{"message":"Item with id 'fc_own' not found in the conversation.","type":"invalid_request_error","param":null,"code":"not_found"}}`},
		{"described", "POST", "", `{"metadata":{"n":"1"}}`, "200 " + strings.Replace(object, `{"topic":"demo"}`, `{"n":"1"}`, 1)},
		{"described with null", "POST", "", `{"metadata":null}`, "200 " + strings.Replace(object, `{"topic":"demo"}`, `{}`, 1)},
		{"deleted", "DELETE", "", "", `200 {"id":"conv_MINTED","object":"conversation.deleted","deleted":true}`},
		{"retrieved deleted", "GET", "", "", `404 {"error":{"message":"Conversation with id 'conv_MINTED' not found.","type":"invalid_request_error","param":null,"code":"not_found"}}`},
	} {
		if got := s.call(t, c.method, path+c.path, c.body); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}

// A create without anything to say may come without a body, as openai-node sends it.
func TestConversations_CreateWithoutABody(t *testing.T) {
	t.Parallel()
	s := serveConversations(t)
	want := `200 {"id":"conv_MINTED","object":"conversation","created_at":TIME,"metadata":{}}`
	for _, body := range []string{"", "{}", `{"items":null,"metadata":null}`} {
		headers := []string{}
		if body == "" {
			headers = append(headers, "Content-Type", "")
		}
		if got := s.call(t, "POST", "/v1/conversations", body, headers...); got != want {
			t.Errorf("%q: %s", body, got)
		}
	}
}

// Unknown, foreign, deleted and malformed ids get one and the same answer, on every route.
func TestConversations_NotFound(t *testing.T) {
	t.Parallel()
	s := serveConversations(t)
	foreign := strings.TrimPrefix(s.newConversation(t, hello, "X-Tenant", "other"), "/v1/conversations/")
	deleted := strings.TrimPrefix(s.newConversation(t, hello), "/v1/conversations/")
	s.call(t, "DELETE", "/v1/conversations/"+deleted, "")
	items := `{"items":[{"role":"user","content":"x"}]}`
	for _, id := range []string{"conv_unknown", foreign, deleted, "conv_*", "%3E", "a.b", strings.Repeat("x", 65)} {
		for route, body := range map[string]string{
			"GET ": "", "DELETE ": "", "POST ": `{"metadata":{}}`, "GET /items": "", "POST /items": items, "GET /items/x": "", "DELETE /items/x": "",
			"responses": `{"model":"demo","input":"hi","conversation":"` + strings.ReplaceAll(id, "%3E", ">") + `"}`,
		} {
			method, path, _ := strings.Cut(route, " ")
			path = "/v1/conversations/" + id + path
			if method == "responses" {
				method, path = "POST", "/v1/responses"
			}
			got := mustRefuse(t, s.do(t, s.request(t, method, path, body)), 404, schema.CodeNotFound)
			want := `{"error":{"message":"Conversation with id '` + strings.ReplaceAll(schema.Quote(strings.ReplaceAll(id, "%3E", ">")), `\`, `\\`) +
				`' not found.","type":"invalid_request_error","param":null,"code":"not_found"}}`
			if got != want {
				t.Errorf("%s %s: %s", method, path, got)
			}
		}
	}
	if got := s.call(t, "GET", "/v1/conversations/"+foreign+"/items/x", "", "X-Tenant", "other"); !strings.HasPrefix(got, "404") {
		t.Errorf("its own tenant: %s", got)
	}
}

// Each bad input has its answer in the API's shape, and changes nothing.
func TestConversations_RefuseBadInput(t *testing.T) {
	t.Parallel()
	s := serveConversations(t)
	path := s.newConversation(t, `{"items":[{"id":"msg_a","role":"user","content":"a"}]}`)
	many := `{"items":[` + strings.Repeat(`{"role":"user","content":"x"},`, 20) + `{"role":"user","content":"x"}]}`
	const create = "/v1/conversations"
	for name, c := range map[string]struct {
		path, body   string
		status       int
		code, member string
	}{
		"no JSON":              {create, `hello`, 400, schema.CodeInvalidJSON, ""},
		"a list":               {create, `[]`, 400, schema.CodeInvalidValue, ""},
		"twice the same name":  {create, `{"items":[],"items":[]}`, 400, schema.CodeInvalidJSON, ""},
		"text for items":       {create, `{"items":"hi"}`, 400, schema.CodeInvalidValue, "items"},
		"too many items":       {create, many, 400, schema.CodeInvalidValue, "items"},
		"an unknown item":      {create, `{"items":[{"type":"dream"}]}`, 400, schema.CodeInvalidValue, "items[0]"},
		"a role of its own":    {create, `{"items":[{"role":"boss","content":"x"}]}`, 400, schema.CodeInvalidValue, "items[0].role"},
		"a call without an id": {create, `{"items":[{"type":"function_call","name":"f","arguments":"{}"}]}`, 400, schema.CodeMissing, "items[0].call_id"},
		"an id with a space":   {create, `{"items":[{"id":"a b","role":"user","content":"x"}]}`, 400, schema.CodeInvalidValue, "items[0].id"},
		"twins":                {create, `{"items":[{"id":"a","role":"user","content":"x"},{"id":"a","role":"user","content":"x"}]}`, 400, schema.CodeInvalidValue, "items"},
		"metadata of numbers":  {create, `{"metadata":{"a":1}}`, 400, schema.CodeInvalidValue, "metadata.a"},
		"long metadata":        {create, `{"metadata":{"a":"` + strings.Repeat("x", 513) + `"}}`, 400, schema.CodeInvalidValue, "metadata"},
		"a large body":         {create, `{"metadata":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`, 413, schema.CodeTooLarge, ""},
		"an unknown member":    {create, `{"item":[]}`, 400, schema.CodeUnknown, "item"},
		"one beside items":     {path + "/items", `{"items":[],"foo":1}`, 400, schema.CodeUnknown, "foo"},
		"one beside metadata":  {path, `{"metadata":{},"foo":1}`, 400, schema.CodeUnknown, "foo"},
		"no items":             {path + "/items", `{}`, 400, schema.CodeMissing, "items"},
		"an item again":        {path + "/items", `{"items":[{"id":"msg_a","role":"user","content":"x"}]}`, 400, schema.CodeInvalidValue, "items"},
		"an unknown include":   {path + "/items?include=dreams", `{"items":[]}`, 400, schema.CodeInvalidValue, "include"},
		"no metadata":          {path, `{}`, 400, schema.CodeMissing, "metadata"},
		"text for metadata":    {path, `{"metadata":"x"}`, 400, schema.CodeInvalidValue, "metadata"},
		"limit 0":              {"GET " + path + "/items?limit=0", ``, 400, schema.CodeInvalidValue, "limit"},
		"limit 101":            {"GET " + path + "/items?limit=101", ``, 400, schema.CodeInvalidValue, "limit"},
		"limit of words":       {"GET " + path + "/items?limit=ten", ``, 400, schema.CodeInvalidValue, "limit"},
		"no order":             {"GET " + path + "/items?order=up", ``, 400, schema.CodeInvalidValue, "order"},
		"behind nothing":       {"GET " + path + "/items?after=msg_b", ``, 400, schema.CodeInvalidValue, "after"},
		"a broken query":       {"GET " + path + "/items?a;b", ``, 400, schema.CodeInvalidValue, ""},
		"an item again, asked": {"/v1/responses", `{"model":"demo","input":[{"id":"msg_a","role":"user","content":"x"}],"conversation":"` + strings.TrimPrefix(path, create+"/") + `"}`, 400, schema.CodeInvalidValue, "input"},
	} {
		method, at, named := strings.Cut(c.path, " ")
		if !named {
			method, at = "POST", c.path
		}
		body := mustRefuse(t, s.do(t, s.request(t, method, at, c.body)), c.status, c.code)
		if member := `"param":"` + c.member + `"`; c.member != "" && !strings.Contains(body, member) || len(body) > 1000 {
			t.Errorf("%s: no %s in %s", name, member, body)
		}
	}
	if got := s.call(t, "GET", path+"/items", ""); strings.Count(got, `"type":"message"`) != 1 {
		t.Errorf("the conversation holds %s", got)
	}
}

// Pages of any size, in both orders, show every item once.
func TestConversations_Pages(t *testing.T) {
	t.Parallel()
	s := serveConversations(t)
	path := s.newConversation(t, `{}`)
	var want []string
	for batch := range 3 {
		var items []string
		for i := range 3 {
			want = append(want, fmt.Sprintf("msg_%d", 3*batch+i))
			items = append(items, `{"id":"`+want[len(want)-1]+`","role":"user","content":"x"}`)
		}
		s.call(t, "POST", path+"/items", `{"items":[`+strings.Join(items, ",")+`]}`)
	}
	for _, order := range []string{"asc", "desc"} {
		for limit := 1; limit <= len(want)+1; limit++ {
			var got []string
			after := ""
			for more := true; more; {
				var page list
				resp := s.get(t, fmt.Sprintf("%s/items?order=%s&limit=%d%s", path, order, limit, after))
				if err := json.Unmarshal(read(t, resp), &page); err != nil || len(page.Data) > limit || len(page.Data) == 0 {
					t.Fatalf("%d items: %v", len(page.Data), err)
				}
				for _, it := range page.Data {
					got = append(got, it.ID)
				}
				more, after = page.HasMore, "&after="+*page.LastID
			}
			if order == "desc" {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d: %v", order, limit, got)
			}
		}
	}
}

// A response in a conversation is enqueued with the point that it goes on from, and shown with the id.
func TestCreate_InAConversation(t *testing.T) {
	t.Parallel()
	b := liveBroker(t)
	s := serve(t, func(c *Config) { c.Conversations = b })
	path := s.newConversation(t, hello)
	id := strings.TrimPrefix(path, "/v1/conversations/")
	for _, member := range []string{`"` + id + `"`, `{"id":"` + id + `"}`} {
		s.post(t, `{"model":"demo","input":"hi","stream":true,"conversation":`+member+`}`)
		cmd := s.command(t)
		if cmd.Conversation == nil || *cmd.Conversation != (schema.ConversationPoint{ID: id, Version: 2}) {
			t.Errorf("%s: %+v", member, cmd.Conversation)
		}
		state, err := s.memory.Fold(t.Context(), cmd.Ref())
		if err != nil || string(state.Response().Conversation) != `{"id":"`+id+`"}` {
			t.Errorf("%s: %v", member, err)
		}
	}
	both := `{"model":"demo","input":"hi","conversation":"` + id + `","previous_response_id":"resp_1"}`
	mustRefuse(t, s.post(t, both), 400, schema.CodeExclusive)
}

// A compaction that was made here is kept as what it stands for, whichever way it comes into the conversation: no model
// could read it. One of another maker stays as it is; one of another tenant is refused.
func TestConversations_UnfoldCompactions(t *testing.T) {
	t.Parallel()
	s := serveConversations(t)
	ours, err := liveBroker(t).Compaction("default", "what was said")
	if err != nil {
		t.Fatal(err)
	}
	body := func(it schema.Item) string { return `{"items":` + asJSON(t, []schema.Item{it}) + `}` }
	kept := func(path string) string {
		t.Helper()
		return s.call(t, "GET", path+"/items/"+ours.ID, "")
	}
	want := `200 {"id":"` + ours.ID + `","type":"message","status":"completed","role":"developer","content":[{"type":"input_text","text":"what was said"}]}`
	path := s.newConversation(t, body(ours))
	if got := kept(path); got != want {
		t.Errorf("created with it: %s", got)
	}
	path = s.newConversation(t, "{}")
	s.call(t, "POST", path+"/items", body(ours))
	if got := kept(path); got != want {
		t.Errorf("added: %s", got)
	}
	foreign, err := liveBroker(t).Compaction("other", "a secret")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.call(t, "POST", path+"/items", body(foreign)); !strings.HasPrefix(got, "400 ") || strings.Contains(got, "a secret") {
		t.Errorf("another tenant's: %s", got)
	}
	elsewhere := schema.Item{ID: "cmp_x", Type: schema.KindCompaction, EncryptedContent: new("gAAAA")}
	if got := s.call(t, "POST", path+"/items", body(elsewhere)); !strings.Contains(got, `"encrypted_content":"gAAAA"`) {
		t.Errorf("another maker's: %s", got)
	}
}

// A server that keeps no conversations says so.
func TestCreate_WithoutConversations(t *testing.T) {
	t.Parallel()
	s := serve(t)
	mustRefuse(t, s.post(t, `{"model":"demo","input":"hi","conversation":"conv_1"}`), 400, schema.CodeUnsupported)
	mustRefuse(t, s.get(t, "/v1/conversations/conv_1"), 404, "unknown_url")
}

// broken is a store that fails.
type broken struct{ err error }

func (b broken) Conversation(context.Context, string, string) (*schema.Conversation, error) {
	return nil, b.err
}

func (b broken) CreateConversation(context.Context, string, string, map[string]string) (*schema.Conversation, error) {
	return nil, b.err
}

func (b broken) ChangeConversation(context.Context, string, string, broker.ConversationChange) (*schema.Conversation, error) {
	return nil, b.err
}

func (b broken) DeleteConversation(context.Context, string, string) error { return b.err }

// A store without room asks to come back; after an error that leaves open whether items were added, no retry is invited; and
// no cause is shown.
func TestConversations_StoreFails(t *testing.T) {
	t.Parallel()
	items := `{"items":[{"role":"user","content":"x"}]}`
	full := serve(t, func(c *Config) { c.Conversations = broken{fmt.Errorf("tell: %w", broker.ErrFull)} })
	for _, path := range []string{"", "/conv_1/items"} {
		resp := full.do(t, full.request(t, http.MethodPost, "/v1/conversations"+path, items))
		mustRefuse(t, resp, 503, schema.CodeOverloaded)
		if resp.Header.Get("Retry-After") == "" || resp.Header.Get("X-Should-Retry") != "" {
			t.Errorf("headers %v", resp.Header)
		}
	}
	down := serve(t, func(c *Config) { c.Conversations = broken{errors.New("CANARY")} })
	for path, noRetry := range map[string]string{"": "", "/conv_1/items": "false"} {
		resp := down.do(t, down.request(t, http.MethodPost, "/v1/conversations"+path, items))
		if body := mustRefuse(t, resp, 500, schema.CodeServer); strings.Contains(body, "CANARY") || resp.Header.Get("X-Should-Retry") != noRetry {
			t.Errorf("%q, headers %v", body, resp.Header)
		}
	}
}
