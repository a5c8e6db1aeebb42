package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Follower is a cursor into a hub. It is used by one goroutine.
type Follower struct {
	hub      *hub
	seq      int64  // the last sequence number handed out
	position uint64 // the log is behind the cursor from here on, as far as it was read for this follower alone
	close    sync.Once
}

var errLagging = errors.New("reader is behind the hub's head")

// Next blocks until there are frames behind the cursor, and returns them: all that are there, up to the end of a piece of
// memory (64 KiB, or one record). The bytes are shared with other readers and must not be changed. After the terminal
// event it returns [io.EOF]. [ErrCut] means that the stream cannot go on: abort the connection.
func (f *Follower) Next(ctx context.Context) ([]byte, error) {
	for {
		frames, last, wake, err := f.hub.after(f.seq)
		if errors.Is(err, errLagging) {
			frames, last, err = f.lag(ctx)
		}
		if err != nil {
			return nil, f.wrap(err)
		}
		if frames != nil {
			f.seq = last
			return frames, nil
		}
		select {
		case <-ctx.Done():
			return nil, f.wrap(context.Cause(ctx))
		case <-wake:
		}
	}
}

// wrap leaves io.EOF as it is, as readers of anything expect.
func (f *Follower) wrap(err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("follow %s behind %d: %w", f.hub.ref, f.seq, err)
}

// Ended reports whether the cursor stands at the terminal event: nothing will come.
func (f *Follower) Ended() bool {
	f.hub.mu.RLock()
	defer f.hub.mu.RUnlock()
	return f.hub.window.ended && f.seq >= f.hub.window.next-1
}

// Seq returns the last sequence number that was handed out; before that, the one it was opened behind.
func (f *Follower) Seq() int64 { return f.seq }

// Close gives the hub back. It may be called twice, but not while Next runs.
func (f *Follower) Close() {
	f.close.Do(func() {
		f.hub.hubs.metrics.followers.Dec()
		f.hub.hubs.leave(f.hub)
	})
}
