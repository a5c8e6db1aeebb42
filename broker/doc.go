// Package broker keeps the log and the queue of Midstream on NATS JetStream. It is the only package that knows NATS:
// its callers speak of responses, records and sequence numbers.
//
//	          Enqueue ──▶ MS_RUNS ──Claim──▶ Job
//	gateway ─ Begin ────▶ ┌────────────┐ ◀── Writer.Append, Commit ─ producer
//	          Follow ◀─── │  MS_LOG_p  │ ──▶ Read
//	                      └────────────┘
//	                            │ Writer.Seal
//	                            ▼
//	                       MS_ARCHIVE_p
//
// There are only a few nouns:
//
//	Broker   a connection to the log and the queue; owns the embedded server where there is one
//	Job      a run command in the hands of this process: a lease, not a fence
//	History  every record of one log up to a moment, its chain verified
//	Writer   the right to append to one log behind a History, until another attempt takes it away
//	hub      the frames of one response in memory; Follow gives a reader its place in it
//
// Beside the logs stands MS_CONVERSATIONS, one subject for each conversation: its facts, whose fold is a
// [schema.Conversation]. They have no age, and what was removed is erased. MS_CONTROL holds the word that a response is to be
// cancelled.
//
// # Guarantees
//
// Durable: what Enqueue, Begin and Commit acknowledged is in JetStream, on the disk if [Broker.Sync] says "always". An
// outcome that is in doubt is never reported: it is resolved first, or the call goes on until its context ends.
//
// Fenced: a record stands behind the record that its writer knew as the last one, or nowhere. Of two writers of one log
// at most one goes on; the other gets [ErrFenced] and can do no harm, however late it notices.
//
// Ended, by whoever can: [Broker.Cancel] asks the owner of a run, and takes the log from one that does not answer. What
// [Broker.Delete] has erased is gone for everybody, and overwritten in the archive, however late a seal comes.
//
// In order, once: the records of a log form a hash chain from [schema.Genesis], and their sequence numbers are dense.
//
// # Failure
//
// While JetStream cannot be reached, elects a leader or is full, a Writer holds what it was given up to a bound and tries
// again; then Append waits. Every JetStream error code is interpreted in outcome.go and nowhere else.
//
// A lease is not a fence. A paused worker's late Ack deletes the job that another one works at, and its late Heartbeat
// keeps it from others: the server does not check who they come from. So a worker acks only after its own terminal event
// is in the log and sealed, and stops all three at once when its Writer is fenced. And a lease that has run out does not say
// that its worker is gone: [Job.Held] asks.
//
// # Absent on purpose
//
// There is no consumer for a reader (they cost 25 KB each and a thousand of them a stream is the limit), no deduplication by
// message id (the fence does it), and no purge or rollup on the log (both stop the whole stream for seconds).
package broker
