package upstream

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// messagesTurn is what one side says until the other one speaks.
type messagesTurn struct {
	Role    string         `json:"role"`
	Content []messagesPart `json:"content"`
}

const (
	roleUser      = "user"
	roleAssistant = "assistant"
	roleSystem    = "system"
	roleDeveloper = "developer"
)

// messagesWriter turns items into turns, of the user and the assistant alternately. The assistant's thoughts, words and
// calls are one turn; so are the results of those calls, which the API wants first, and what the user says with them.
//
// Instructions, and what system and developer say before anybody else does, are the system prompt. What they say later
// stays where it is said, as a system turn behind the user's: the API allows it nowhere else. At the top it would change
// the beginning of the context from one call to the next, and with it lose the prompt's cache, and the thoughts, which
// newer models take back only with the context in which they had them. Where there is no turn of the user's that it
// could follow, it is at the top nevertheless.
type messagesWriter struct {
	system []messagesPart
	turns  []messagesTurn
	late   []messagesPart // said by the system: waits for the end of the user's turn
}

// setContext writes the context.
func (b *messagesRequest) setContext(r *Request) error {
	w := &messagesWriter{}
	w.system = appendText(w.system, deref(r.Create.Instructions))
	for i := range r.Input {
		if err := w.item(&r.Input[i], fmt.Sprintf("input[%d]", i)); err != nil {
			return err
		}
	}
	w.settle()
	w.trim()
	if b.System, b.Messages = w.system, w.turns; len(b.Messages) == 0 {
		return schema.Refuse(schema.CodeUnsupported, "input", "this model answers a user's message, and there is none")
	}
	return nil
}

func (w *messagesWriter) item(it *schema.Item, param string) error {
	switch it.Type {
	case schema.KindMessage:
		return w.message(it, param)
	case schema.KindReasoning:
		if p := unseal(it); p != nil {
			w.say(roleAssistant, *p)
		}
	case schema.KindFunctionCall:
		w.say(roleAssistant, messagesPart{Type: blockTool, ID: toolID(it.CallID), Name: it.Name, Input: callInput(deref(it.Arguments))})
	case schema.KindCustomCall:
		w.say(roleAssistant, messagesPart{Type: blockTool, ID: toolID(it.CallID), Name: it.Name, Input: customCall(deref(it.Input))})
	case schema.KindFunctionOutput, schema.KindCustomOutput:
		return w.result(it, param)
	case schema.KindListTools, schema.KindApprovalRequest, schema.KindApproval:
		// The caller has made tools and calls of them: they say nothing to a model.
	default:
		return schema.Refuse(schema.CodeUnsupported, param, "items of type %.40q are not available with this model", it.Type)
	}
	return nil
}

func (w *messagesWriter) message(it *schema.Item, param string) error {
	if it.Role == roleAssistant {
		for _, p := range it.Content {
			w.say(roleAssistant, appendText(nil, deref(p.Text)+deref(p.Refusal))...)
		}
		return nil
	}
	parts, err := messagesParts(it.Content, param+".content")
	switch {
	case err != nil:
		return err
	case it.Role == roleUser:
		w.say(roleUser, parts...)
	case len(w.turns) == 0:
		w.system = append(w.system, parts...)
	default:
		w.late = append(w.late, parts...)
	}
	return nil
}

// say adds to the turn of that role, or begins one.
func (w *messagesWriter) say(role string, parts ...messagesPart) {
	if len(parts) == 0 {
		return
	}
	if role == roleAssistant {
		w.settle()
	}
	if w.role() != role {
		w.turns = append(w.turns, messagesTurn{Role: role})
	}
	last := &w.turns[len(w.turns)-1]
	last.Content = append(last.Content, parts...)
}

// role is whose turn it is.
func (w *messagesWriter) role() string {
	if len(w.turns) == 0 {
		return ""
	}
	return w.turns[len(w.turns)-1].Role
}

// settle places what the system has said since the assistant spoke.
func (w *messagesWriter) settle() {
	switch {
	case len(w.late) == 0:
		return
	case w.role() == roleUser:
		w.turns = append(w.turns, messagesTurn{roleSystem, w.late})
	default:
		w.system = append(w.system, w.late...)
	}
	w.late = nil
}

// trim takes the white space off the end of a context that ends with the assistant's words, as the API demands.
func (w *messagesWriter) trim() {
	if w.role() != roleAssistant {
		return
	}
	content := w.turns[len(w.turns)-1].Content
	last := &content[len(content)-1]
	last.Text = strings.TrimRight(last.Text, " \t\r\n")
}

// result adds what a call gave, behind the results that are there, before all else that the user says.
func (w *messagesWriter) result(it *schema.Item, param string) error {
	parts := schema.Content{{Type: schema.PartInputText, Text: new(text(it.Output))}}
	if it.Output.Kind() != '"' && json.Unmarshal(it.Output, &parts) != nil {
		return schema.Refuse(schema.CodeInvalidValue, param+".output", "neither a string nor a list of parts")
	}
	content, err := messagesParts(parts, param+".output")
	if err != nil {
		return err
	}
	w.say(roleUser, messagesPart{Type: blockResult, ToolUseID: toolID(it.CallID), Content: content})
	said := w.turns[len(w.turns)-1].Content
	for i := len(said) - 1; i > 0 && said[i-1].Type != blockResult; i-- {
		said[i-1], said[i] = said[i], said[i-1]
	}
	return nil
}

// toolID gives a call an id that the API takes: its own, or one that is made of it if another upstream has used
// characters that are not allowed.
func toolID(id string) string {
	if strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" && id != "" {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("call_%x", sum[:12])
}

// callInput is the arguments of a call, which the API wants as an object. Models write others, now and then; then the
// model is shown what it wrote.
func callInput(arguments string) jsontext.Value {
	if strings.TrimSpace(arguments) == "" {
		return jsontext.Value("{}")
	}
	object, err := mend(jsontext.Value(arguments))
	if err != nil || object.Kind() != '{' {
		return fmt.Appendf(nil, `{"arguments":%s}`, quote(arguments))
	}
	return object
}
