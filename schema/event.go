package schema

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// EventType names an event, as the Responses API does. Types that are not listed here are legal and pass through.
type EventType string

// The types that Midstream itself reads or writes. The others of the API belong to items that upstreams run themselves.
const (
	Created    EventType = "response.created"
	Queued     EventType = "response.queued"
	InProgress EventType = "response.in_progress"
	Completed  EventType = "response.completed"
	Incomplete EventType = "response.incomplete"
	Failed     EventType = "response.failed"

	ItemAdded EventType = "response.output_item.added"
	ItemDone  EventType = "response.output_item.done"
	PartAdded EventType = "response.content_part.added"
	PartDone  EventType = "response.content_part.done"

	TextDelta       EventType = "response.output_text.delta"
	TextAnnotation  EventType = "response.output_text.annotation.added"
	TextDone        EventType = "response.output_text.done"
	RefusalDelta    EventType = "response.refusal.delta"
	RefusalDone     EventType = "response.refusal.done"
	ReasoningDelta  EventType = "response.reasoning_text.delta"
	ReasoningDone   EventType = "response.reasoning_text.done"
	SummaryAdded    EventType = "response.reasoning_summary_part.added"
	SummaryDelta    EventType = "response.reasoning_summary_text.delta"
	SummaryTextDone EventType = "response.reasoning_summary_text.done"
	SummaryDone     EventType = "response.reasoning_summary_part.done"

	FunctionDelta EventType = "response.function_call_arguments.delta"
	FunctionDone  EventType = "response.function_call_arguments.done"
	CustomDelta   EventType = "response.custom_tool_call_input.delta"
	CustomDone    EventType = "response.custom_tool_call_input.done"

	ListInProgress EventType = "response.mcp_list_tools.in_progress"
	ListCompleted  EventType = "response.mcp_list_tools.completed"
	ListFailed     EventType = "response.mcp_list_tools.failed"
	CallInProgress EventType = "response.mcp_call.in_progress"
	CallDelta      EventType = "response.mcp_call_arguments.delta"
	CallArguments  EventType = "response.mcp_call_arguments.done"
	CallCompleted  EventType = "response.mcp_call.completed"
	CallFailed     EventType = "response.mcp_call.failed"

	Keepalive  EventType = "keepalive"
	ErrorEvent EventType = "error"
)

// Terminal reports whether t ends a response.
func (t EventType) Terminal() bool { return t == Completed || t == Incomplete || t == Failed }

// Lifecycle reports whether t speaks of the response as a whole. Only one component writes these: see [Sequencer].
func (t EventType) Lifecycle() bool {
	return t.Terminal() || t == Created || t == Queued || t == InProgress
}

// Event is one streaming event. A member that the type does not have is nil; members unknown here are kept in Rest.
type Event struct {
	Type            EventType        `json:"type"`
	SequenceNumber  int64            `json:"sequence_number"`
	Response        *Response        `json:"response,omitzero"`
	OutputIndex     *int             `json:"output_index,omitzero"`
	ItemID          string           `json:"item_id,omitzero"`
	ContentIndex    *int             `json:"content_index,omitzero"`
	SummaryIndex    *int             `json:"summary_index,omitzero"`
	AnnotationIndex *int             `json:"annotation_index,omitzero"`
	Item            *Item            `json:"item,omitzero"`
	Part            *Part            `json:"part,omitzero"`
	Annotation      jsontext.Value   `json:"annotation,omitzero"`
	Delta           *string          `json:"delta,omitzero"`
	Text            *string          `json:"text,omitzero"`
	Refusal         *string          `json:"refusal,omitzero"`
	Arguments       *string          `json:"arguments,omitzero"`
	Input           *string          `json:"input,omitzero"`
	Logprobs        []jsontext.Value `json:"logprobs,omitzero"`
	Obfuscation     string           `json:"obfuscation,omitzero"` // random, so that a delta's size tells less of its text
	Rest            jsontext.Value   `json:",embed"`
}

// ParseEvent decodes one event. Its type must be there; nothing else is asked of it here.
func ParseEvent(data []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(data, &e); err != nil {
		return Event{}, fmt.Errorf("parse event: %w", err)
	}
	if e.Type == "" {
		return Event{}, fmt.Errorf("parse event: %w", errNoType)
	}
	return e, nil
}

var errNoType = errors.New("no type")

// Index returns the output index, or -1 where the event has none.
func (e *Event) Index() int { return indexOf(e.OutputIndex) }

func indexOf(p *int) int {
	if p == nil {
		return -1
	}
	return *p
}

// free reports whether the event speaks of no item, so that it may stand anywhere while the response runs.
func (e *Event) free() bool {
	if e.OutputIndex != nil || e.ItemID != "" || e.Item != nil {
		return false
	}
	return !traits[e.Type].tabled
}

// maxType is the longest event type, in bytes.
const maxType = 128

// legal reports whether t may stand in a frame's event line.
func (t EventType) legal() bool {
	if traits[t].tabled {
		return true
	}
	for _, c := range []byte(t) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(t) > 0 && len(t) <= maxType
}

// hasError reports whether the event has a top-level member "error", which ends the stream of every SDK.
func (e *Event) hasError() bool {
	if !bytes.Contains(e.Rest, []byte("error")) && !bytes.ContainsRune(e.Rest, '\\') { // a name may be escaped
		return false
	}
	return memberOf(e.Rest, "error") != nil
}

// memberOf returns a member of a raw object, or nil.
func memberOf(object jsontext.Value, name string) jsontext.Value {
	var members map[string]jsontext.Value
	if json.Unmarshal(object, &members) != nil {
		return nil
	}
	return members[name]
}

// whole returns the text that a settling event repeats, or nil where it leaves it out.
func (e *Event) whole() *string { return *e.wholeText() }

// wholeText returns where a settling event keeps the text that it repeats.
func (e *Event) wholeText() **string {
	switch e.Type {
	case RefusalDone:
		return &e.Refusal
	case FunctionDone, CallArguments:
		return &e.Arguments
	case CustomDone:
		return &e.Input
	}
	return &e.Text
}
