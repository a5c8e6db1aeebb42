package upstream

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// messagesThinking is how a model is to reason. Models since Claude 4.6 take adaptive and refuse enabled, earlier ones
// the other way round; no list of names is kept here. Adaptive is asked for, and a model that refuses it is asked again
// with a budget: see relentMessages.
type messagesThinking struct {
	Type    string `json:"type"`
	Display string `json:"display,omitzero"`
	Budget  int64  `json:"budget_tokens,omitzero"`
}

const (
	thinkAdaptive = "adaptive"
	thinkBudget   = "enabled"
	thinkOff      = "disabled"
)

// efforts is what reasoning.effort comes to. The level is output_config.effort, with adaptive thinking; the budget is
// the most tokens that an earlier model may think, of which max_tokens leaves it half at most. Effort none turns
// thinking off, and without an effort the model does as it does by default, but for reasoning.summary, which asks for
// thinking that can be summarized.
var efforts = map[string]struct {
	level  string
	budget int64
}{
	"minimal": {"low", minBudget},
	"low":     {"low", 2 << 10},
	"":        {"", 8 << 10}, // a summary without an effort
	"medium":  {"medium", 8 << 10},
	"high":    {"high", 16 << 10},
	"xhigh":   {"xhigh", 24 << 10},
	"max":     {"max", 32 << 10},
}

// minBudget is the least that the API takes.
const minBudget = 1 << 10

// setThinking asks for what reasoning says. Models that think take no temperature and no forced call; a request that
// wants both is refused here, since leaving one out would make it another request.
func (b *messagesRequest) setThinking(reasoning jsontext.Value) error {
	effort := text(member(reasoning, "effort"))
	summary := member(reasoning, "summary") != nil || member(reasoning, "generate_summary") != nil
	asked, known := efforts[effort]
	switch {
	case effort == "none":
		b.Thinking = &messagesThinking{Type: thinkOff}
		b.forget() // a model that does not think may refuse what it thought
		return nil
	case effort == "" && !summary:
		return nil
	case !known:
		return schema.Refuse(schema.CodeInvalidValue, "reasoning.effort", "'reasoning.effort' %.40q is not available with this model", effort)
	}
	b.Thinking, b.budget = &messagesThinking{Type: thinkAdaptive}, asked.budget
	b.OutputConfig.Effort = asked.level
	if summary {
		b.Thinking.Display = "summarized" // newer models leave it out unless asked
	}
	return b.refuseBesideThinking()
}

func (b *messagesRequest) refuseBesideThinking() error {
	var param string
	switch {
	case b.Temperature != nil:
		param = "temperature"
	case b.TopP != nil && *b.TopP < 0.95:
		param = "top_p"
	case b.forces():
		param = "tool_choice"
	default:
		return nil
	}
	return schema.Refuse(schema.CodeUnsupported, param,
		"this value of '%s' is not available with this model together with 'reasoning': leave out one of them, or set 'reasoning.effort' to none", param)
}

// think turns to a budget if the model knows no adaptive thinking. It goes without thinking where such a model cannot:
// within so few tokens, and in the midst of calls that were made without a thought.
func (b *messagesRequest) think() bool {
	if b.Thinking == nil || b.Thinking.Type != thinkAdaptive {
		return false
	}
	b.OutputConfig.Effort = ""
	b.Thinking = &messagesThinking{Type: thinkBudget, Budget: max(min(b.budget, b.MaxTokens/2), minBudget)}
	if b.MaxTokens <= minBudget || b.thoughtless() {
		b.Thinking = nil
	}
	return true
}

// thoughtless reports whether the last turn of the assistant's makes calls and does not begin with a thought.
func (b *messagesRequest) thoughtless() bool {
	for i := len(b.Messages) - 1; i >= 0; i-- {
		if m := &b.Messages[i]; m.Role == roleAssistant {
			first, last := m.Content[0], m.Content[len(m.Content)-1]
			return last.Type == blockTool && !first.thought()
		}
	}
	return false
}

// forget leaves out what was thought before.
func (b *messagesRequest) forget() (changed bool) {
	var kept []messagesTurn
	for _, m := range b.Messages {
		rest := []messagesPart{}
		for _, p := range m.Content {
			if !p.thought() {
				rest = append(rest, p)
			}
		}
		changed = changed || len(rest) < len(m.Content)
		if len(rest) > 0 {
			kept = append(kept, messagesTurn{m.Role, rest})
		}
	}
	b.Messages = kept
	if b.Thinking != nil && b.Thinking.Type == thinkBudget && b.thoughtless() {
		b.Thinking = nil
	}
	return changed
}

// sealMark begins the encrypted_content of reasoning that is this dialect's. What follows is the number of this form,
// the kind of the block, and its signature or data as it came, each behind a dot: messages.1.thinking.EqQB…. A thought
// is only of use to the model, or the account, that had it, and most upstreams fail a request that holds another's: so
// no dialect gives one back that is not its own.
const sealMark = "messages."

// sealForm is sealMark and the number of the form.
const sealForm = sealMark + "1."

// seal returns the encrypted_content of a block; "" for one that cannot be given back.
func seal(kind, secret string) string {
	if secret == "" {
		return ""
	}
	return sealForm + kind + "." + secret
}

// unseal returns the block that a reasoning item was; nil if it was none of this dialect, or was cut short.
func unseal(it *schema.Item) *messagesPart {
	rest, ours := strings.CutPrefix(deref(it.EncryptedContent), sealForm)
	kind, secret, _ := strings.Cut(rest, ".")
	switch {
	case !ours || secret == "":
		return nil
	case kind == blockThinking:
		return &messagesPart{Type: kind, Thinking: new(reasoningText(it)), Signature: secret}
	case kind == blockRedacted:
		return &messagesPart{Type: kind, Data: secret}
	}
	return nil
}
