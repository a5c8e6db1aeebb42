package broker

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// What waits for a slow listener before NATS drops it. Listeners find out by the positions and read the log.
const (
	livePendingMessages = 4096
	livePendingBytes    = 2 * schema.MaxPayload
)

// heard is a record with its place in the stream, as the live subject or a replay brought it.
type heard struct {
	entry
	position, previous uint64
	stored             time.Time // by the server's clock; zero on the live subject
	gone               bool      // no record: the response was erased
}

// live gives each record of a response, as it is republished after it was stored, and word of its erasure, to the listeners
// of that response: at most once, perhaps repeated, in order as far as they come. One subscription serves all listeners of
// a response in this process, hub and writer, so the server sends each record once.
type live struct {
	nc      *nats.Conn
	outages *outages
	report  func(error)

	mu     sync.Mutex
	topics map[string]*topic
}

type topic struct {
	sub       *nats.Subscription
	next      int
	listeners map[int]func(*heard)
}

func newLive(c *conns, report func(error)) *live {
	return &live{nc: c.live, outages: c.outages, report: report, topics: make(map[string]*topic)}
}

// listen calls deliver for each record that is stored after it has returned, until stop is called. Calls may still be under
// way when stop returns; deliver must not block, since other listeners of the response wait behind it.
func (l *live) listen(subject string, deliver func(*heard)) (stop func(), err error) {
	stop, err = l.join(subject, deliver)
	if err == nil {
		l.settle()
	}
	return stop, err
}

// settle waits until the server knows of every subscription: it reads this connection on its own, so a record could be
// stored, and a tip read, before it gets there. An outage is no error, since then nothing is heard in any case and the
// subscription is made again with the connection.
func (l *live) settle() {
	if !l.nc.IsConnected() {
		return
	}
	ctx, cancel := l.outages.try(context.Background())
	defer cancel()
	_ = l.nc.FlushWithContext(ctx)
}

func (l *live) join(subject string, deliver func(*heard)) (stop func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.topics[subject]
	if !ok {
		if t, err = l.subscribe(subject); err != nil {
			return nil, err
		}
		l.topics[subject] = t
	}
	id := t.next
	t.next++
	t.listeners[id] = deliver
	return sync.OnceFunc(func() { l.leave(subject, t, id) }), nil
}

func (l *live) subscribe(subject string) (*topic, error) {
	t := &topic{listeners: make(map[int]func(*heard))}
	sub, err := l.nc.Subscribe(subject, func(m *nats.Msg) { l.deliver(t, m) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to live records: %w", err)
	}
	if err := sub.SetPendingLimits(livePendingMessages, livePendingBytes); err != nil {
		return nil, fmt.Errorf("bound live records: %w", err)
	}
	t.sub = sub
	return t, nil
}

func (l *live) leave(subject string, t *topic, id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(t.listeners, id)
	if len(t.listeners) > 0 {
		return
	}
	delete(l.topics, subject)
	if err := t.sub.Unsubscribe(); err != nil && !closed(err) {
		l.report(fmt.Errorf("unsubscribe from live records: %w", err))
	}
}

func (l *live) deliver(t *topic, m *nats.Msg) {
	h, err := hear(m)
	if err != nil {
		l.report(fmt.Errorf("live record on %s: %w", m.Subject, err))
		return
	}
	l.mu.Lock()
	listeners := make([]func(*heard), 0, len(t.listeners))
	for _, f := range t.listeners {
		listeners = append(listeners, f)
	}
	l.mu.Unlock()
	for _, f := range listeners {
		f(h)
	}
}

func hear(m *nats.Msg) (*heard, error) {
	if m.Header.Get(headerKind) == kindGone {
		return &heard{gone: true}, nil
	}
	e, err := decode(m.Header, m.Data)
	if err != nil {
		return nil, err
	}
	position, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", jetstream.SequenceHeader, err)
	}
	previous, err := strconv.ParseUint(m.Header.Get(jetstream.LastSequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", jetstream.LastSequenceHeader, err)
	}
	return &heard{entry: e, position: position, previous: previous}, nil
}
