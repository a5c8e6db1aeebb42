package broker

import (
	"fmt"
	"time"
)

// Bound names what has no room left. The values are those of the label bound in metrics.
type Bound string

// The bounds of admission. Those of the line are the callers' own doing, the others are the storage's.
const (
	// BoundQueued and BoundQueueWait: too many runs wait for a free slot, or the first of them waits for too long.
	BoundQueued    Bound = "queued"
	BoundQueueWait Bound = "queue_wait"

	// BoundQueueBytes: the commands that wait or are worked at fill their stream.
	BoundQueueBytes Bound = "queue_bytes"
	// BoundLog: the rest of the hot log belongs to open runs.
	BoundLog Bound = "log"
	// BoundConversations: the rest of the conversations' stream belongs to the answers of open runs.
	BoundConversations Bound = "conversations"
	// BoundIngest: what producers have sent in the last hours fills its stream.
	BoundIngest Bound = "ingest"
	// BoundStore: the rest of what NATS may store, the archive above all, belongs to open runs.
	BoundStore Bound = "store"
	// BoundDisk: the disk of the embedded server is nearly full.
	BoundDisk Bound = "disk"
	// BoundSilent: NATS does not answer.
	BoundSilent Bound = "silent"
)

// Line reports whether what is full is the line before the workers: it gets shorter by itself.
func (b Bound) Line() bool { return b == BoundQueued || b == BoundQueueWait }

// FullError says which bound was reached: nothing was stored. It is an [ErrFull].
type FullError struct {
	Bound Bound
	// RetryAfter is after what time it may be worth to ask again.
	RetryAfter time.Duration
}

func (e *FullError) Error() string { return fmt.Sprintf("%s: %s", ErrFull, e.Bound) }
func (e *FullError) Unwrap() error { return ErrFull }

// When to come back: a line moves, an election ends, and room on a disk is made by age or by an operator.
const (
	retryLine    = 5 * time.Second
	retrySilent  = 2 * time.Second
	retryStorage = 30 * time.Second
)

func fullOf(b Bound) *FullError {
	e := &FullError{Bound: b, RetryAfter: retryStorage}
	switch {
	case b.Line():
		e.RetryAfter = retryLine
	case b == BoundSilent:
		e.RetryAfter = retrySilent
	}
	return e
}

// fullness is the bound that an answer of a stream tells of.
func fullness(stream string) Bound {
	switch stream {
	case runStream:
		return BoundQueueBytes
	case conversationStream:
		return BoundConversations
	}
	return BoundLog
}
