package schema

import "strings"

// A Rule is one step of the canonical order: in place From of an item of kind Kind, event On leads to place To. An event
// that no rule names for the place is out of order.
//
// Fill marks an event that the Sequencer may write itself, because all that it says follows from the place: it repairs
// a producer that leaves it out.
type Rule struct {
	Kind string
	From Place
	On   Step
	To   Place
	Fill bool
}

// Place is where a response, or an item of it, stands between two events.
type Place string

// Step is an event type as the rules see it; a content part's event is told apart by the part's type.
type Step string

// The places that the code asks for by name.
const (
	start  Place = ""       // before output_item.added
	inItem Place = "item"   // added, no part open
	closed Place = "closed" // after output_item.done
)

// kindResponse is the pseudo kind of the lifecycle; anyKind holds for items whose inner order is their upstream's.
const (
	kindResponse = "response"
	anyKind      = "*"
)

func part(t EventType, kind string) Step { return Step(string(t) + "(" + kind + ")") }

// rules is the canonical order (reference: OpenAI Responses API; LiteLLM pull request 22286 broke its first lines).
// docs/canonical-order.md is printed from it.
var rules = []Rule{
	{kindResponse, "", Step(Created), "created", false},
	{kindResponse, "created", Step(Queued), "queued", false},
	{kindResponse, "created", Step(InProgress), "running", false},
	{kindResponse, "queued", Step(InProgress), "running", false},
	{kindResponse, "running", Step(Completed), "ended", false},
	{kindResponse, "running", Step(Incomplete), "ended", false},
	{kindResponse, "running", Step(Failed), "ended", false},
	{kindResponse, "queued", Step(Failed), "ended", false},
	{kindResponse, "created", Step(Failed), "ended", false},

	{KindMessage, start, Step(ItemAdded), inItem, true},
	{KindMessage, inItem, part(PartAdded, PartOutputText), "text", true},
	{KindMessage, "text", Step(TextDelta), "text", false},
	{KindMessage, "text", Step(TextAnnotation), "text", false},
	{KindMessage, "text", Step(TextDone), "text done", true},
	{KindMessage, "text done", part(PartDone, PartOutputText), inItem, true},
	{KindMessage, inItem, part(PartAdded, PartRefusal), "refusal", true},
	{KindMessage, "refusal", Step(RefusalDelta), "refusal", false},
	{KindMessage, "refusal", Step(RefusalDone), "refusal done", true},
	{KindMessage, "refusal done", part(PartDone, PartRefusal), inItem, true},
	{KindMessage, inItem, Step(ItemDone), closed, false},

	{KindReasoning, start, Step(ItemAdded), inItem, true},
	{KindReasoning, inItem, Step(SummaryAdded), "summary", true},
	{KindReasoning, "summary", Step(SummaryDelta), "summary", false},
	{KindReasoning, "summary", Step(SummaryTextDone), "summary done", true},
	{KindReasoning, "summary done", Step(SummaryDone), inItem, true},
	{KindReasoning, inItem, part(PartAdded, PartReasoningText), "reasoning", true},
	{KindReasoning, "reasoning", Step(ReasoningDelta), "reasoning", false},
	{KindReasoning, "reasoning", Step(ReasoningDone), "reasoning done", true},
	{KindReasoning, "reasoning done", part(PartDone, PartReasoningText), inItem, true},
	{KindReasoning, inItem, Step(ItemDone), closed, false},

	{KindFunctionCall, start, Step(ItemAdded), inItem, true},
	{KindFunctionCall, inItem, Step(FunctionDelta), "arguments", false},
	{KindFunctionCall, "arguments", Step(FunctionDelta), "arguments", false},
	{KindFunctionCall, inItem, Step(FunctionDone), "arguments done", true},
	{KindFunctionCall, "arguments", Step(FunctionDone), "arguments done", true},
	{KindFunctionCall, "arguments done", Step(ItemDone), closed, false},

	{KindCustomCall, start, Step(ItemAdded), inItem, true},
	{KindCustomCall, inItem, Step(CustomDelta), "input", false},
	{KindCustomCall, "input", Step(CustomDelta), "input", false},
	{KindCustomCall, inItem, Step(CustomDone), "input done", true},
	{KindCustomCall, "input", Step(CustomDone), "input done", true},
	{KindCustomCall, "input done", Step(ItemDone), closed, false},

	{KindListTools, start, Step(ItemAdded), inItem, true},
	{KindListTools, inItem, Step(ListInProgress), "listing", true},
	{KindListTools, "listing", Step(ListCompleted), "listed", true},
	{KindListTools, "listing", Step(ListFailed), "list failed", true},
	{KindListTools, "listed", Step(ItemDone), closed, false},
	{KindListTools, "list failed", Step(ItemDone), closed, false},

	{KindMCPCall, start, Step(ItemAdded), inItem, true},
	{KindMCPCall, inItem, Step(CallInProgress), "arguments", true},
	{KindMCPCall, "arguments", Step(CallDelta), "arguments", false},
	{KindMCPCall, "arguments", Step(CallArguments), "calling", true},
	{KindMCPCall, "calling", Step(CallCompleted), "called", true},
	{KindMCPCall, "calling", Step(CallFailed), "call failed", true},
	{KindMCPCall, "called", Step(ItemDone), closed, false},
	{KindMCPCall, "call failed", Step(ItemDone), closed, false},

	{KindApprovalRequest, start, Step(ItemAdded), inItem, true},
	{KindApprovalRequest, inItem, Step(ItemDone), closed, false},

	{anyKind, start, Step(ItemAdded), inItem, true},
	{anyKind, inItem, Step(ItemDone), closed, false},
}

