package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Ref names one response of one tenant. Both parts are tokens of a subject: a Ref comes from [NewRef] alone.
type Ref struct {
	tenant, response string
}

// NewRef checks both tokens against ^[A-Za-z0-9_-]{1,64}$. Anything looser would let an id read a whole tenant's log,
// since `t1.>` is a subject.
func NewRef(tenant, response string) (Ref, error) {
	if !ValidToken(tenant) {
		return Ref{}, fmt.Errorf("tenant %.80q: not 1 to %d letters, digits, _ or -", tenant, MaxToken)
	}
	if !ValidToken(response) {
		return Ref{}, fmt.Errorf("response id %.80q: not 1 to %d letters, digits, _ or -", response, MaxToken)
	}
	return Ref{tenant, response}, nil
}

// Tenant returns the owner's token.
func (r Ref) Tenant() string { return r.tenant }

// Response returns the response id.
func (r Ref) Response() string { return r.response }

func (r Ref) String() string { return r.tenant + "/" + r.response }

// ValidToken reports whether s may stand in a subject.
func ValidToken(s string) bool {
	if len(s) == 0 || len(s) > MaxToken {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// maxKey keeps minted item ids within the 64 bytes that the API allows an id.
const maxKey = 48

var itemPrefix = map[string]string{
	KindMessage: "msg", KindReasoning: "rs", KindFunctionCall: "fc", KindCustomCall: "ctc",
	KindListTools: "mcpl", KindMCPCall: "mcp", KindApprovalRequest: "mcpr",
	KindCompaction: "cmp",
}

// ItemID mints the id of a response's n-th item. It is derived, not random, so that every attempt mints the same; it
// contains the response's own key, so that an item_reference leads back to its response.
func ItemID(response, kind string, n int) string {
	return fmt.Sprintf("%s_%s%0*x", prefixOf(kind), responseKey(response), itemDigits, n)
}

func prefixOf(kind string) string {
	if prefix, ok := itemPrefix[kind]; ok {
		return prefix
	}
	return "item"
}

// InputID names the n-th item of a response's input, where the caller gave it no id of its own.
func InputID(response, kind string, n int) string {
	return ItemID(response+inputMark, kind, n)
}

// inputMark tells the ids of input items apart from those of output items. No response id ends in it that a gateway mints
// or a producer may choose.
const inputMark = "-"

// ResponseOf returns the response that an item id was minted for. Whether there is such a response, and such an item in it,
// is not said: an id may come from anywhere.
func ResponseOf(item string) (response string, ok bool) {
	_, rest, _ := strings.Cut(item, "_")
	if len(rest) <= itemDigits {
		return "", false
	}
	key, n := rest[:len(rest)-itemDigits], rest[len(rest)-itemDigits:]
	if strings.Trim(n, "0123456789abcdef") != "" {
		return "", false
	}
	response = "resp_" + strings.TrimSuffix(key, inputMark)
	return response, ValidToken(response)
}

// itemDigits is how many hexadecimal digits the number of an item has in its id.
const itemDigits = 4

// ConversationItemKey returns what [Item.MintItem] takes for an item that is added to a conversation by itself: the id leads
// back to the conversation. unique must be hexadecimal, of [UniqueDigits], and no other item's there.
func ConversationItemKey(conversation, unique string) string {
	return strings.TrimPrefix(conversation, conversationPrefix) + conversationMark + unique
}

// ConversationOf returns the conversation that an item id was minted for. As with [ResponseOf], whether there is such a
// conversation, and such an item in it, is not said.
func ConversationOf(item string) (conversation string, ok bool) {
	_, rest, _ := strings.Cut(item, "_")
	key, unique, _ := strings.Cut(rest, conversationMark)
	if len(key) != conversationDigits || len(unique) != UniqueDigits || strings.Trim(key+unique, "0123456789abcdef") != "" {
		return "", false
	}
	return conversationPrefix + key, true
}

// UniqueDigits is how many hexadecimal digits tell the items of a conversation apart: few enough for an id of 64 characters,
// and enough for 96 random bits.
const UniqueDigits = 24

// The form of a conversation's id, and what stands behind it in an item's id: no key of a response has that in it, so none
// leads to a conversation.
const (
	conversationPrefix = "conv_"
	conversationDigits = 32
	conversationMark   = "_"
)

func responseKey(response string) string {
	key := strings.TrimPrefix(response, "resp_")
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:maxKey/2])
}
