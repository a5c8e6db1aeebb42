package sseserver

import (
	"fmt"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// asked puts a finished response into the log that asks for the approval of a call, and returns the request's id.
func (s *site) asked(tb testing.TB, id string) string {
	tb.Helper()
	r := tell(tb, storyCommand(id))
	r.begin()
	request := schema.Item{ID: "a", Type: schema.KindApprovalRequest, ServerLabel: "wiki", Name: "read", Arguments: new("{}")}
	r.push(schema.Event{Type: schema.ItemAdded, Item: &request})
	r.push(schema.Event{Type: schema.ItemDone, Item: &request})
	r.finish()
	s.put(tb, r)
	return schema.ItemID(id, schema.KindApprovalRequest, 0)
}

const wiki = `"tools":[{"type":"mcp","server_label":"wiki","server_url":"https://wiki.example/mcp"}]`

// An answer to a request for approval is taken whichever way the request is in the context: by previous_response_id, by
// reference, or as it was.
func TestCreate_TakesApprovals(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.asked(t, "resp_019350000000700080000000000000aa")
	answer := fmt.Sprintf(`{"type":"mcp_approval_response","approval_request_id":%q,"approve":true}`, id)
	for name, body := range map[string]string{
		"previous response": `"previous_response_id":"resp_019350000000700080000000000000aa","input":[` + answer + `]`,
		"reference":         fmt.Sprintf(`"input":[{"type":"item_reference","id":%q},%s]`, id, answer),
		"the item itself": fmt.Sprintf(`"input":[{"type":"mcp_approval_request","id":%q,"server_label":"wiki","name":"read","arguments":"{}"},%s]`,
			id, answer),
	} {
		resp := s.post(t, `{"model":"demo","stream":true,`+wiki+`,`+body+`}`)
		if resp.StatusCode != 200 {
			t.Errorf("%s: status %d: %s", name, resp.StatusCode, read(t, resp))
			continue
		}
		s.command(t)
	}
}

// An answer that no run could follow is refused before anything is queued.
func TestCreate_RefusesApprovals(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.asked(t, "resp_019350000000700080000000000000aa")
	answer := fmt.Sprintf(`{"type":"mcp_approval_response","approval_request_id":%q,"approve":true}`, id)
	const previous = `"previous_response_id":"resp_019350000000700080000000000000aa",`
	for name, body := range map[string]string{
		"a request that is nowhere": wiki + `,"input":[{"type":"mcp_approval_response","approval_request_id":"mcpr_x","approve":true}]`,
		"one out of context":        wiki + `,"input":[` + answer + `]`,
		"two answers":               wiki + `,` + previous + `"input":[` + answer + `,` + answer + `]`,
		"no such server":            previous + `"input":[` + answer + `]`,
		"nothing is to be made":     wiki + `,` + previous + `"generate":false,"input":[` + answer + `]`,
	} {
		resp := s.post(t, `{"model":"demo",`+body+`}`)
		if e := refusalIn(t, read(t, resp)); resp.StatusCode != 400 || e.Param == "" {
			t.Errorf("%s: status %d, %+v", name, resp.StatusCode, e)
		}
	}
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d commands were enqueued", n)
	}
}
