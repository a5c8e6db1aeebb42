package schema

import "fmt"

// Violation says which rule of the canonical order an event broke. Rule is the law that it broke, by its name in
// docs/canonical-order.md. Producer is who sent the event, where a [Sequencer] refused it.
type Violation struct {
	Rule     string
	Event    EventType
	Seq      int64
	Why      string
	Producer string
}

func (v *Violation) Error() string {
	who := ""
	if v.Producer != "" {
		who = " of " + v.Producer
	}
	return fmt.Sprintf("event %d %s%s: %s (%s)", v.Seq, v.Event, who, v.Why, v.Rule)
}

func refuse(e *Event, rule, why string, args ...any) error {
	return &Violation{Rule: rule, Event: e.Type, Seq: e.SequenceNumber, Why: fmt.Sprintf(why, args...)}
}

// The laws that State upholds beside the table of Rules.
const (
	lawNumbers    = "dense-numbers"
	lawFrame      = "frame-names-event"
	lawType       = "event-type"
	lawError      = "no-error-event"
	lawFirst      = "created-first"
	lawInProgress = "in-progress-before-items"
	lawLifecycle  = "lifecycle"
	lawIdentity   = "one-identity"
	lawAdded      = "item-added"
	lawInItem     = "within-an-item"
	lawInterleave = "no-interleaving"
	lawIndexes    = "dense-indexes"
	lawIDs        = "unique-ids"
	lawGrammar    = "item-grammar"
	lawText       = "text-equals-deltas"
	lawStatus     = "item-status"
	lawClosed     = "items-closed"
	lawOutput     = "output-equals-items"
	lawTerminal   = "terminal-status"
	lawOne        = "one-terminal"
	lawLast       = "terminal-last"
	lawMembers    = "members"
)

// A law is a rule of the canonical order that a table of steps cannot say.
type law struct{ name, says string }

// laws returns the laws that [State] upholds beside the table of [Rules], for documentation. The last one is upheld by
// [CheckStream] alone.
func laws() []law {
	return []law{
		{lawNumbers, "`sequence_number` goes up by one from 0, over every event there is"},
		{lawFrame, "a frame's `event` and `id` lines say the event's `type` and `sequence_number`; `id` is the last line"},
		{lawType, "an event type is 1 to 128 characters of visible ASCII"},
		{lawError, "there is no `error` event, and no event has a top-level `error` member: SDKs end the stream on either"},
		{lawFirst, "`response.created` comes first"},
		{lawInProgress, "no item comes before `response.in_progress`"},
		{lawLifecycle, "the response's own events come in the order of the table, with a status that fits and no early output"},
		{lawIdentity, "the response keeps its id and time; an item keeps its id, type, name, role, `call_id` and `server_label`"},
		{lawAdded, "an item is added with zero values: its content comes by its own events"},
		{lawInItem, "an item's events lie between its `output_item.added` and `output_item.done`"},
		{lawInterleave, "items do not interleave"},
		{lawIndexes, "`output_index`, `content_index`, `summary_index` and `annotation_index` go up by one from 0"},
		{lawIDs, "every item has an id of its own"},
		{lawGrammar, "an item's events come in the order of its kind"},
		{lawText, "what a done event, a part or an item says whole equals what was streamed of it"},
		{lawStatus, "a finished item has a final status, and agrees with the event that told how it ended"},
		{lawClosed, "the terminal event comes when every item is done"},
		{lawOutput, "the terminal event's `output` equals the streamed items"},
		{lawTerminal, "the terminal event's `status` is the one that it is named after, or `cancelled` in `response.failed`"},
		{lawOne, "there is one terminal event"},
		{lawLast, "nothing comes after the terminal event"},
		{lawMembers, "events, items and responses have the members that the SDKs' types require, and no null where clients refuse it"},
	}
}
