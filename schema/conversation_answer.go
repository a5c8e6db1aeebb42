package schema

import "slices"

// Contribution returns what a response that is ending adds to its conversation: its input, then its output.
//
//	completed, incomplete   all of it
//	cancelled               the input, and what was done
//	failed                  the same, if anything was done that the model or a tool has said; else nothing, so that the
//	                        same question may be asked again
//	store: false            nothing: the conversation was read, and is not written
//
// Of a response that was cut off, calls that the client should execute are left out, since nobody will: the next model call
// would be refused for a call without its output.
func (x *Exchange) Contribution() []Item {
	if !x.Request.Stores() {
		return nil
	}
	output := x.Response.Output
	if x.Response.Status != StatusCompleted && x.Response.Status != StatusIncomplete {
		output = whole(output)
	}
	if x.Response.Status == StatusFailed && !slices.ContainsFunc(output, func(it Item) bool { return it.Type != KindListTools }) {
		return nil
	}
	var items []Item
	for _, it := range slices.Concat(x.Input(), output) {
		if it.Type != KindItemReference { // it only points at what is kept elsewhere
			items = append(items, it.Kept())
		}
	}
	return items
}

// whole returns the items that stand for themselves, though the response was cut off: a reasoning does so only in front of
// what came of it.
func whole(output []Item) []Item {
	var kept []Item
	next := false // whether the item behind is kept
	for _, it := range slices.Backward(output) {
		ok := it.Status == StatusCompleted || it.Status == ""
		switch it.Type {
		case KindFunctionCall, KindCustomCall:
			ok = false
		case KindReasoning:
			ok = ok && next
		case KindMCPCall:
			ok = it.Status == StatusCompleted || it.Status == StatusFailed
		}
		if next = ok; ok {
			kept = append(kept, it)
		}
	}
	slices.Reverse(kept)
	return kept
}

// Kept returns the item as a conversation shows it: what the caller said is complete.
func (it *Item) Kept() Item {
	kept := *it
	switch it.Type {
	case KindMessage, KindFunctionCall, KindFunctionOutput:
		if it.Status == "" {
			kept.Status = StatusCompleted
		}
	}
	return kept
}
