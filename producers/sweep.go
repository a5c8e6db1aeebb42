package producers

import (
	"context"
	"math/rand/v2"
	"time"
)

// sweep looks for runs that nobody works on until ctx ends. Nodes that started together do not sweep together: each waits for
// a time between half and one and a half of SweepEvery, anew each time.
func (n *Node) sweep(ctx context.Context) {
	if n.Sweeper == nil {
		return
	}
	for ctx.Err() == nil {
		timer := time.NewTimer(n.SweepEvery/2 + rand.N(n.SweepEvery))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		found, err := n.Sweeper.SweepRuns(ctx)
		if err != nil && ctx.Err() == nil {
			n.Logger.Warn("not all runs were looked at", "found", found, "error", err)
		}
	}
}
