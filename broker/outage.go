package broker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// outages ends tries whose answer can no longer come: the client library lets a request wait for its whole time, though the
// connection that would bring the answer is gone.
type outages struct {
	mu     sync.Mutex
	ctx    context.Context // ends with the next outage
	cancel context.CancelFunc
}

func newOutages() *outages {
	o := new(outages)
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o
}

// strike ends every try that is under way.
func (o *outages) strike() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancel()
	o.ctx, o.cancel = context.WithCancel(context.Background())
}

// allowance is how long the next try of a request may take: tryTimeout, and twice as long as the one before where that was
// too short.
type allowance struct{ limit time.Duration }

type allowanceKey struct{}

// lend gives the tries that are made with the context returned so much time.
func (p *allowance) lend(ctx context.Context) context.Context {
	if p.limit == 0 {
		return ctx
	}
	return context.WithValue(ctx, allowanceKey{}, p.limit)
}

// note takes how a try has ended.
func (p *allowance) note(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		p.limit = min(2*max(p.limit, tryTimeout), maxTryTimeout)
	}
}

// try bounds one try: by tryTimeout, or what the caller lends it, by ctx, and by the next outage.
func (o *outages) try(ctx context.Context) (context.Context, context.CancelFunc) {
	o.mu.Lock()
	outage := o.ctx
	o.mu.Unlock()
	limit, lent := ctx.Value(allowanceKey{}).(time.Duration)
	if !lent {
		limit = tryTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(outage, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
