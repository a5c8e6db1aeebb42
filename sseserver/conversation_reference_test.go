package sseserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// itemsIn lists the ids in a conversation, the oldest first.
func (s *site) itemsIn(tb testing.TB, path string) (ids []string) {
	tb.Helper()
	var page list
	if err := json.Unmarshal(read(tb, s.get(tb, path+"/items?order=asc")), &page); err != nil {
		tb.Fatal(err)
	}
	for _, it := range page.Data {
		ids = append(ids, it.ID)
	}
	return ids
}

// A reference to an item that was added to a conversation, with it or later, becomes that item; one request may refer to
// conversations and responses alike.
func TestCreate_ReferencesToItemsOfConversations(t *testing.T) {
	t.Parallel()
	b := liveBroker(t)
	s := serve(t, func(c *Config) { c.Conversations = b })
	response := "resp_019350000000700080000000000000aa"
	s.said(t, response, `"one"`, "1")
	path := s.newConversation(t, `{"items":[{"role":"user","content":"came with it"}]}`)
	s.call(t, "POST", path+"/items", `{"items":[{"role":"user","content":"came"},{"role":"assistant","content":"later"}]}`)
	ids := s.itemsIn(t, path)
	resp := s.post(t, fmt.Sprintf(`{"model":"demo","stream":true,"input":[{"type":"item_reference","id":%q},{"id":%q},{"type":"item_reference","id":%q},
		{"type":"item_reference","id":%q}]}`, ids[1], ids[0], schema.ItemID(response, schema.KindMessage, 0), ids[2]))
	if resp.StatusCode != 200 {
		t.Fatalf("status %d: %s", resp.StatusCode, read(t, resp))
	}
	req, err := s.command(t).Parse()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range req.Input {
		got = append(got, it.Role+" "+it.Text())
	}
	if diff := cmp.Diff([]string{"user came", "user came with it", "assistant 1", "assistant later"}, got); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
}

// Unknown, removed, deleted and foreign items get one and the same answer; so do all where there are no conversations.
func TestCreate_RefusesReferencesToItemsThatNoConversationHas(t *testing.T) {
	t.Parallel()
	b := liveBroker(t)
	s := serve(t, func(c *Config) { c.Conversations, c.Tenants = b, tenantHeader{} })
	foreign := s.itemsIn(t, s.newConversation(t, hello))[0] // of tenant default
	mine := s.newConversation(t, hello, "X-Tenant", "alice")
	var added list
	resp := s.do(t, s.request(t, "POST", mine+"/items", `{"items":[{"role":"user","content":"x"}]}`, "X-Tenant", "alice"))
	if err := json.Unmarshal(read(t, resp), &added); err != nil {
		t.Fatal(err)
	}
	removed := added.Data[0].ID
	s.call(t, "DELETE", mine+"/items/"+removed, "", "X-Tenant", "alice")
	deleted := s.newConversation(t, hello)
	late := s.itemsIn(t, deleted)[0]
	s.call(t, "DELETE", deleted, "")
	unknown := "msg_019350000000700080000000000000a1_0123456789abcdef01234567"
	none := serve(t)
	for _, c := range []struct {
		site       *site
		tenant, id string
	}{
		{s, "alice", foreign}, {s, "alice", removed}, {s, "default", late}, {s, "alice", unknown}, {none, "default", foreign},
		{s, "alice", foreign[:len(foreign)-1] + "z"},
	} {
		resp := c.site.post(t, fmt.Sprintf(`{"model":"demo","input":[{"type":"item_reference","id":%q}]}`, c.id), "X-Tenant", c.tenant)
		got := strings.ReplaceAll(mustRefuse(t, resp, 404, schema.CodeNotFound), c.id, "ID")
		if want := strings.ReplaceAll(mustRefuse(t, none.post(t, `{"model":"demo","input":[{"type":"item_reference","id":"x_y"}]}`), 404, schema.CodeNotFound), "x_y", "ID"); got != want {
			t.Errorf("%s of %s: %s, want %s", c.id, c.tenant, got, want)
		}
	}
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d commands were enqueued", n)
	}
}
