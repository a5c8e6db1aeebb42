// Package embed runs a NATS server with JetStream inside the process. It is the only package that knows the server; what
// it starts is reached like any NATS server, but through in-process connections, and without a port unless one is asked
// for.
//
// # Guarantees
//
// What the server acknowledges is on the disk when Sync is 0: it calls fsync before every acknowledgement. With another
// Sync a crash of the process loses nothing, and a crash of the machine at most what was acknowledged in that time.
//
// [Server.Stop] returns when everything is on the disk and every goroutine of the server is gone. A server that is
// killed instead takes longer to start: it reads its stores again, about 3 s of processor time a gigabyte.
package embed
