package hub

import (
	"context"
)

// Follower is a cursor into a hub. It is used by one goroutine.
type Follower struct {
	seq int64
}

// Next blocks until there are frames behind the cursor and returns them.
func (f *Follower) Next(ctx context.Context) ([]byte, error) { return nil, ErrCut }

// Ended reports whether the cursor stands at the terminal event: nothing will come.
func (f *Follower) Ended() bool { return false }

// Seq returns the last sequence number that was handed out.
func (f *Follower) Seq() int64 { return f.seq }

// Close gives the hub back. It may be called twice.
func (f *Follower) Close() {}
