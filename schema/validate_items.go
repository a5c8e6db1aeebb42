package schema

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// The input items that this server can put before a model, if that is one that knows them.
var inputKinds = slices.Concat([]string{
	KindMessage, KindReasoning, KindFunctionCall, KindFunctionOutput, KindCustomCall, KindCustomOutput,
	KindListTools, KindMCPCall, KindApprovalRequest, KindApproval, KindItemReference, KindCompaction,
}, hostedKinds)

// hostedKinds are calls of tools that the upstream brings along, and what a client gave for them (reference: openai-go
// ResponseInputItemUnionParam): for dialects that know them.
var hostedKinds = []string{
	"file_search_call", "web_search_call", "image_generation_call", "code_interpreter_call", "computer_call", "computer_call_output",
	"local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output",
}

var roles = []string{"user", "assistant", "system", "developer"}

// checkItems holds the items of a request's member to what can be put before a model.
func checkItems(name string, items []Item) *Error {
	ids := map[string]bool{}
	for i := range items {
		it := &items[i]
		if err := it.check(fmt.Sprintf("%s[%d]", name, i)); err != nil {
			return err
		}
		if it.ID != "" && ids[it.ID] {
			return Refuse(CodeInvalidValue, name,
				"Duplicate item found with id %.64s. Remove duplicate items from your input and try again.", it.ID)
		}
		ids[it.ID] = true
	}
	return nil
}

func (it *Item) check(param string) *Error {
	switch {
	case it.Type == KindItemReference && it.ID == "":
		return missing(param + ".id")
	case !slices.Contains(inputKinds, it.Type):
		return Refuse(CodeInvalidValue, param, "Invalid input item type %.64q.", it.Type)
	case it.Type == KindMessage && !slices.Contains(roles, it.Role):
		return Refuse(CodeInvalidValue, param+".role", "Invalid role %.64q.", it.Role)
	case it.Type == KindMessage && it.Content == nil:
		return missing(param + ".content")
	case needsCallID(it.Type) && it.CallID == "":
		return missing(param + ".call_id")
	case (it.Type == KindFunctionCall || it.Type == KindCustomCall) && it.Name == "":
		return missing(param + ".name")
	case it.Type == KindApproval && TextOf(it.ApprovalRequestID) == "":
		return missing(param + ".approval_request_id")
	case it.Type == KindApproval && it.Approve == nil:
		return missing(param + ".approve")
	case isOutput(it.Type):
		return it.checkOutput(param + ".output")
	case it.Type == KindMessage:
		return refuseEmpty(param+".content", it.Content)
	}
	return nil
}

func needsCallID(kind string) bool {
	return slices.Contains([]string{KindFunctionCall, KindFunctionOutput, KindCustomCall, KindCustomOutput}, kind)
}

// checkOutput checks what a client gave for a call: a text, or parts.
func (it *Item) checkOutput(param string) *Error {
	if isNull(it.Output) {
		return missing(param)
	}
	var parts Content
	if kind := it.Output.Kind(); kind != '"' && kind != '[' || json.Unmarshal(it.Output, &parts) != nil {
		return Refuse(CodeInvalidValue, param, "'%s' must be a string or a list of parts.", param)
	}
	return refuseEmpty(param, parts)
}

// sources are the members of which one says where a part's content is.
var sources = map[string][]string{
	"input_image": {"image_url", "file_id"},
	"input_file":  {"file_data", "file_id", "file_url"},
}

// refuseEmpty refuses parts that hold nothing. What an upstream cannot be shown is its dialect's to refuse.
func refuseEmpty(name string, parts []Part) *Error {
	for i := range parts {
		p, param := &parts[i], fmt.Sprintf("%s[%d]", name, i)
		if (p.Type == PartInputText || p.Type == PartOutputText) && p.Text == nil {
			return missing(param + ".text")
		}
		names := sources[p.Type]
		if len(names) == 0 {
			continue
		}
		members, given := membersOf(p.Rest), false
		for _, source := range names {
			if err := checkShapes(param+".", members, shape{source, `"`}); err != nil {
				return err
			}
			given = given || TextOf(members[source]) != ""
		}
		if !given {
			return missing(param + "." + names[0])
		}
	}
	return nil
}
