package schema

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// script is what one producer says of one item: canonical events, under the producer's own id and index.
type script struct {
	mark   string // in the item's Rest, so that it can be told apart on the wire
	events []Event
	want   Item // the item that the client must be given, its id aside
}

// snippets are what text is made of: whatever could forge a line, an event or an escape.
var snippets = []string{
	"a", "Danube ", "\n", "\r", "\n\nevent: fake\ndata: {}\nid: 7\n\n", "\u2028", "\u2029", "\x00", "\x1b[31m", "\"", "\\", "é",
	"😀", "\ufeff", "\u0085", "data: [DONE]\n\n", "</script>", "\uffff",
}

func genText(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(snippets), 0, 5).Draw(t, label), "")
}

// genDeltas cuts a text in pieces between its runes.
func genDeltas(t *rapid.T, text string) []string {
	var deltas []string
	var piece strings.Builder
	for _, r := range text {
		if piece.WriteRune(r); rapid.Bool().Draw(t, "cut") {
			deltas = append(deltas, piece.String())
			piece.Reset()
		}
	}
	if piece.Len() > 0 {
		deltas = append(deltas, piece.String())
	}
	return deltas
}

// writer writes the events of one item.
type writer struct {
	t      *rapid.T
	id     string
	index  int
	events []Event
}

func (w *writer) add(e Event) {
	e.OutputIndex = new(w.index)
	if e.Item == nil {
		e.ItemID = w.id
	}
	w.events = append(w.events, e)
}

func (w *writer) deltas(t EventType, text string, at func(*Event)) {
	for _, d := range genDeltas(w.t, text) {
		e := Event{Type: t, Delta: &d}
		at(&e)
		w.add(e)
	}
}

var kindsOfItems = []string{
	KindMessage, KindReasoning, KindFunctionCall, KindCustomCall, KindListTools, KindMCPCall, KindApprovalRequest,
	"web_search_call", "fancy_call",
}

func genScript(t *rapid.T, producer string, n int) script {
	kind := rapid.SampledFrom(kindsOfItems).Draw(t, "kind")
	w := &writer{t: t, id: fmt.Sprintf("%s_local%d", producer, n), index: n}
	s := script{mark: fmt.Sprintf("%s.%d", producer, n)}
	final := Item{ID: w.id, Type: kind, Rest: jsontext.Value(`{"mark":"` + s.mark + `"}`)}
	switch kind {
	case KindMessage:
		w.message(&final)
	case KindReasoning:
		w.reasoning(&final)
	case KindFunctionCall:
		final.CallID, final.Name = "call_1", "f"
		w.call(&final, FunctionDelta, FunctionDone)
	case KindCustomCall:
		final.CallID, final.Name = "call_2", "c"
		w.call(&final, CustomDelta, CustomDone)
	case KindListTools:
		w.list(&final)
	case KindMCPCall:
		w.mcpCall(&final)
	case KindApprovalRequest:
		final.Name, final.ServerLabel, final.Arguments = "roll", "dice", new("{}")
		w.add(Event{Type: ItemAdded, Item: new(final)})
	default:
		w.hosted(&final)
	}
	w.add(Event{Type: ItemDone, Item: new(final)})
	s.events, s.want = w.events, final
	s.want.ID = ""
	return s
}

func (w *writer) message(it *Item) {
	it.Role, it.Status, it.Content = "assistant", StatusInProgress, Content{}
	w.add(Event{Type: ItemAdded, Item: new(*it)})
	for i := range rapid.IntRange(0, 3).Draw(w.t, "parts") {
		at := func(e *Event) { e.ContentIndex = &i }
		switch rapid.IntRange(0, 3).Draw(w.t, "part") {
		case 0:
			it.Content = append(it.Content, w.plainPart(PartRefusal, RefusalDelta, RefusalDone, at))
		case 1:
			p := Part{Type: "output_hologram", Rest: jsontext.Value(`{"depth":3}`)}
			w.add(Event{Type: PartAdded, ContentIndex: &i, Part: &Part{Type: p.Type}})
			w.add(Event{Type: PartDone, ContentIndex: &i, Part: new(p)})
			it.Content = append(it.Content, p)
		default:
			it.Content = append(it.Content, w.textPart(at))
		}
	}
	it.Status = rapid.SampledFrom([]string{StatusCompleted, StatusIncomplete}).Draw(w.t, "status")
}

