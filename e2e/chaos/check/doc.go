// Package check says whether a history kept what Midstream promises. It is pure: it gets what clients were told, what each
// server's log holds, and how often each tool ran, and it returns counts and faults.
//
// Its nouns:
//
//	Account  what one client was told about one response, byte for byte
//	View     the logs as one NATS server had them when it led
//	History  accounts, views, executions
//	Report   counts, times, and everything that should not have been
//
// A fault names its rule first:
//
//	lost      a client saw it, or was promised it, and the log does not have it
//	dup       one sequence number twice
//	gap       a sequence number that is nowhere
//	chain     a record is not the one that was chained behind the one before it
//	zombie    a record of an attempt behind the claim of a later one
//	terminal  not exactly one terminal event, or something behind it
//	order     the strict checker of package schema refuses the stream
//	words     the response does not say what the model said, once and in order
//	tool      a call that must run once ran twice, or the log does not tell of it as it was
//	bytes     a client got other bytes than the log has
//	split     two servers have different logs
//	client    a client got an answer that it must not get
package check
