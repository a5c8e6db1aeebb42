package schema

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// A member that is there, null or absent stays so: clients differ on all three. Content alone reads null as absent.
func TestItem_KeepsNullAndAbsentApart(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"id":"a","type":"message","content":[]}`:                  "",
		`{"id":"a","type":"message","content":null}`:                `{"id":"a","type":"message"}`,
		`{"id":"a","type":"message"}`:                               "",
		`{"id":"a","type":"mcp_call","output":null,"error":null}`:   "",
		`{"id":"a","type":"mcp_call"}`:                              "",
		`{"id":"a","type":"mcp_list_tools","tools":[]}`:             "",
		`{"id":"a","type":"reasoning","summary":[],"x":{"y":null}}`: "",
		`{"id":"a","type":"message","content":"hi"}`:                `{"id":"a","type":"message","content":[{"type":"input_text","text":"hi"}]}`,
	} {
		var it Item
		if err := json.Unmarshal([]byte(in), &it); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = in
		}
		if diff := cmp.Diff(want, string(must(json.Marshal(&it))(t))); diff != "" {
			t.Errorf("%s:\n%s", in, diff)
		}
	}
}

// An item failed if it says so or has an error; an incomplete call failed, an incomplete message is only short.
func TestItem_Failed(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		`{"type":"message","status":"completed"}`:                       false,
		`{"type":"message","status":"incomplete"}`:                      false,
		`{"type":"function_call","status":"incomplete"}`:                false,
		`{"type":"mcp_call","status":"completed","error":null}`:         false,
		`{"type":"mcp_call","status":"incomplete","error":null}`:        true,
		`{"type":"mcp_call","status":"failed"}`:                         true,
		`{"type":"mcp_call","status":"completed","error":{"type":"x"}}`: true,
		`{"type":"mcp_list_tools"}`:                                     false,
		`{"type":"mcp_list_tools","error":"unreachable"}`:               true,
		`{"type":"web_search_call","status":"failed"}`:                  true,
	} {
		var it Item
		if err := json.Unmarshal([]byte(in), &it); err != nil {
			t.Fatal(err)
		}
		if it.Failed() != want {
			t.Errorf("%s: failed %t", in, !want)
		}
	}
}

// An item's id is derived, differs by kind, place and response, and is at most 64 bytes, whatever the response's id.
func TestItemID_IsDerivedAndShort(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, response := range []string{"resp_1", "resp_" + strings.Repeat("a", 59), "resp_" + strings.Repeat("a", 58) + "b"} {
		for _, kind := range kindsOfItems[:8] {
			for _, n := range []int{0, 1, 0xffff, 1 << 20} {
				id := ItemID(response, kind, n)
				if seen[id] || len(id) > 64 || id != ItemID(response, kind, n) {
					t.Errorf("%s of %s %d of %s", id, kind, n, response)
				}
				seen[id] = true
			}
		}
	}
}

// A ref is made of two tokens that may stand in a subject; nothing else is let in.
func TestNewRef_TakesOnlyTokens(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "a.b", "*", ">", "t1.>", "a b", "a\r\n", "a\x00", "\xff", "$JS/", "../", "%2e", "é", strings.Repeat("a", 65),
	} {
		if _, err := NewRef("t1", bad); err == nil {
			t.Errorf("response %q: accepted", bad)
		}
		if _, err := NewRef(bad, "resp_1"); err == nil {
			t.Errorf("tenant %q: accepted", bad)
		}
	}
	if ref, err := NewRef("t1", "resp_0192-A"); err != nil || ref.String() != "t1/resp_0192-A" {
		t.Errorf("%s: %v", ref, err)
	}
}

// The usage of turns is summed; a turn that told none adds none.
func TestUsage_Add(t *testing.T) {
	t.Parallel()
	a := &Usage{InputTokens: 1, OutputTokens: 2, TotalTokens: 3, InputTokensDetails: InputTokensDetails{4, 5}, OutputTokensDetails: OutputTokensDetails{6}}
	want := &Usage{InputTokens: 2, OutputTokens: 4, TotalTokens: 6, InputTokensDetails: InputTokensDetails{8, 10}, OutputTokensDetails: OutputTokensDetails{12}}
	if diff := cmp.Diff(want, a.Add(a)); diff != "" {
		t.Error(diff)
	}
	var none *Usage
	if none.Add(none) != nil || none.Add(a) != a || a.Add(none) != a {
		t.Error("a turn without usage changed the sum")
	}
}

// An item's id leads back to its response, whether the item was said or asked; whatever else is given leads nowhere.
func TestResponseOf(t *testing.T) {
	t.Parallel()
	for _, response := range []string{"resp_019350000000700080000000000000a1", "resp_Abcdefghij0123456"} {
		for _, id := range []string{ItemID(response, KindMessage, 7), InputID(response, KindFunctionOutput, 0xffff)} {
			if got, ok := ResponseOf(id); !ok || got != response {
				t.Errorf("%s leads to %q, want %s", id, got, response)
			}
		}
	}
	if a, b := ItemID("resp_a", KindMessage, 1), InputID("resp_a", KindMessage, 1); a == b {
		t.Errorf("asked and said have one id: %s", a)
	}
	for _, id := range []string{"", "msg", "msg_", "msg_0001", "msg_abcdefgz", "msg_a.b0001", "_>0001", strings.Repeat("x", 300)} {
		if got, ok := ResponseOf(id); ok {
			t.Errorf("%q leads to %s", id, got)
		}
	}
}

// The id of an item that was added to a conversation leads back to it, within the API's bound; those of responses, callers and
// strangers lead to no conversation, and it leads to no response that anybody can have.
func TestConversationOf(t *testing.T) {
	t.Parallel()
	const conversation, unique = "conv_019350000000700080000000000000a1", "0123456789abcdef01234567"
	for _, kind := range []string{KindMessage, KindFunctionOutput, KindApprovalRequest} {
		it := Item{Type: kind}
		it.MintItem(ConversationItemKey(conversation, unique))
		if got, ok := ConversationOf(it.ID); !ok || got != conversation || !ValidToken(it.ID) {
			t.Errorf("%s leads to %q", it.ID, got)
		}
		if response, ok := ResponseOf(it.ID); ok && !strings.Contains(response[len("resp_"):], "_") {
			t.Errorf("%s leads to %s too", it.ID, response)
		}
	}
	for _, id := range []string{
		"", "msg", "msg_", "msg__", "_", ItemID("resp_019350000000700080000000000000a1", KindMessage, 7),
		InputID("resp_Abcdefghij0123456", KindMessage, 7), "msg_019350000000700080000000000000a1",
		"msg_019350000000700080000000000000a1_", "msg_019350000000700080000000000000a1_" + unique + "0",
		"msg_01935000000070008000000000000.>_" + unique, "msg_019350000000700080000000000000A1_" + unique, strings.Repeat("x", 300),
	} {
		if got, ok := ConversationOf(id); ok {
			t.Errorf("%q leads to %s", id, got)
		}
	}
}
