package schema

import (
	"slices"
	"strings"
)

// role is what an event does to the item that it stands in.
type role uint8

const (
	passes   role = iota // nothing that the fold keeps
	adds                 // output_item.added
	finishes             // output_item.done
	opens                // a part
	closes               // a part
	streams              // adds to the text of the open part, or to the arguments
	settles              // repeats that text whole
	notes                // adds an annotation to the open part
	works                // says that a tool is at work
	succeeds             // says how a tool's work ended
	fails
)

// trait is what the code must know of an event type before it has looked at the event.
type trait struct {
	role   role
	part   string // the type of part that it speaks of, where it speaks of one
	tabled bool   // the table names it
	owner  string // the kind of item that it belongs to, where only one has it
}

// traits has the event types that the table names, and nothing else. The table itself fills in the rest of each.
var traits = map[EventType]trait{
	ItemAdded: {role: adds}, ItemDone: {role: finishes},
	PartAdded: {role: opens}, PartDone: {role: closes},
	TextDelta:       {role: streams, part: PartOutputText},
	TextDone:        {role: settles, part: PartOutputText},
	TextAnnotation:  {role: notes, part: PartOutputText},
	RefusalDelta:    {role: streams, part: PartRefusal},
	RefusalDone:     {role: settles, part: PartRefusal},
	ReasoningDelta:  {role: streams, part: PartReasoningText},
	ReasoningDone:   {role: settles, part: PartReasoningText},
	SummaryAdded:    {role: opens, part: PartSummaryText},
	SummaryDelta:    {role: streams, part: PartSummaryText},
	SummaryTextDone: {role: settles, part: PartSummaryText},
	SummaryDone:     {role: closes, part: PartSummaryText},
	FunctionDelta:   {role: streams}, FunctionDone: {role: settles},
	CustomDelta: {role: streams}, CustomDone: {role: settles},
	CallDelta: {role: streams}, CallArguments: {role: settles},
	ListInProgress: {role: works}, ListCompleted: {role: succeeds}, ListFailed: {role: fails},
	CallInProgress: {role: works}, CallCompleted: {role: succeeds}, CallFailed: {role: fails},
}

// deltaOf names the event that streams into a part, or into a call.
var deltaOf = map[string]EventType{
	PartOutputText: TextDelta, PartRefusal: RefusalDelta, PartReasoningText: ReasoningDelta, PartSummaryText: SummaryDelta,
	KindFunctionCall: FunctionDelta, KindMCPCall: CallDelta, KindCustomCall: CustomDelta,
}

// textual reports whether a part of that type holds one string, which deltas bring.
func textual(part string) bool { return deltaOf[part] != "" }

// grammar is the table of one kind, for looking up.
type grammar map[Place]map[Step]Place

var (
	grammars  = map[string]grammar{}
	byPlace   = map[string]map[Place][]Rule{}          // kind → place → rules, in the table's order
	knownPart = map[string]bool{PartSummaryText: true} // types of parts that have their own place in the table
)

func init() {
	for _, r := range rules {
		if grammars[r.Kind] == nil {
			grammars[r.Kind], byPlace[r.Kind] = grammar{}, map[Place][]Rule{}
		}
		if grammars[r.Kind][r.From] == nil {
			grammars[r.Kind][r.From] = map[Step]Place{}
		}
		grammars[r.Kind][r.From][r.On] = r.To
		byPlace[r.Kind][r.From] = append(byPlace[r.Kind][r.From], r)
		t, p := r.On.split()
		knownPart[p] = true
		tr := traits[t]
		if tr.owner = r.Kind; tr.tabled && traits[t].owner != r.Kind {
			tr.owner = ""
		}
		tr.tabled = true
		traits[t] = tr
	}
}

// split takes a step apart: the event's type, and the part's where the rules tell parts apart.
func (s Step) split() (EventType, string) {
	name, p, _ := strings.Cut(strings.TrimSuffix(string(s), ")"), "(")
	return EventType(name), p
}

// tabled returns the kind under which the table knows an item.
func tabled(kind string) string {
	if _, ok := grammars[kind]; ok && kind != kindResponse {
		return kind
	}
	return anyKind
}

// step returns an event as the rules see it.
func step(e *Event) Step {
	if e.Part == nil || e.Type != PartAdded && e.Type != PartDone {
		return Step(e.Type)
	}
	if !knownPart[e.Part.Type] {
		return part(e.Type, anyPart)
	}
	return part(e.Type, e.Part.Type)
}

// next returns the place behind an event, and whether the table allows the event at all. An event type that the table
// does not know is an upstream's own: it stays where it is.
func next(kind string, from Place, e *Event) (Place, bool) {
	if to, ok := grammars[kind][from][step(e)]; ok {
		return to, true
	}
	return from, !traits[e.Type].tabled && from != start && from != closed
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
				queue = append(queue, way{r.To, append(slices.Clip(w.rules), r)})
			}
		}
	}
	return nil, false
}
