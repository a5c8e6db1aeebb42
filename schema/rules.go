package schema

import "slices"

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

	created Place = "created"
	running Place = "running"
	ended   Place = "ended"

	listed     Place = "listed"
	listFailed Place = "list failed"
	called     Place = "called"
	callFailed Place = "call failed"
)

// kindResponse is the pseudo kind of the lifecycle; anyKind holds for items whose inner order is their upstream's.
const (
	kindResponse = "response"
	anyKind      = "*"
)

// anyPart stands for the types of parts that Midstream does not know.
const anyPart = "*"

func part(t EventType, kind string) Step { return Step(string(t) + "(" + kind + ")") }

// rules is the canonical order (reference: OpenAI Responses API; LiteLLM pull request 22286 broke its first lines).
// docs/canonical-order.md is printed from it.
var rules = []Rule{
	{kindResponse, start, Step(Created), created, false},
	{kindResponse, created, Step(Queued), "queued", false},
	{kindResponse, created, Step(InProgress), running, false},
	{kindResponse, "queued", Step(InProgress), running, false},
	{kindResponse, running, Step(Completed), ended, false},
	{kindResponse, running, Step(Incomplete), ended, false},
	{kindResponse, running, Step(Failed), ended, false},
	{kindResponse, "queued", Step(Failed), ended, false},
	{kindResponse, created, Step(Failed), ended, false},

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
	{KindMessage, inItem, part(PartAdded, anyPart), "part", true},
	{KindMessage, "part", part(PartDone, anyPart), inItem, true},
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
	{KindListTools, "listing", Step(ListCompleted), listed, true},
	{KindListTools, "listing", Step(ListFailed), listFailed, true},
	{KindListTools, listed, Step(ItemDone), closed, false},
	{KindListTools, listFailed, Step(ItemDone), closed, false},

	{KindMCPCall, start, Step(ItemAdded), inItem, true},
	{KindMCPCall, inItem, Step(CallInProgress), "arguments", true},
	{KindMCPCall, "arguments", Step(CallDelta), "arguments", false},
	{KindMCPCall, "arguments", Step(CallArguments), "calling", true},
	{KindMCPCall, "calling", Step(CallCompleted), called, true},
	{KindMCPCall, "calling", Step(CallFailed), callFailed, true},
	{KindMCPCall, called, Step(ItemDone), closed, false},
	{KindMCPCall, callFailed, Step(ItemDone), closed, false},

	{KindApprovalRequest, start, Step(ItemAdded), inItem, true},
	{KindApprovalRequest, inItem, Step(ItemDone), closed, false},

	{anyKind, start, Step(ItemAdded), inItem, true},
	{anyKind, inItem, Step(ItemDone), closed, false},
}

// Rules returns a copy of the table, for documentation and checkers.
func Rules() []Rule { return slices.Clone(rules) }
