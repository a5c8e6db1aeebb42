package upstream

import "strings"

// relentMessages makes do without what a model does not know. Which models know what is in no API, changes with every
// release, and is told by a refusal that costs little; so the newest form is tried first, and each of these goes back to
// what an earlier one takes. All keep what the caller asked for, as far as the model can; none is done twice.
//
//	refused                                    instead
//	role "system" within the messages          its text goes to the top, behind the other instructions
//	adaptive thinking, or effort with it       thinking with a budget, from the table of efforts
//	a thought that is not bound to this        no earlier thoughts: they help a model to go on, but what it said then,
//	context, model or account                  and what it called, is there without them
//	the assistant's own words at the end       a request to go on with them, in a user's turn: a call that was cut is made
//	                                           again with what was said by then
func relentMessages(body any, r *refusal) bool {
	b, ok := body.(*messagesRequest)
	if !ok {
		return false
	}
	says := func(all ...string) bool {
		for _, words := range all {
			if !strings.Contains(r.message, words) {
				return false
			}
		}
		return true
	}
	switch {
	case says("role", "system"):
		return b.hoist()
	case says("adaptive"), says("effort parameter"):
		return b.think()
	case says("thinking", "signature"), says("thinking", "cannot be modified"):
		return b.forget()
	case says("prefill"), says("end with a user message"):
		return b.askToGoOn()
	}
	return false
}

// hoist puts what the system says in the midst to the top.
func (b *messagesRequest) hoist() (changed bool) {
	var kept []messagesTurn
	for _, m := range b.Messages {
		if m.Role == roleSystem {
			b.System, changed = append(b.System, m.Content...), true
			continue
		}
		kept = append(kept, m)
	}
	b.Messages = kept
	return changed
}

const goOn = "Your answer was cut off. Go on exactly where it stopped, and repeat nothing of it."

func (b *messagesRequest) askToGoOn() bool {
	if n := len(b.Messages); n == 0 || b.Messages[n-1].Role != roleAssistant {
		return false
	}
	b.Messages = append(b.Messages, messagesTurn{roleUser, []messagesPart{{Type: blockText, Text: goOn}}})
	return true
}
