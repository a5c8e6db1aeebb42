// Package sim is a NATS server in memory, for tests: the part of JetStream that Midstream uses, spoken over the real client
// protocol, so that the real broker runs on it, inside a testing/synctest bubble, and faults come when a test says so.
//
//	Server  streams and consumers; one truth, as the leaders of a cluster have it
//	Link    a process's way to the server: what hangs on it can be cut, held and killed
//	Op      one thing that a client asks for, or that the server does of its own accord
//	Fate    what becomes of an Op: nothing, by default; else what a test wants to go wrong
//
// A Server has no goroutine and no clock of its own. An operation is carried out where the client writes it, in one step
// under one lock; what happens later (a slow answer, a redelivery) hangs on timers, which are virtual in a bubble.
//
// # What is like the real one
//
// Expected last sequence a subject, discard-new bounds, ages, republish with its headers, the leader's read, batched and
// single Direct Get, overwriting deletes, work-queue and replaying pull consumers with acks that act on whatever delivery is
// current, "no responders". The conformance suite of package broker runs on a Server as on an embedded one, and a test
// of this package makes the same random requests to both and compares the answers.
//
// # What is not
//
// Anything that Midstream does not send is refused loudly: the connection is ended, and [Server.Err] says what it was.
// There are no accounts, clusters or files. A restart keeps what a disk would keep. A stale replica, an election and a lost
// answer are fates.
package sim
