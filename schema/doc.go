// Package schema is the language that every part of Midstream speaks: the events of the OpenAI Responses API, their
// canonical order, their frames on the wire, the records that hold them in the log, and what a log means when it is
// folded. It is pure: no I/O, no clock, no goroutine, and it imports nothing else of Midstream.
//
// There are only a few nouns:
//
//	Event      one fact of a response, with a dense sequence number from 0
//	Frame      an event's exact bytes as text/event-stream, id last
//	Item, Part an output item of the response; a content part of a message
//	Record     what the log stores as one message: private body, frames, and the chain digest
//	State      the fold of events: what the response is now; refuses an event that breaks the order
//	Sequencer  takes the events of several producers and gives out one legal sequence
//	CheckStream holds a whole answer, as a client received it, to all of this
//	Run        the fold of records: State, and what only the owner of the run may know
//	Command    the accepted create request: what a run is made from
//
// # Guarantees
//
// The order is data: the table in rules.go. State walks it to check, the Sequencer walks it to repair, and
// docs/canonical-order.md is printed from it. What a Sequencer gives out, State accepts; what [CheckStream] accepts, the
// OpenAI SDKs accept. The stories in testdata/stories tell what comes in and what goes out.
//
// The same command gives the same bytes: ids and times inside frames come from the response id, a counter and the
// command's time.
//
// Bytes from outside are decoded with JSON semantics that refuse duplicate names, invalid UTF-8 and folded case.
// Members and event types that are not known here pass through untouched.
//
// Values are not safe for concurrent use unless their comment says so.
package schema
