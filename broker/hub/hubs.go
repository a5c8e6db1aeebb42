package hub

import (
	"context"

	"github.com/midstream-dev/midstream/schema"
)

// Hubs are the hubs of one node. Safe for concurrent use.
type Hubs struct{}

// New returns the hubs over a source. Close ends them.
func New(src Source, cfg Config) *Hubs { return &Hubs{} }

// Close ends every hub, cuts every follower, and waits for all goroutines.
func (h *Hubs) Close() {}

// Nudge makes every hub ask for the tip at once. Call it after a reconnect or a change of leader.
func (h *Hubs) Nudge() {}

// Drop ends the hub of a response that was erased: its followers are cut, and the next one asks the archive. It does not
// block, so it may be called where live records are delivered.
func (h *Hubs) Drop(ref schema.Ref) {}

// Follow opens a follower behind sequence number after; -1 is the start.
func (h *Hubs) Follow(ctx context.Context, ref schema.Ref, after int64) (*Follower, error) {
	return nil, ErrNotFound
}

// Fold returns the response now.
func (h *Hubs) Fold(ctx context.Context, ref schema.Ref) (*schema.State, error) {
	return nil, ErrNotFound
}
