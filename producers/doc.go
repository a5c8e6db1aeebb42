// Package producers turns a claimed run into events: it lists MCP tools, calls the model, runs the tools that the model
// asks for, and appends what happened to the log, until the response has its one terminal event.
//
// Its nouns:
//
//	Node  takes commands from the queue, as many as it has free slots, and works each as a run
//	run   one attempt at one response: the log behind a fence, the sequencer, and the steps
//	step  what to do next; [next] decides it from what has happened, and from nothing else
//	turn  one model call within a run
//	offer an MCP tool as the model sees it: a function named label__tool
//	pin   what an approved call is held to: the tool as it was described when a human allowed the call
//
// A run goes round one loop: next decides, the step is done, what happened is appended.
//
//	claim ─▶ list tools ─▶ call what was approved
//	              │             ▼
//	              │         call model ─▶ call tools ─┐
//	              │             ▲  │                  │
//	              ▼             └──┼──────────────────┘
//	     fail, cancel ◀─────────────┴─▶ finish ─▶ seal ─▶ ack
//
// The context of a run is what the response goes on from and the request's own input. A tool list that is in it is not made
// again, and an answer to a request for approval is followed wherever the request stands in it. A response whose model asks
// for a call that needs approval, or for one of the client's, is completed: the next one brings what is missing.
//
// # Guarantees
//
// response.created and response.in_progress are in the log before any MCP server or model is contacted. A tool call is
// in the log before it is made, and its result as soon as it is there. A model call that has failed is in the log before
// it is made again. After a takeover, a tool call whose outcome is not known is made again only where the operator's
// configuration calls the tool idempotent. An approved call is made only if the server still describes the tool as it did.
// The command is acked only when the terminal event is in the log and sealed; whatever ends a run before that leaves the
// command to another attempt.
//
// A cancel stops the model and the tools of its run at once, and the run then ends the response. A run that was cancelled
// between two attempts is ended by the next one, which contacts nobody.
//
// A Node is safe for concurrent use; a run belongs to one goroutine.
package producers
