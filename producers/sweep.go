package producers

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/midstream-dev/midstream/broker"
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

// openFed opens what producers send to over NATS alone. A queue that is closed ends the node's claims too.
func (n *Node) openFed(ctx context.Context) {
	if err := n.Feeds.OpenFed(ctx); err != nil && !errors.Is(err, broker.ErrClosed) {
		n.Logger.Error("producers are not listened to: their responses are opened by the sweep", "error", err)
	}
}
