package schema

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// settleText brings a done event's text in front of it, as far as it was not streamed, and makes the event say what
// was: the client has seen it, so it is the truth.
func (b *burst) settleText(e *Event) {
	o := b.q.state.open
	if traits[e.Type].role == closes {
		if e.Part == nil {
			b.fail(refuse(e, lawMembers, "no part in it"))
			return
		}
		b.rest(e.Part.Type, e.Part.content())
		if o.part == nil { // a part of which nothing came before
			b.openPart(e.Part.Type)
		}
		if o.part != nil && o.part.Type == e.Part.Type {
			e.Part = o.wholePart(*e.Part)
		}
		return
	}
	whole := e.whole()
	if streamsArguments(o.rules) {
		b.arguments(whole)
	} else {
		b.rest(traits[e.Type].part, deref(whole, ""))
	}
	text := string(o.text)
	*e.wholeText() = &text
}

// rest streams what of whole has not been streamed yet into the open part of that type, or a new one. Where the two
// differ, what was streamed stands.
func (b *burst) rest(part, whole string) {
	o := b.q.state.open
	if !textual(part) || b.err != nil {
		return
	}
	missing, ok := strings.CutPrefix(whole, string(o.text))
	if !ok && whole != "" {
		b.q.overruled++
	}
	if !ok || missing == "" {
		return
	}
	delta := Event{Type: deltaOf[part], Delta: &missing}
	if o.part == nil {
		b.openPart(part)
	}
	if _, open := next(o.rules, o.place, &delta); open {
		b.apply(delta)
	}
}

// openPart opens a part of that type.
func (b *burst) openPart(kind string) {
	opener := Event{Type: PartAdded}
	if kind == PartSummaryText {
		opener.Type = SummaryAdded
	}
	opener.Part = emptied(opener.Type, &Part{Type: kind})
	b.apply(opener)
}

// arguments streams what of a call's arguments has not been streamed yet. Here a difference is no trifle: somebody will
// run them.
func (b *burst) arguments(whole *string) {
	o := b.q.state.open
	if whole == nil || *whole == string(o.text) || b.err != nil {
		return
	}
	missing, ok := strings.CutPrefix(*whole, string(o.text))
	delta := Event{Type: deltaOf[o.rules], Delta: &missing}
	if o.place == inItem && o.rules == KindMCPCall {
		b.apply(Event{Type: CallInProgress})
	}
	if _, open := next(o.rules, o.place, &delta); ok && open {
		b.apply(delta)
		return
	}
	if !sameValue(*whole, string(o.text)) {
		b.fail(refuse(&delta, lawText, "arguments differ from their deltas"))
	}
}

// sameValue reports whether two texts are the same JSON value, written in two ways.
func sameValue(a, b string) bool {
	x, y := plain(jsontext.Value(a)), plain(jsontext.Value(b))
	return x != nil && bytes.Equal(x, y)
}

// plain returns a value without spaces, its members in order and its numbers as they are; nil for what is no JSON.
func plain(v jsontext.Value) jsontext.Value {
	v = v.Clone()
	if v.Format(jsontext.ReorderRawObjects(true)) != nil {
		return nil
	}
	return v
}

// closePart closes the open part, in the final form p.
func (b *burst) closePart(p Part) {
	o := b.q.state.open
	b.rest(p.Type, p.content())
	done := Event{Type: PartDone, Part: o.wholePart(p)}
	if p.Type == PartSummaryText {
		done.Type = SummaryDone
	}
	if way, ok := path(o.rules, o.place, step(&done), func(Rule) bool { return false }); ok {
		for _, r := range way {
			b.apply(o.derive(r.On))
		}
	}
	b.apply(done)
}

// finalPart returns the open part as the finished item has it, or as it was opened.
func (o *openItem) finalPart(it *Item) Part {
	if it != nil {
		parts, n := []Part(it.Content), len(o.parts)
		if o.part.Type == PartSummaryText {
			parts, n = it.Summary, len(o.summaries)
		}
		if n < len(parts) && parts[n].Type == o.part.Type {
			return parts[n]
		}
	}
	return *o.part
}

