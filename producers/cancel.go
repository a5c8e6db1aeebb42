package producers

import (
	"context"
	"errors"
	"sync"

	"github.com/midstream-dev/midstream/schema"
)

// errCancelled is why the steps of a run stop whose response somebody has cancelled. The run itself goes on: it has to end the
// response.
var errCancelled = errors.New("response cancelled")

// wards are the runs of a node that listen for a cancel.
type wards struct {
	mu   sync.Mutex
	runs map[*ward]struct{}
}

// ward is one run. There may be two of one response: a lease is no fence.
type ward struct {
	ref    schema.Ref
	cancel context.CancelCauseFunc
}

// watch returns a context that ends with errCancelled when the response is cancelled, until release is called.
func (w *wards) watch(ctx context.Context, ref schema.Ref) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	one := &ward{ref, cancel}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs == nil {
		w.runs = map[*ward]struct{}{}
	}
	w.runs[one] = struct{}{}
	return ctx, func() {
		w.mu.Lock()
		delete(w.runs, one)
		w.mu.Unlock()
		cancel(nil)
	}
}

// cancel stops the runs of a response; there are few on a node, so they are looked through.
func (w *wards) cancel(ref schema.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.runs {
		if one.ref == ref {
			one.cancel(errCancelled)
		}
	}
}

// follow passes cancels on to the runs of this node until ctx ends. Without it they are cancelled all the same, by the fence,
// only later.
func (n *Node) follow(ctx context.Context) {
	if err := n.Control.Cancels(ctx, n.wards.cancel); err != nil {
		n.Logger.Error("cancels are not heard of", "error", err)
	}
}

// endCancelled ends the response if it was cancelled before this attempt, and reports whether it did. Nobody asks the owner of
// a run that has none, so a first attempt need not look: it listened before it claimed.
func (r *run) endCancelled(ctx context.Context) (bool, error) {
	if r.fold.Attempt == 0 {
		return false, nil
	}
	if !r.fold.Cancelled { // else a Cancel has died behind its claim
		asked, err := r.node.Control.CancelAsked(ctx, r.ref)
		if err != nil || !asked {
			return false, err
		}
	}
	events, err := r.fold.CancelFromLog()
	return true, r.close(ctx, events, err)
}
