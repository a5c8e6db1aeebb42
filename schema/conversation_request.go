package schema

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// NewConversationRequest is the body of POST /v1/conversations.
type NewConversationRequest struct {
	Items    []Item   `json:"items,omitzero"`
	Metadata Metadata `json:"metadata,omitzero"`
}

// ParseNewConversation reads and checks the body of POST /v1/conversations.
func ParseNewConversation(body []byte) (*NewConversationRequest, *Error) {
	var req NewConversationRequest
	if err := parseOnly(body, &req, "items", "metadata"); err != nil {
		return nil, err
	}
	if err := checkMetadata(req.Metadata); err != nil {
		return nil, err
	}
	return &req, checkNewItems(req.Items)
}

// ParseDescription reads and checks the body of POST /v1/conversations/{id}: the metadata that the conversation is to have.
// Null is none.
func ParseDescription(body []byte) (map[string]string, *Error) {
	var req struct {
		Metadata jsontext.Value `json:"metadata"`
	}
	if err := parseOnly(body, &req, "metadata"); err != nil {
		return nil, err
	}
	if len(req.Metadata) == 0 {
		return nil, missing("metadata")
	}
	var metadata Metadata
	if json.Unmarshal(req.Metadata, &metadata) != nil {
		return nil, Refuse(CodeInvalidValue, "metadata", "'metadata' must be an object of strings.")
	}
	return metadata, checkMetadata(metadata)
}

// ParseNewItems reads and checks the body of POST /v1/conversations/{id}/items.
func ParseNewItems(body []byte) ([]Item, *Error) {
	var req struct {
		Items []Item `json:"items"`
	}
	if err := parseOnly(body, &req, "items"); err != nil {
		return nil, err
	}
	if req.Items == nil {
		return nil, missing("items")
	}
	return req.Items, checkNewItems(req.Items)
}

// parseOnly parses a body that may have no other members than those.
func parseOnly(body []byte, into any, members ...string) *Error {
	if err := parseBody(body, into); err != nil {
		return err
	}
	return checkMembers(body, members)
}

func missing(param string) *Error {
	return Refuse(CodeMissing, param, "Missing required parameter: '%s'.", param)
}

// checkNewItems brings items into their full form and holds them to the rules of a request's input.
func checkNewItems(items []Item) *Error {
	if len(items) > MaxNewItems {
		return Refuse(CodeInvalidValue, "items",
			"Invalid 'items': array too long. Expected an array with maximum length %d, but got an array with length %d instead.",
			MaxNewItems, len(items))
	}
	for i := range items {
		items[i].Normalize()
		if items[i].Type == KindItemReference {
			return Refuse(CodeInvalidValue, fmt.Sprintf("items[%d]", i), "A conversation keeps items themselves, not references to them.")
		}
		if id := items[i].ID; id != "" && !ValidToken(id) {
			return Refuse(CodeInvalidValue, fmt.Sprintf("items[%d].id", i), "'items[%d].id' must match ^[A-Za-z0-9_-]{1,64}$.", i)
		}
	}
	return checkItems("items", items)
}

// MintItem gives an item that has no id one of its kind's. The key is unique: see [ConversationItemKey].
func (it *Item) MintItem(key string) {
	if it.ID == "" {
		it.ID = prefixOf(it.Type) + "_" + key
	}
}

// ConversationID returns the id of the conversation that the request names, by itself or as an object; empty for none.
func (r *CreateRequest) ConversationID() (string, *Error) {
	var id string
	var ok bool
	switch {
	case len(r.Conversation) == 0 || r.Conversation.Kind() == 'n':
		return "", nil
	case r.Conversation.Kind() == '{':
		var object struct {
			ID string `json:"id"`
		}
		ok = json.Unmarshal(r.Conversation, &object) == nil
		id = object.ID
	default:
		ok = json.Unmarshal(r.Conversation, &id) == nil
	}
	if !ok || id == "" {
		return "", Refuse(CodeInvalidValue, "conversation", "'conversation' must be an id, or an object with the member 'id'.")
	}
	return id, nil
}

func (r *CreateRequest) validateConversation() *Error {
	id, err := r.ConversationID()
	if err == nil && id != "" && r.PreviousResponseID != nil {
		return Refuse(CodeExclusive, "conversation", "'conversation' and 'previous_response_id' exclude each other: give only one of them.")
	}
	return err
}

// echoConversation shows the conversation as the API does, whichever way the request names it.
func (r *CreateRequest) echoConversation() jsontext.Value {
	id, err := r.ConversationID()
	if err != nil || id == "" {
		return nil
	}
	quoted, failed := jsontext.AppendQuote([]byte(`{"id":`), id)
	if failed != nil {
		return nil
	}
	return append(quoted, '}')
}