// settle streams what the finished item holds and its events did not bring, and makes the item say what was added and
// streamed.
func (b *burst) settle(l *line, e *Event) {
	o := b.q.state.open
	it := *e.Item
	e.Item = &it
	switch {
	case o.rules == KindApprovalRequest:
		it = o.item
	case o.rules == KindMessage, o.rules == KindReasoning:
		b.settleParts(&it)
	case streamsArguments(o.rules):
		b.arguments(*it.arguments())
		setArguments(&it, string(o.text))
	}
	if o.rules == anyKind {
		return
	}
	it.ID, it.Role, it.Name, it.CallID, it.ServerLabel = o.item.ID, o.item.Role, o.item.Name, o.item.CallID, o.item.ServerLabel
	if isNull(it.ApprovalRequestID) {
		it.ApprovalRequestID = o.item.ApprovalRequestID
	}
	settleOutcome(&it, l.failed, o.place)
	dress(&it)
}

func (b *burst) settleParts(it *Item) {
	o := b.q.state.open
	if o.part != nil {
		b.closePart(o.finalPart(it))
	}
	if o.rules == KindReasoning {
		b.addParts(it.Summary, len(o.summaries))
		it.Summary = o.summaries
	}
	b.addParts(it.Content, len(o.parts))
	it.Content = o.parts
}

// addParts streams the parts from the n-th on.
func (b *burst) addParts(parts []Part, n int) {
	for i := n; i < len(parts) && b.err == nil; i++ {
		b.openPart(parts[i].Type)
		if b.q.state.open.part != nil {
			b.closePart(parts[i])
		}
	}
}

// settleOutcome gives a finished item a final status: an error makes it failed, whatever its producer called it. What a
// log has shown as done before a takeover stays so.
func settleOutcome(it *Item, failed bool, at Place) {
	if it.Status != StatusIncomplete && it.Status != StatusFailed {
		it.Status = StatusCompleted
	}
	failed = failed || at == listFailed || at == callFailed
	switch it.Type {
	case KindListTools:
		if failed && isNull(it.Error) {
			it.Error = jsontext.Value(`"the tool list failed"`)
		}
	case KindMCPCall:
		it.Error = errorObject(it.Error)
		if !isNull(it.Error) || failed && it.Status != StatusIncomplete {
			it.Status = StatusFailed
		}
		if it.Status == StatusFailed && isNull(it.Error) {
			it.Error = jsontext.Value(`{"type":"mcp_tool_execution_error","content":"the tool failed"}`)
		}
	}
	if at == called && it.Failed() {
		it.Status, it.Error = StatusIncomplete, nil
	}
}

// errorObject gives an mcp_call's error the API's shape: it was a string once.
func errorObject(v jsontext.Value) jsontext.Value {
	if isNull(v) || v.Kind() == '{' {
		return v
	}
	return jsontext.Value(`{"type":"mcp_tool_execution_error","content":` + string(v) + `}`)
}

// cut ends the item that holds the wire, or would, with what is there of it.
func (b *burst) cut(l *line) {
	b.open(l, &Event{})
	if b.err != nil || b.q.state.open == nil {
		return
	}
	o := b.q.state.open
	it := o.snapshot()
	it.Status = o.cutStatus()
	if o.rules == KindListTools && o.place != listed {
		it.Error = jsontext.Value(`"the tool list was cut off"`)
	}
	e := Event{Type: ItemDone, Item: &it}
	b.settle(l, &e)
	b.fill(&e)
	b.apply(e)
}

// cutStatus returns what the API calls an item that was cut off. Two hosted kinds know no incomplete.
func (o *openItem) cutStatus() string {
	switch {
	case o.item.Type == "web_search_call", o.item.Type == "image_generation_call":
		return StatusFailed
	case o.rules == anyKind && o.item.Status == "":
		return ""
	}
	return StatusIncomplete
}
