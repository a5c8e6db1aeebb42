package hub

import (
	"context"

	"github.com/midstream-dev/midstream/schema"
)

// Source is where the records of responses come from. It is safe for concurrent use.
type Source interface {
	// Live calls deliver for each record that is stored from now on, until stop is called; it may drop and may repeat.
	// deliver does not block. Who hears of an erasure on the way calls [Hubs.Drop].
	Live(ref schema.Ref, deliver func(Record)) (stop func(), err error)
	// Tip asks the stream leader for the position of the log's last record, 0 where there is none.
	Tip(ctx context.Context, ref schema.Ref) (uint64, error)
	// Read yields the records behind position after, in order, up to the replica's end or position upto. A stale
	// replica gives a prefix. A record that yield refuses with [ErrHole] may be a damaged replica's: the leader's is yielded in
	// its place, if that is another one. Any other error of yield ends the read, and either is returned, wrapped or not. A
	// read that stands still fails in the end; it is tried again.
	Read(ctx context.Context, ref schema.Ref, after, upto uint64, yield func(Record) error) error
	// Sealed returns all frames of a finished response from its archive; found is false where it has none, or was sealed
	// without content. Its error is [ErrGone] when the response was erased.
	Sealed(ctx context.Context, ref schema.Ref) (frames []byte, found bool, err error)
}

// Record is one record of a log, as far as readers may know it.
type Record struct {
	Position uint64 // in the stream
	Previous uint64 // position of the log's record before it, 0 for the first; only live records need it
	First    int64  // sequence number of the first frame: the number that is due, also where there are no frames
	Last     int64  // and of the last; First-1 where there are none
	Frames   []byte // nobody changes them after they were handed over
}
