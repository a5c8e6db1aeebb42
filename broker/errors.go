package broker

import (
	"errors"

	"github.com/midstream-dev/midstream/schema"
)

var (
	// ErrExists: something else stands where the command or the request record was to go. Read what is there.
	ErrExists = errors.New("another one is there already")
	// ErrFull: nothing new is taken for now, and nothing was stored. Come back later; runs that are open go on. It comes as a
	// *FullError.
	ErrFull = errors.New("no room for new runs")
	// ErrNotFound: there is no such log, or its records are older than the log's age and were never sealed.
	ErrNotFound = errors.New("no such log")
	// ErrGone: the response was erased, or its records have aged out under the writer.
	ErrGone = errors.New("the log is gone")
	// ErrTooLong: a thread of responses holds more than schema.MaxThreadBytes.
	ErrTooLong = errors.New("thread holds too much")
	// ErrFenced: another attempt has appended to the log since. Stop the work, and do not ack its job.
	ErrFenced = errors.New("another attempt owns the log")
	// ErrClosed: the writer or the broker was closed.
	ErrClosed = errors.New("closed")
	// ErrOrder: an event does not have the sequence number that is due. Nothing of it was appended.
	ErrOrder = errors.New("sequence number is not the one due")
)

// CorruptError names the first record of a log that is not what was written: a link of the chain differs, a record is
// missing, or it cannot be read. It is for a person to look into; nothing is written behind such a log.
type CorruptError struct {
	Ref    schema.Ref
	Record int // index of the record in the log, from 0
	Err    error
}

func (e *CorruptError) Error() string {
	return "log " + e.Ref.String() + " is damaged: " + e.Err.Error()
}

func (e *CorruptError) Unwrap() error { return e.Err }
