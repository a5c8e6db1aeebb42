package schema

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What the SDKs' types require, beside type and sequence_number (reference: openai-node ResponseStreamEvent, ai-sdk's
// zod schemas, the Open Responses compliance suite).
var (
	inItemMembers    = []string{"item_id", "output_index"}
	inPartMembers    = append(inItemMembers[:2:2], "content_index")
	inSummaryMembers = append(inItemMembers[:2:2], "summary_index")
)

func with(base []string, more ...string) []string { return append(slices.Clip(base), more...) }

// memberTable has every event type whose members the API fixes.
var memberTable = map[EventType][]string{
	Created: {"response"}, Queued: {"response"}, InProgress: {"response"},
	Completed: {"response"}, Incomplete: {"response"}, Failed: {"response"},
	ItemAdded: {"output_index", "item"}, ItemDone: {"output_index", "item"},
	PartAdded: with(inPartMembers, "part"), PartDone: with(inPartMembers, "part"),
	TextDelta:      with(inPartMembers, "delta", "logprobs"),
	TextDone:       with(inPartMembers, "text", "logprobs"),
	TextAnnotation: with(inPartMembers, "annotation", "annotation_index"),
	RefusalDelta:   with(inPartMembers, "delta"), RefusalDone: with(inPartMembers, "refusal"),
	ReasoningDelta: with(inPartMembers, "delta"), ReasoningDone: with(inPartMembers, "text"),
	SummaryAdded: with(inSummaryMembers, "part"), SummaryDone: with(inSummaryMembers, "part"),
	SummaryDelta: with(inSummaryMembers, "delta"), SummaryTextDone: with(inSummaryMembers, "text"),
	FunctionDelta: with(inItemMembers, "delta"), FunctionDone: with(inItemMembers, "arguments"),
	CustomDelta: with(inItemMembers, "delta"), CustomDone: with(inItemMembers, "input"),
	CallDelta: with(inItemMembers, "delta"), CallArguments: with(inItemMembers, "arguments"),
	ListInProgress: inItemMembers, ListCompleted: inItemMembers, ListFailed: inItemMembers,
	CallInProgress: inItemMembers, CallCompleted: inItemMembers, CallFailed: inItemMembers,

	"response.audio.delta":                         {"delta"},
	"response.audio.transcript.delta":              {"delta"},
	"response.code_interpreter_call.completed":     inItemMembers,
	"response.code_interpreter_call.in_progress":   inItemMembers,
	"response.code_interpreter_call.interpreting":  inItemMembers,
	"response.code_interpreter_call_code.delta":    with(inItemMembers, "delta"),
	"response.code_interpreter_call_code.done":     with(inItemMembers, "code"),
	"response.compaction.compacting":               inItemMembers,
	"response.file_search_call.completed":          inItemMembers,
	"response.file_search_call.in_progress":        inItemMembers,
	"response.file_search_call.searching":          inItemMembers,
	"response.image_generation_call.completed":     inItemMembers,
	"response.image_generation_call.generating":    inItemMembers,
	"response.image_generation_call.in_progress":   inItemMembers,
	"response.image_generation_call.partial_image": with(inItemMembers, "partial_image_b64", "partial_image_index"),
	"response.shell_call_command.added":            {"command", "command_index", "output_index"},
	"response.shell_call_command.delta":            {"command_index", "delta", "output_index"},
	"response.shell_call_command.done":             {"command", "command_index", "output_index"},
	"response.shell_call_output_content.delta":     with(inItemMembers, "command_index", "delta"),
	"response.shell_call_output_content.done":      with(inItemMembers, "command_index", "output"),
	"response.web_search_call.completed":           inItemMembers,
	"response.web_search_call.in_progress":         inItemMembers,
	"response.web_search_call.searching":           inItemMembers,
}

