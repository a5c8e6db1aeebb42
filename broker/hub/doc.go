// Package hub holds the frames of one response in one node's memory, shared by all readers of that response on that
// node: replay, then live, no gap, nothing twice.
//
// There are only a few nouns:
//
//	Source    the log, its live subject and its archive, as the broker gives them
//	Hubs      the hubs of one node
//	hub       one response: its frames, in segments, and how far into the log they reach
//	Follower  a cursor into a hub. It is never a queue: what it hands out are the hub's own bytes
//
// # How a hub fills
//
// It subscribes to the live subject, then asks the archive, then the stream leader for the log's last record (the tip),
// and reads up to it. A live record that follows the hub's position is taken at once; one that is further on is held, and
// the log between is read. Live delivery may lose records: a quiet hub asks for the tip again, after a second at first.
//
//	          ┌──────── not there ───────┐
//	Live ─▶ Sealed ── found ──▶ ended   Tip ─▶ Read ─▶ live ─▶ ended ─▶ (linger) ─▶ gone
//	                                     ▲              │ quiet, nudged, a record further on
//	                                     └──────────────┘
//
// # Guarantees
//
// A follower gets the bytes of the log behind its cursor: once, in order, without a hole, the terminal event last, then
// [io.EOF]. When that cannot be kept it gets [ErrCut], and the reader's connection must be aborted: a clean end would
// pass half an answer off as a whole one.
//
// Sequence numbers go up by one, always. A hole is read again until the hole's patience ends; if it stays, followers are
// cut, later ones get [ErrExpired], and an error is logged and counted: the log or a replica is damaged.
//
// A follower holds up neither the hub nor its neighbours. A hub is bounded in bytes and drops its head; who lags beyond
// that reads the log by itself, in bounded batches, a few such readers of a node at a time, until it has caught up.
//
// # Locks
//
// Two, taken in this order: Hubs.mu (which hubs there are, who reads them, which are idle) and hub.mu (one hub's frames
// and position). Neither is held across a call of a Source. One goroutine a hub asks and reads; live records are taken in
// on the goroutine that delivers them.
package hub