func (w *writer) textPart(at func(*Event)) Part {
	p := NewPart(PartOutputText, "")
	added := Event{Type: PartAdded, Part: new(p)}
	at(&added)
	w.add(added)
	text := genText(w.t, "text")
	w.deltas(TextDelta, text, func(e *Event) { at(e); e.Logprobs = []jsontext.Value{} })
	for i := range rapid.IntRange(0, 2).Draw(w.t, "notes") {
		note := jsontext.Value(fmt.Sprintf(`{"type":"url_citation","n":%d}`, i))
		e := Event{Type: TextAnnotation, AnnotationIndex: &i, Annotation: note}
		at(&e)
		w.add(e)
		p.Annotations = append(p.Annotations, note)
	}
	p.setContent(text)
	w.endPart(TextDone, PartDone, p, at)
	return p
}

func (w *writer) plainPart(kind string, delta, whole EventType, at func(*Event)) Part {
	opener, closer := PartAdded, PartDone
	if kind == PartSummaryText {
		opener, closer = SummaryAdded, SummaryDone
	}
	added := Event{Type: opener, Part: new(NewPart(kind, ""))}
	at(&added)
	w.add(added)
	text := genText(w.t, "text")
	w.deltas(delta, text, at)
	p := NewPart(kind, text)
	w.endPart(whole, closer, p, at)
	return p
}

func (w *writer) endPart(whole, closer EventType, p Part, at func(*Event)) {
	e := Event{Type: whole}
	*e.wholeText() = new(p.content())
	at(&e)
	if whole == TextDone {
		e.Logprobs = []jsontext.Value{}
	}
	w.add(e)
	e = Event{Type: closer, Part: new(p)}
	at(&e)
	w.add(e)
}

func (w *writer) reasoning(it *Item) {
	it.Status, it.Summary = StatusInProgress, []Part{}
	w.add(Event{Type: ItemAdded, Item: new(*it)})
	for i := range rapid.IntRange(0, 2).Draw(w.t, "summaries") {
		it.Summary = append(it.Summary,
			w.plainPart(PartSummaryText, SummaryDelta, SummaryTextDone, func(e *Event) { e.SummaryIndex = &i }))
	}
	for i := range rapid.IntRange(0, 2).Draw(w.t, "contents") {
		it.Content = append(it.Content,
			w.plainPart(PartReasoningText, ReasoningDelta, ReasoningDone, func(e *Event) { e.ContentIndex = &i }))
	}
	it.Status, it.EncryptedContent = StatusCompleted, new("s3cret")
}

func (w *writer) call(it *Item, delta, whole EventType) {
	it.Status = StatusInProgress
	setArguments(it, "")
	w.add(Event{Type: ItemAdded, Item: new(*it)})
	w.arguments(it, delta, whole)
	it.Status = StatusCompleted
}

func (w *writer) arguments(it *Item, delta, whole EventType) {
	setArguments(it, `{"q":"`+strings.Repeat("Danube ", rapid.IntRange(0, 3).Draw(w.t, "length"))+`"}`)
	w.deltas(delta, itemArguments(it), func(*Event) {})
	e := Event{Type: whole}
	*e.wholeText() = new(itemArguments(it))
	w.add(e)
}

