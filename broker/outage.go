package broker

import (
	"context"
	"sync"
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

// try bounds one try: by tryTimeout, by ctx, and by the next outage.
func (o *outages) try(ctx context.Context) (context.Context, context.CancelFunc) {
	o.mu.Lock()
	outage := o.ctx
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	stop := context.AfterFunc(outage, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
