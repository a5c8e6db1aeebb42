package hub

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: neither log nor archive has the response.
	ErrNotFound = errors.New("response not found")
	// ErrGone: the response was erased.
	ErrGone = errors.New("response erased")
	// ErrExpired: events behind the cursor are no longer there, by age or by damage.
	ErrExpired = errors.New("history expired")
	// ErrCut: the stream cannot go on here. Abort the connection, never end it cleanly; the reader may come back with
	// its cursor.
	ErrCut = errors.New("stream cut")
	// ErrHole: a record does not carry on where the one before it ended. It is what a [Source]'s yield returns then: whoever
	// reads from several replicas may ask another one. A [Source] returns it too, for what stands there and is no record.
	ErrHole = errors.New("hole in the log")
)

// CursorError refuses a cursor beyond the end of the response.
type CursorError struct {
	Last int64 // the last sequence number there is
}

func (e *CursorError) Error() string {
	return fmt.Sprintf("cursor is beyond the last event, %d", e.Last)
}
