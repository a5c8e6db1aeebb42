package upstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// chatTurn is one message of a chat.
type chatTurn struct {
	Role             string         `json:"role"`
	Content          jsontext.Value `json:"content,omitzero"`
	ReasoningContent string         `json:"reasoning_content,omitzero"`
	Refusal          string         `json:"refusal,omitzero"`
	ToolCalls        []chatSaidCall `json:"tool_calls,omitzero"`
	ToolCallID       string         `json:"tool_call_id,omitzero"`
}

type chatSaidCall struct {
	ID       string            `json:"id"`
	Type     string            `json:"type"`
	Function *chatSaidFunction `json:"function,omitzero"`
	Custom   *chatSaidCustom   `json:"custom,omitzero"`
}

type chatSaidFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type chatSaidCustom struct {
	Name  string `json:"name"`
	Input string `json:"input"`
}

// chatWriter turns items into messages. Chat has one message for what the Responses API has several items for: text and
// the calls behind it are one message of the assistant's.
type chatWriter struct {
	messages  []chatTurn
	reasoning string // waits for the message that it belongs to
}

// chatMessages writes the context. Instructions and developer messages have the role system: OpenAI takes both, and
// the chat templates of open models know no developer.
func chatMessages(c *Config, r *Request) ([]chatTurn, error) {
	w := &chatWriter{}
	if in := r.Create.Instructions; in != nil && *in != "" {
		w.messages = append(w.messages, chatTurn{Role: "system", Content: quote(*in)})
	}
	for i := range r.Input {
		it := &r.Input[i]
		if it.Type == schema.KindReasoning && !c.SendReasoning {
			continue
		}
		if err := w.item(it, fmt.Sprintf("input[%d]", i)); err != nil {
			return nil, err
		}
	}
	return w.messages, nil
}

func (w *chatWriter) item(it *schema.Item, param string) error {
	switch it.Type {
	case schema.KindMessage:
		return w.message(it, param)
	case schema.KindReasoning:
		w.reasoning += reasoningText(it)
	case schema.KindFunctionCall:
		w.call(chatSaidCall{ID: it.CallID, Type: schema.ToolFunction, Function: &chatSaidFunction{it.Name, deref(it.Arguments)}})
	case schema.KindCustomCall:
		w.call(chatSaidCall{ID: it.CallID, Type: schema.ToolCustom, Custom: &chatSaidCustom{it.Name, deref(it.Input)}})
	case schema.KindFunctionOutput, schema.KindCustomOutput:
		return w.output(it, param)
	case schema.KindListTools, schema.KindApprovalRequest, schema.KindApproval:
		// The caller has made tools and calls of them: they say nothing to a model.
	default:
		return schema.Refuse(schema.CodeUnsupported, param, "items of type %.40q are not available with this model", it.Type)
	}
	return nil
}

func (w *chatWriter) message(it *schema.Item, param string) error {
	if it.Role == "assistant" {
		w.assistant(it)
		return nil
	}
	role := it.Role
	if role == "developer" {
		role = "system"
	}
	content, err := chatContent(it.Content, param+".content")
	if err != nil {
		return err
	}
	w.messages = append(w.messages, chatTurn{Role: role, Content: content})
	return nil
}

// assistant writes what was said: text and refusals, each joined.
func (w *chatWriter) assistant(it *schema.Item) {
	var refusal strings.Builder
	for _, p := range it.Content {
		refusal.WriteString(deref(p.Refusal))
	}
	m := chatTurn{Role: "assistant", Refusal: refusal.String(), ReasoningContent: w.takeReasoning()}
	if said := it.Text(); said != "" || m.Refusal == "" {
		m.Content = quote(said)
	}
	w.messages = append(w.messages, m)
}

// call adds a call to the assistant's message before it, or begins one.
func (w *chatWriter) call(c chatSaidCall) {
	if n := len(w.messages); n == 0 || w.messages[n-1].Role != "assistant" || w.reasoning != "" {
		w.messages = append(w.messages, chatTurn{Role: "assistant", ReasoningContent: w.takeReasoning()})
	}
	last := &w.messages[len(w.messages)-1]
	last.ToolCalls = append(last.ToolCalls, c)
}

func (w *chatWriter) takeReasoning() string {
	r := w.reasoning
	w.reasoning = ""
	return r
}

// output writes what a call gave. A tool's message holds text: whoever has an image to show must say so as the user.
func (w *chatWriter) output(it *schema.Item, param string) error {
	content := it.Output
	if content.Kind() != '"' {
		var parts schema.Content
		if err := json.Unmarshal(it.Output, &parts); err != nil {
			return schema.Refuse(schema.CodeInvalidValue, param+".output", "neither a string nor a list of parts")
		}
		if i := slices.IndexFunc(parts, func(p schema.Part) bool { return p.Text == nil }); i >= 0 {
			return schema.Refuse(schema.CodeUnsupported, fmt.Sprintf("%s.output[%d]", param, i),
				"parts of type %.40q are not available with this model in the output of a tool: give text, and show them in a message", parts[i].Type)
		}
		var err error
		if content, err = chatContent(parts, param+".output"); err != nil {
			return err
		}
	}
	w.messages = append(w.messages, chatTurn{Role: "tool", ToolCallID: it.CallID, Content: content})
	return nil
}

// reasoningText is what a reasoning item says: its text, or its summary where there is none.
func reasoningText(it *schema.Item) string {
	if said := it.Text(); said != "" {
		return said
	}
	var summary strings.Builder
	for _, p := range it.Summary {
		summary.WriteString(deref(p.Text))
	}
	return summary.String()
}

// chatContent writes parts: plain text as a string, which every server takes, else as a list.
func chatContent(parts schema.Content, param string) (jsontext.Value, error) {
	if plain(parts) {
		return quote((&schema.Item{Content: parts}).Text()), nil
	}
	list := make([]jsontext.Value, 0, len(parts))
	for i := range parts {
		part, err := chatPart(&parts[i], fmt.Sprintf("%s[%d]", param, i))
		if err != nil {
			return nil, err
		}
		list = append(list, part)
	}
	return json.Marshal(list)
}

func plain(parts schema.Content) bool {
	for i := range parts {
		if parts[i].Text == nil {
			return false
		}
	}
	return len(parts) < 2
}

func chatPart(p *schema.Part, param string) (jsontext.Value, error) {
	url, file := member(p.Rest, "image_url"), member(p.Rest, "file_id")
	switch {
	case p.Text != nil:
		return fmt.Appendf(nil, `{"type":"text","text":%s}`, quote(*p.Text)), nil
	case p.Type == "input_image" && url != nil:
		detail := member(p.Rest, "detail")
		if detail == nil {
			detail = jsontext.Value(`"auto"`)
		}
		return fmt.Appendf(nil, `{"type":"image_url","image_url":{"url":%s,"detail":%s}}`, url, detail), nil
	case p.Type == "input_audio":
		return fmt.Appendf(nil, `{"type":"input_audio","input_audio":%s}`, orNull(member(p.Rest, "input_audio"))), nil
	case p.Type == "input_file" && file == nil && member(p.Rest, "file_data") != nil:
		return fmt.Appendf(nil, `{"type":"file","file":{"filename":%s,"file_data":%s}}`,
			orNull(member(p.Rest, "filename")), member(p.Rest, "file_data")), nil
	}
	return nil, schema.Refuse(schema.CodeUnsupported, param, "parts of type %.40q are not available with this model in that form", p.Type)
}
