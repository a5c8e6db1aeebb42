package schema

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// empty takes out of an item what its events will bring. An approval request has none between added and done, and what
// a hosted item holds is its upstream's.
func empty(it *Item) {
	if tabled(it.Type) == anyKind || it.Type == KindApprovalRequest {
		return
	}
	it.Content, it.Summary, it.Tools, it.Output, it.Error, it.EncryptedContent = nil, nil, nil, nil, nil, nil
	it.Arguments, it.Input = nil, nil
	it.Status = StatusInProgress
	if streamsArguments(it.Type) {
		setArguments(it, "")
	}
}

// dress adds the members that clients require of a kind, and takes out those that they refuse as null.
func dress(it *Item) {
	switch it.Type {
	case KindMessage:
		it.Role = "assistant"
		if it.Content == nil {
			it.Content = Content{}
		}
	case KindReasoning:
		if it.Summary == nil {
			it.Summary = []Part{}
		}
	case KindApprovalRequest:
		it.Status, it.ApprovalRequestID = "", nil
		if it.Arguments == nil {
			setArguments(it, "")
		}
	case KindListTools:
		it.Status, it.Tools = "", withoutNulls(it.Tools)
		if isNull(it.Error) {
			it.Error = nil
		}
	case KindMCPCall:
		for _, v := range []*jsontext.Value{&it.Output, &it.Error, &it.ApprovalRequestID} {
			if *v == nil {
				*v = null
			}
		}
	case KindFunctionCall, KindCustomCall:
		if it.CallID == "" {
			it.CallID = "call_" + it.ID
		}
	}
}

// spoken returns a message as what a model says: its content may have come as a string, or as parts of an input.
func spoken(it *Item) *Item {
	said := *it
	said.Content = slices.Clone(it.Content)
	speak(said.Content)
	return &said
}

// withoutNulls takes description and annotations out of a tool list where they are null: ai-sdk refuses those.
func withoutNulls(tools []jsontext.Value) []jsontext.Value {
	out := make([]jsontext.Value, len(tools))
	for i, t := range tools {
		out[i] = withoutNull(t, "description", "annotations")
	}
	return out
}

func withoutNull(object jsontext.Value, names ...string) jsontext.Value {
	if !bytes.Contains(object, null) {
		return object
	}
	var members map[string]jsontext.Value
	if json.Unmarshal(object, &members) != nil {
		return object
	}
	for _, name := range names {
		if v, there := members[name]; there && isNull(v) {
			delete(members, name)
		}
	}
	data, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return object
	}
	return data
}