var responseMembers = []string{
	"id", "object", "created_at", "completed_at", "status", "background", "error", "incomplete_details", "instructions",
	"max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls", "previous_response_id",
	"prompt_cache_key", "reasoning.effort", "reasoning.summary", "safety_identifier", "service_tier", "store", "temperature", "top_p",
	"presence_penalty", "frequency_penalty", "text.format", "tool_choice", "tools", "top_logprobs", "truncation", "usage",
	"user", "metadata", "conversation",
}

// responseKinds is what JSON a member may be, beside the members whose Go types say it already.
var responseKinds = map[string]string{
	"id": `"`, "model": `"`, "status": `"`, "truncation": `"`, "created_at": "0", "presence_penalty": "0", "frequency_penalty": "0",
	"background": "tf", "store": "tf", "parallel_tool_calls": "tf", "output": "[", "tools": "[", "text": "{",
	"instructions": `"n`, "metadata": "{n", "reasoning": "{n", "conversation": "{n", "temperature": "0n", "top_p": "0n",
	"top_logprobs": "0n", "tool_choice": `"{`,
}

var itemMembers = map[string][]string{
	KindMessage:         {"id", "status", "role", "content"},
	KindReasoning:       {"id", "summary"},
	KindFunctionCall:    {"id", "status", "call_id", "name", "arguments"},
	KindCustomCall:      {"id", "call_id", "name", "input"},
	KindListTools:       {"id", "server_label", "tools"},
	KindMCPCall:         {"id", "status", "server_label", "name", "arguments", "output", "error", "approval_request_id"},
	KindApprovalRequest: {"id", "server_label", "name", "arguments"},
}

// itemNeverNull are the members that must be left out, or be something.
var itemNeverNull = map[string][]string{
	KindMessage:         itemMembers[KindMessage],
	KindFunctionCall:    itemMembers[KindFunctionCall],
	KindCustomCall:      itemMembers[KindCustomCall],
	KindListTools:       {"server_label", "tools", "error"},
	KindMCPCall:         {"status", "server_label", "name", "arguments"},
	KindApprovalRequest: {"server_label", "name", "arguments", "approval_request_id"},
}

var partMembers = map[string][]string{
	PartOutputText:    {"text", "annotations", "logprobs"},
	PartRefusal:       {"refusal"},
	PartReasoningText: {"text"},
	PartSummaryText:   {"text"},
}

var callErrors = map[string][]string{
	"mcp_protocol_error":       {"code", "message"},
	"http_error":               {"code", "message"},
	"mcp_tool_execution_error": {"content"},
}

// object is a JSON object as it was written, with the event that brought it.
type object struct {
	event   *Event
	name    string
	members map[string]jsontext.Value
}

func objectOf(e *Event, name string, raw jsontext.Value) (*object, error) {
	o := &object{event: e, name: name}
	if raw.Kind() != '{' || json.Unmarshal(raw, &o.members) != nil {
		return nil, o.refuse("not an object")
	}
	return o, nil
}

func (o *object) refuse(why string, args ...any) error {
	return refuse(o.event, lawMembers, o.name+": "+why, args...)
}

// require refuses an object that lacks a member; a dot leads into a member that is an object, unless it is null.
func (o *object) require(names ...string) error {
	for _, name := range names {
		outer, inner, nested := strings.Cut(name, ".")
		v, there := o.members[outer]
		switch {
		case !there:
			return o.refuse("no %s", outer)
		case nested && v.Kind() == '{' && memberOf(v, inner) == nil:
			return o.refuse("no %s", name)
		}
	}
	return nil
}

// refuseNull refuses an object in which a member is there, but null.
func (o *object) refuseNull(names ...string) error {
	for _, name := range names {
		if v, there := o.members[name]; there && isNull(v) {
			return o.refuse("%s is null", name)
		}
	}
	return nil
}

// kinds refuses members that are of another JSON kind than the table allows.
func (o *object) kinds(table map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if v := o.members[name]; !strings.ContainsRune(table[name], rune(v.Kind())) {
			return o.refuse("%s is %.20s", name, v)
		}
	}
	return nil
}

// text returns a member that is a string, or "".
func (o *object) text(name string) string { return TextOf(o.members[name]) }