func (w *writer) list(it *Item) {
	it.ServerLabel, it.Tools = "dice", []jsontext.Value{}
	w.add(Event{Type: ItemAdded, Item: new(*it)})
	w.add(Event{Type: ListInProgress})
	if rapid.Bool().Draw(w.t, "fails") {
		it.Error = jsontext.Value(`"unreachable"`)
		w.add(Event{Type: ListFailed})
		return
	}
	it.Tools = []jsontext.Value{jsontext.Value(`{"name":"roll","input_schema":{"type":"object"}}`)}
	w.add(Event{Type: ListCompleted})
}

func (w *writer) mcpCall(it *Item) {
	it.ServerLabel, it.Name, it.Status = "dice", "roll", StatusInProgress
	it.Arguments, it.Output, it.Error, it.ApprovalRequestID = new(""), null, null, null
	w.add(Event{Type: ItemAdded, Item: new(*it)})
	w.add(Event{Type: CallInProgress})
	w.arguments(it, CallDelta, CallArguments)
	if rapid.Bool().Draw(w.t, "fails") {
		it.Status, it.Error = StatusFailed, jsontext.Value(`{"type":"http_error","code":502,"message":"gone"}`)
		w.add(Event{Type: CallFailed})
		return
	}
	it.Status, it.Output = StatusCompleted, jsontext.Value(`"4"`)
	w.add(Event{Type: CallCompleted})
}

// hosted is an item whose inner order only its upstream knows.
func (w *writer) hosted(it *Item) {
	it.Status = StatusInProgress
	w.add(Event{Type: ItemAdded, Item: new(*it)})
	for range rapid.IntRange(0, 3).Draw(w.t, "events") {
		w.add(Event{Type: EventType("response." + it.Type + ".searching"), Rest: jsontext.Value(`{"deep":true}`)})
	}
	it.Status = StatusCompleted
}

// program is what one producer says, in its order: items of its own, whose events may interleave as those of tools that
// run in parallel do.
type program struct {
	producer string
	scripts  []script
	events   []Event
}

func genProgram(t *rapid.T, producer string) program {
	p := program{producer: producer}
	parallel := rapid.Bool().Draw(t, "parallel")
	var queues [][]Event
	for n := range rapid.IntRange(0, 3).Draw(t, "items") {
		s := genScript(t, producer, n)
		p.scripts = append(p.scripts, s)
		queues = append(queues, s.events)
	}
	p.events = interleave(t, queues, parallel)
	return p
}

// interleave merges queues into one, each in its own order; one after the other unless they run in parallel.
func interleave(t *rapid.T, queues [][]Event, parallel bool) []Event {
	var out []Event
	for open := nonEmpty(queues); len(open) > 0; open = nonEmpty(queues) {
		i := open[0]
		if parallel {
			i = rapid.SampledFrom(open).Draw(t, "next")
		}
		out, queues[i] = append(out, queues[i][0]), queues[i][1:]
	}
	return out
}

func nonEmpty[T any](queues [][]T) (open []int) {
	for i := range queues {
		if len(queues[i]) > 0 {
			open = append(open, i)
		}
	}
	return open
}

// pushed is one event on its way into a sequencer.
type pushed struct {
	producer string
	event    Event
}

// genFeed interleaves the lifecycle and several producers' programs at random.
func genFeed(t *rapid.T, created Event, programs []program) []pushed {
	queues := [][]pushed{{{"gateway", created}, {"gateway", Event{Type: InProgress}}}}
	for _, p := range programs {
		var q []pushed
		for _, e := range p.events {
			q = append(q, pushed{p.producer, e})
		}
		queues = append(queues, q)
	}
	var feed []pushed
	for open := nonEmpty(queues); len(open) > 0; open = nonEmpty(queues) {
		i := rapid.SampledFrom(open).Draw(t, "producer")
		feed, queues[i] = append(feed, queues[i][0]), queues[i][1:]
	}
	return feed
}

func genPrograms(t *rapid.T) (programs []program) {
	for i := range rapid.IntRange(1, 3).Draw(t, "producers") {
		programs = append(programs, genProgram(t, fmt.Sprintf("p%d", i)))
	}
	return programs
}
