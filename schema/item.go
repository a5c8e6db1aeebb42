package schema

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The kinds of items that Midstream reads or writes. Other kinds are legal and pass through.
const (
	KindMessage         = "message"
	KindReasoning       = "reasoning"
	KindFunctionCall    = "function_call"
	KindFunctionOutput  = "function_call_output"
	KindCustomCall      = "custom_tool_call"
	KindCustomOutput    = "custom_tool_call_output"
	KindListTools       = "mcp_list_tools"
	KindMCPCall         = "mcp_call"
	KindApprovalRequest = "mcp_approval_request"
	KindApproval        = "mcp_approval_response"
	KindItemReference   = "item_reference"
	KindCompaction      = "compaction"
)

// The states of an item, and of a response.
const (
	StatusQueued     = "queued"
	StatusInProgress = "in_progress"
	StatusCompleted  = "completed"
	StatusIncomplete = "incomplete"
	StatusFailed     = "failed"
	StatusCancelled  = "cancelled"
)

// Item is an input or output item. Clients differ on null and absent, so members that some kind must show as null are
// raw: nil is left out, "null" is written (reference: ai-sdk refuses mcp_list_tools.error null, OpenAI's own mcp_call
// always shows error and output).
type Item struct {
	ID                string           `json:"id,omitzero"`
	Type              string           `json:"type,omitzero"`
	Status            string           `json:"status,omitzero"`
	Role              string           `json:"role,omitzero"`
	Content           Content          `json:"content,omitzero"`
	Summary           []Part           `json:"summary,omitzero"`
	EncryptedContent  *string          `json:"encrypted_content,omitzero"`
	CallID            string           `json:"call_id,omitzero"`
	ServerLabel       string           `json:"server_label,omitzero"`
	Name              string           `json:"name,omitzero"`
	Arguments         *string          `json:"arguments,omitzero"`
	Input             *string          `json:"input,omitzero"`
	Tools             []jsontext.Value `json:"tools,omitzero"`
	Output            jsontext.Value   `json:"output,omitzero"`
	Error             jsontext.Value   `json:"error,omitzero"`
	ApprovalRequestID jsontext.Value   `json:"approval_request_id,omitzero"`
	Approve           *bool            `json:"approve,omitzero"`
	Reason            *string          `json:"reason,omitzero"`
	Rest              jsontext.Value   `json:",embed"`
}

// Part is a content part of a message or a reasoning item.
type Part struct {
	Type        string           `json:"type"`
	Text        *string          `json:"text,omitzero"`
	Refusal     *string          `json:"refusal,omitzero"`
	Annotations []jsontext.Value `json:"annotations,omitzero"`
	Logprobs    []jsontext.Value `json:"logprobs,omitzero"`
	Rest        jsontext.Value   `json:",embed"`
}

// The types of parts that Midstream reads or writes.
const (
	PartInputText     = "input_text"
	PartOutputText    = "output_text"
	PartRefusal       = "refusal"
	PartReasoningText = "reasoning_text"
	PartSummaryText   = "summary_text"
)

// Content is the parts of an item. A plain string is read as one part, as the API's short form of a message allows;
// [Item.Normalize] settles whether that part is input or output.
type Content []Part

// UnmarshalJSONFrom accepts null, a string or a list of parts.
func (c *Content) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		return json.UnmarshalDecode(dec, (*[]Part)(c))
	}
	var text string
	if err := json.UnmarshalDecode(dec, &text); err != nil {
		return err
	}
	*c = Content{{Type: PartInputText, Text: &text}}
	return nil
}

// content of a part, whatever it is called on the wire.
func (p *Part) content() string {
	switch {
	case p.Text != nil:
		return *p.Text
	case p.Refusal != nil:
		return *p.Refusal
	}
	return ""
}

func (p *Part) setContent(s string) {
	if p.Type == PartRefusal {
		p.Refusal = &s
		return
	}
	p.Text = &s
}

// NewPart returns a part of that type that holds s, with the empty lists that the API shows on output text.
func NewPart(kind, s string) Part {
	p := Part{Type: kind}
	p.setContent(s)
	if kind == PartOutputText {
		p.Annotations, p.Logprobs = []jsontext.Value{}, []jsontext.Value{}
	}
	return p
}

// Text returns the item's output text: the text parts of a message, joined.
func (it *Item) Text() string {
	var s strings.Builder
	for i := range it.Content {
		s.WriteString(deref(it.Content[i].Text, ""))
	}
	return s.String()
}

// Failed reports whether the item tells of a failure: it says so, or it has an error. An mcp_call that is incomplete
// failed too, since nobody knows what it did; a message that is incomplete is only short.
func (it *Item) Failed() bool {
	return it.Status == StatusFailed || !isNull(it.Error) || it.Type == KindMCPCall && it.Status == StatusIncomplete
}

// blank reports whether an item that is being added holds nothing yet of what its events will bring.
func (it *Item) blank() bool {
	switch tabled(it.Type) {
	case anyKind, KindApprovalRequest:
		return true
	}
	return len(it.Content) == 0 && len(it.Summary) == 0 && len(it.Tools) == 0 && isNull(it.Output) && isNull(it.Error) &&
		itemArguments(it) == "" && (it.Status == "" || it.Status == StatusInProgress)
}
