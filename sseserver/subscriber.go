package sseserver

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errDraining ends what a drain cuts, and refuses what comes after it.
var errDraining = errors.New("this node is draining")

// drainSteps is in how many portions a drain cuts the subscribers.
const drainSteps = 20

// subscribers are all requests that may last: streams, waiting creates, mounted handlers. Safe for concurrent use.
type subscribers struct {
	mu       sync.Mutex
	open     map[*subscriber]struct{}
	draining bool
}

type subscriber struct {
	cancel context.CancelCauseFunc
}

func newSubscribers() *subscribers { return &subscribers{open: map[*subscriber]struct{}{}} }

// enter admits one more, until leave. Its context ends with errDraining as cause when its turn to be cut has come.
func (s *subscribers) enter(ctx context.Context) (_ context.Context, leave func(), _ error) {
	ctx, cancel := context.WithCancelCause(ctx)
	sub := &subscriber{cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		cancel(errDraining)
		return nil, nil, errDraining
	}
	s.open[sub] = struct{}{}
	return ctx, func() { s.leave(sub) }, nil
}

func (s *subscribers) leave(sub *subscriber) {
	s.mu.Lock()
	delete(s.open, sub)
	s.mu.Unlock()
	sub.cancel(nil)
}

// drains reports whether a drain has begun.
func (s *subscribers) drains() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// drain refuses newcomers and cuts all who are there, in random order, in portions over the given time: clients that
// reconnect all at once would only move the burden to the next node.
func (s *subscribers) drain(ctx context.Context, over time.Duration) {
	all := s.close()
	tick := time.NewTicker(max(over/drainSteps, time.Millisecond))
	defer tick.Stop()
	portion := (len(all) + drainSteps - 1) / drainSteps
	for len(all) > 0 {
		n := min(portion, len(all))
		for _, sub := range all[:n] {
			sub.cancel(errDraining)
		}
		all = all[n:]
		select {
		case <-tick.C:
		case <-ctx.Done():
			portion = len(all)
		}
	}
}

func (s *subscribers) close() []*subscriber {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	all := make([]*subscriber, 0, len(s.open))
	for sub := range s.open { // Go's random order is the jitter
		all = append(all, sub)
	}
	return all
}
