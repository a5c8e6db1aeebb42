package schema

import (
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

// UnmarshalJSON accepts null, a string or a list of parts.
func (c *Content) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		*c = Content{{Type: PartInputText, Text: &text}}
		return nil
	}
	var parts []Part
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	*c = parts
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
	var s string
	for i := range it.Content {
		if it.Content[i].Text != nil {
			s += *it.Content[i].Text
		}
	}
	return s
}

// Failed reports whether the item tells of a failure.
func (it *Item) Failed() bool {
	return it.Status == StatusFailed || it.Status == StatusIncomplete || (len(it.Error) > 0 && string(it.Error) != "null")
}
