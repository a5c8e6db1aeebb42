package schema

import "fmt"

// ReachesBack reports whether more than what a request goes on from at first hand must be known to judge its input: an answer
// to a request for approval, an item that may stand in front of it already, or the output of a call that is not in sight.
func ReachesBack(near, input []Item) bool {
	calls := callsOf(near, input)
	for i := range input {
		it := &input[i]
		if it.Type == KindApproval || it.ID != "" || isOutput(it.Type) && !calls[it.CallID] {
			return true
		}
	}
	return false
}

// CheckContinuity refuses input that does not go on from what stands in front of it: an item that is there already, the output
// of a call that nobody made, and silence about one that was made. past is what the request goes on from, or as much of it
// as [ReachesBack] asks for. The words are OpenAI's.
func CheckContinuity(past, input []Item) *Error {
	there := map[string]bool{}
	for i := range past {
		there[past[i].ID] = true
	}
	calls, outputs := callsOf(past, input), map[string]bool{}
	for i := range input {
		it := &input[i]
		switch {
		case it.ID != "" && there[it.ID]:
			return Refuse(CodeInvalidValue, "input",
				"Duplicate item found with id %.64s. Remove duplicate items from your input and try again.", it.ID)
		case isOutput(it.Type) && !calls[it.CallID]:
			return Refuse(CodeInvalidValue, fmt.Sprintf("input[%d]", i), "No tool call found for function call output with call_id %.64s.", it.CallID)
		}
	}
	for _, items := range [][]Item{past, input} {
		for i := range items {
			if isOutput(items[i].Type) {
				outputs[items[i].CallID] = true
			}
		}
	}
	for _, items := range [][]Item{past, input} {
		for i := range items {
			if it := &items[i]; isClientCall(it) && !outputs[it.CallID] {
				return Refuse(CodeInvalidValue, "input", "No tool output found for function call %.64s.", it.CallID)
			}
		}
	}
	return nil
}

// callsOf returns the calls of some items that their client makes, by call_id.
func callsOf(groups ...[]Item) map[string]bool {
	calls := map[string]bool{}
	for _, items := range groups {
		for i := range items {
			if isClientCall(&items[i]) {
				calls[items[i].CallID] = true
			}
		}
	}
	return calls
}

// isClientCall reports whether an item is a call that its client was to make. One that was cut off was none: no model is told
// of it either.
func isClientCall(it *Item) bool {
	return (it.Type == KindFunctionCall || it.Type == KindCustomCall) && it.Status != StatusIncomplete
}

func isOutput(kind string) bool { return kind == KindFunctionOutput || kind == KindCustomOutput }
