// Package sseserver is the HTTP face of Midstream: the OpenAI Responses API over server-sent events and WebSockets, on
// echo. It knows the log only through a few small interfaces, and never the producers: a run goes on whether anybody
// listens or not.
//
// There are only a few nouns:
//
//	Server      the routes, their limits and their metrics
//	Broker      where commands go and records are; Follower, one reader's place in one response
//	cursor      where a subscriber wants to go on: Last-Event-ID, starting_after, or the start
//	subscriber  a connected reader of a stream; it holds no queue, only its place
//	socket      a WebSocket: a reader of messages, and lanes
//	lane        makes the responses of one stream_id of a socket, one after the other; a subscriber to each
//
// # Guarantees
//
// Frames are written as the log holds them: byte for byte the same for every subscriber, node and reconnect.
//
// A stream that has not reached its terminal event never ends cleanly. It is aborted, on drain and on any fault, because
// the SDKs return half a sentence as if it were whole after a clean end, and throw after an abort.
//
// A message of a WebSocket is the data line of a frame, byte for byte, but for the stream_id of its lane. What a message
// has wrong is told and costs nothing else: only a broken frame, a peer that takes or answers nothing, age and a drain end
// a connection, and none of them ends a run. What a socket remembers of responses that are not stored is gone with it.
//
// Once a command may be in the queue, no answer invites a retry: SDKs repeat a POST by themselves, and would start a
// second run.
//
// A slow subscriber costs a bounded send buffer and is cut by a write deadline. It slows nobody, and may resume.
//
// Every error answer has the API's shape and a request id. Two kinds never reach this package, because net/http answers
// them on its own, as plain text: a request that is not HTTP (400), and headers of more than twice the limit (431).
//
// # Middleware, from the outside in
//
//	route → request id → access log, metrics → recover → body's time → CORS → header limit → host → origin → key → trace → handler
//
// The route comes first, so that all of them know it, and the handler reads the body.
//
// Deliberately absent: compression (a compressor holds frames back), content negotiation (the SDKs send
// `Accept: application/json` for streams), and any state of its own that a restart could lose.
package sseserver
