package producers

import (
	"context"
	"errors"
	"time"
)

// errDraining is why the steps of a run stop whose node is going down. The run is handed over.
var errDraining = errors.New("this node is draining")

// closePatience bounds what a node that drains still writes once the calls under way have had their time: releases, seals,
// acks. What does not get through is left to the lease.
const closePatience = 3 * time.Second

// shift is the time for which a node works. It ends in three stages, each a context:
//
//	leaving  the runs are to be handed over: model calls are cut, no tool call is begun any more
//	working  Config.DrainCalls later: the tool calls that are still under way are cut too
//	closing  closePatience after that: whatever is not in the log by now stays out
type shift struct {
	leaving, working, closing context.Context
	leave, cut                context.CancelCauseFunc
	close                     context.CancelFunc
	timers                    []*time.Timer
}

// newShift begins a shift. Its contexts have ctx's values, and do not end with it.
func newShift(ctx context.Context) *shift {
	base := context.WithoutCancel(ctx)
	var s shift
	s.closing, s.close = context.WithCancel(base)
	s.working, s.cut = context.WithCancelCause(s.closing)
	s.leaving, s.leave = context.WithCancelCause(s.working)
	return &s
}

// drain begins the end of the shift.
func (s *shift) drain(calls time.Duration) {
	s.leave(errDraining)
	s.timers = append(s.timers,
		time.AfterFunc(calls, func() { s.cut(errDraining) }),
		time.AfterFunc(calls+closePatience, s.close))
}

// over ends the shift: nobody works any more.
func (s *shift) over() {
	for _, t := range s.timers {
		t.Stop()
	}
	s.close()
}

// ends reports whether the runs are to be handed over.
func (s *shift) ends() bool { return s.leaving.Err() != nil }

// until returns a context that ends as ctx does, and when the shift is to be left.
func (s *shift) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(s.leaving, func() { cancel(context.Cause(s.leaving)) })
	return ctx, func() {
		unhook()
		cancel(nil)
	}
}