// Rules returns a copy of the table, for documentation and checkers.
func Rules() []Rule { return append([]Rule(nil), rules...) }

var (
	byPlace = map[string]map[Place][]Rule{} // kind → place → rules
	known   = map[EventType]string{}        // event type → kind of item that it belongs to, where only one has it
)

func init() {
	for _, r := range rules {
		if byPlace[r.Kind] == nil {
			byPlace[r.Kind] = map[Place][]Rule{}
		}
		byPlace[r.Kind][r.From] = append(byPlace[r.Kind][r.From], r)
		t := EventType(r.On)
		if i := strings.IndexByte(string(r.On), '('); i >= 0 {
			t = EventType(r.On[:i])
		}
		if _, twice := known[t]; twice && known[t] != r.Kind {
			known[t] = ""
			continue
		}
		known[t] = r.Kind
	}
}

// tabled returns the kind under which the table knows an item.
func tabled(kind string) string {
	if _, ok := byPlace[kind]; ok && kind != kindResponse {
		return kind
	}
	return anyKind
}

// step returns an event as the rules see it.
func step(e *Event) Step {
	if (e.Type == PartAdded || e.Type == PartDone) && e.Part != nil {
		return part(e.Type, e.Part.Type)
	}
	return Step(e.Type)
}

// next returns the place behind a step, and whether the table allows the step at all. An event type that the table
// does not know is an upstream's own: it stays where it is.
func next(kind string, from Place, e *Event) (Place, bool) {
	for _, r := range byPlace[kind][from] {
		if r.On == step(e) {
			return r.To, true
		}
	}
	if _, tabled := known[e.Type]; tabled || from == start || from == closed {
		return from, false
	}
	return from, true
}

// path returns the shortest way of fillable rules from a place to one where step is allowed, leaving out the rules that
// avoid names; nil and true if it is allowed at once.
func path(kind string, from Place, to Step, avoid func(Rule) bool) ([]Rule, bool) {
	type way struct {
		at    Place
		rules []Rule
	}
	seen := map[Place]bool{from: true}
	for queue := []way{{at: from}}; len(queue) > 0; queue = queue[1:] {
		w := queue[0]
		for _, r := range byPlace[kind][w.at] {
			if r.On == to {
				return w.rules, true
			}
			if r.Fill && !seen[r.To] && !avoid(r) {
				seen[r.To] = true
				queue = append(queue, way{r.To, append(w.rules[:len(w.rules):len(w.rules)], r)})
			}
		}
	}
	return nil, false
}
