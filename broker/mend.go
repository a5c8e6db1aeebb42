package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/midstream-dev/midstream/broker/hub"
)

// doubtful reports whether what a replica gave may be its own damage. JetStream mends no replica whose disk has lost
// messages: it is in the cluster as if it were whole, and answers batched reads with what it has. The chain and the numbers of
// the records show it.
func doubtful(err error) bool {
	_, corrupt := errors.AsType[*CorruptError](err)
	return corrupt || errors.Is(err, errUnreadable) || errors.Is(err, hub.ErrHole)
}

// mend yields the record behind after as the leader has it, where a replica has given one that cannot follow. If the leader
// has that one too, or none, the log itself is damaged, and doubt is returned.
func (b *Broker) mend(ctx context.Context, p place, after uint64, doubt error, yield func(*heard) error) (uint64, error) {
	next, err := b.ask(ctx, p.logStream(), leaderQuery{Seq: after + 1, NextFor: p.log()})
	if err != nil {
		return after, fmt.Errorf("%w; ask the leader: %w", errNotMended, err)
	}
	if next == nil {
		return after, doubt
	}
	e, err := decode(next.header, next.data)
	if err != nil {
		return after, err
	}
	if err := yield(&heard{entry: e, position: next.position, previous: after, stored: next.at}); err != nil {
		return after, err
	}
	b.damaged(p.logStream(), doubt)
	return next.position, nil
}

// errNotMended says that a replica gave a record which cannot follow, and that the leader could not be asked.
var errNotMended = errors.New("a replica has given a record that cannot follow")

// toldEvery is how often the damage of one stream is logged: a replica that lacks thousands of messages is one piece of news.
const toldEvery = time.Minute

// news is when the damage of a stream was last told.
type news struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (n *news) due(stream string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.at[stream]) < toldEvery {
		return false
	}
	if n.at == nil {
		n.at = make(map[string]time.Time)
	}
	n.at[stream] = time.Now()
	return true
}

// damaged tells the operator that a replica lacks what another one has.
func (b *Broker) damaged(stream string, doubt error) {
	b.metrics.mended.Inc()
	if b.news.due(stream) {
		b.log.Error("a replica has lost messages: they were read from another one", "stream", stream, "doubt", doubt,
			"do", "find its server with `midstream doctor`, and have it copy the stream anew")
	}
}
