package schema

import (
	"maps"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// chaosTypes are all event types that the code knows, and some that it does not.
var chaosTypes = append(slices.Sorted(maps.Keys(memberTable)),
	"response.fancy_call.humming", "weather.changed", Keepalive, ErrorEvent)

// genChaos returns any event: every type, with ids, indexes, items and parts of which a few fit together.
func genChaos(t *rapid.T) Event {
	e := Event{
		Type:   rapid.SampledFrom(chaosTypes).Draw(t, "type"),
		ItemID: rapid.SampledFrom([]string{"", "a", "a", "b", "c"}).Draw(t, "id"),
	}
	text := rapid.SampledFrom([]string{"", "x", "xx", "{}", "{ }", "\n\n"})
	maybe := func(set func()) {
		if rapid.IntRange(0, 3).Draw(t, "set") > 0 {
			set()
		}
	}
	maybe(func() { e.OutputIndex = new(rapid.IntRange(0, 2).Draw(t, "index")) })
	maybe(func() { e.ContentIndex = new(rapid.IntRange(0, 1).Draw(t, "content index")) })
	maybe(func() { e.SummaryIndex = new(rapid.IntRange(0, 1).Draw(t, "summary index")) })
	switch traits[e.Type].role {
	case streams:
		maybe(func() { e.Delta = new(text.Draw(t, "delta")) })
	case settles:
		maybe(func() { *e.wholeText() = new(text.Draw(t, "whole")) })
	case opens, closes:
		maybe(func() { e.Part = new(genChaosPart(t)) })
	case notes:
		e.Annotation = jsontext.Value(`{"n":1}`)
	case adds, finishes:
		e.ItemID = ""
		maybe(func() { e.Item = new(genChaosItem(t)) })
	}
	if e.Type.Lifecycle() {
		e.Response = &Response{ID: "resp_2", Status: StatusCompleted}
	}
	return e
}

func genChaosPart(t *rapid.T) Part {
	kind := rapid.SampledFrom([]string{PartOutputText, PartOutputText, PartRefusal, PartReasoningText, PartSummaryText, "output_hologram", ""})
	p := NewPart(kind.Draw(t, "part"), rapid.SampledFrom([]string{"", "x", "xx"}).Draw(t, "text"))
	if rapid.Bool().Draw(t, "noted") {
		p.Annotations = []jsontext.Value{jsontext.Value(`{"n":1}`), jsontext.Value(`{"n":2}`)}
	}
	return p
}

func genChaosItem(t *rapid.T) Item {
	it := Item{
		ID:     rapid.SampledFrom([]string{"", "a", "a", "b", "c"}).Draw(t, "id"),
		Type:   rapid.SampledFrom(append(kindsOfItems, "", kindResponse, anyKind)).Draw(t, "kind"),
		Status: rapid.SampledFrom([]string{"", StatusInProgress, StatusCompleted, StatusIncomplete, StatusFailed, "odd"}).Draw(t, "status"),
		Name:   rapid.SampledFrom([]string{"", "f"}).Draw(t, "name"), ServerLabel: rapid.SampledFrom([]string{"", "dice"}).Draw(t, "label"),
		Error:  rapid.SampledFrom([]jsontext.Value{nil, null, jsontext.Value(`"e"`), jsontext.Value(`{"type":"http_error","code":1,"message":"m"}`)}).Draw(t, "error"),
		Output: rapid.SampledFrom([]jsontext.Value{nil, null, jsontext.Value(`"o"`)}).Draw(t, "output"),
		Tools:  rapid.SampledFrom([][]jsontext.Value{nil, {jsontext.Value(`{"name":"t","input_schema":{},"description":null}`)}}).Draw(t, "tools"),
	}
	if rapid.Bool().Draw(t, "arguments") {
		setArguments(&it, rapid.SampledFrom([]string{"", "x", "xx", "{}"}).Draw(t, "arguments"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "parts") {
		it.Content = append(it.Content, genChaosPart(t))
	}
	for range rapid.IntRange(0, 1).Draw(t, "summaries") {
		it.Summary = append(it.Summary, NewPart(PartSummaryText, "x"))
	}
	return it
}

// Whatever events producers send, of every type and in any order, and wherever the run is given up: nothing panics, and
// what is given out is a legal stream.
func TestSequencer_ChaosComesOutLegal(t *testing.T) {
	t.Parallel()
	created := createdEvent(t, testCommand("resp_1"))
	rapid.Check(t, func(rt *rapid.T) {
		q := NewSequencer(&State{})
		out := must(q.Push("gateway", created))(t)
		for i := range rapid.IntRange(0, 40).Draw(rt, "events") {
			if i == 3 {
				events, _ := q.Push("gateway", Event{Type: InProgress}) // what waited may be refused now
				out = append(out, events...)
			}
			events, _ := q.Push(rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "producer"), genChaos(rt))
			out = append(out, events...)
		}
		events, err := q.Abort()
		if err != nil {
			rt.Fatalf("abort: %v", err)
		}
		last, err := q.Finish(Failed, func(r *Response) { r.Error = &ResponseError{Code: CodeServer, Message: "m"} })
		if err != nil {
			rt.Fatalf("finish: %v", err)
		}
		frames := framesOf(t, append(append(out, events...), last...))
		if _, err := Fold(frames); err != nil {
			rt.Fatalf("not legal: %v\n%s", err, frames)
		}
		for producer, h := range q.held {
			if h.events != 0 || h.bytes != 0 {
				rt.Fatalf("%d events and %d bytes still count as held for %s", h.events, h.bytes, producer)
			}
		}
	})
}
