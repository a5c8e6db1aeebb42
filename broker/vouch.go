package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// leaderTerm is how long a leader surely leads from the moment in which a majority has answered it: an election begins 4 s
	// after that at the earliest, and one second is for clocks that do not run alike.
	leaderTerm = 3 * time.Second
	// soloTerm is how long the only server of a stream is taken for that: somebody may give the stream more.
	soloTerm = time.Minute
)

// errOutdated says that a stream's leader is not in touch with a majority of the servers: another one may have been elected
// without it.
var errOutdated = fmt.Errorf("has not heard of a majority for %s", leaderTerm)

// errNoLeader says that a stream's servers elect a leader, or cannot.
var errNoLeader = errors.New("there is none")

// terms is until when the leader of each stream is surely the one.
type terms struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (t *terms) runs(stream string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.until[stream])
}

func (t *terms) note(stream string, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until = make(map[string]time.Time)
	}
	t.until[stream] = until
}

// vouch returns nil if what the stream's leader has just said was the word of the leader. One that was cut off from the
// others does not know of its successor, and answers on for 10 s and more: what it has is true, but it may lack what was
// acknowledged since. So that nothing is there, or that nothing stands behind it, is believed of a leader in touch only.
//
// One question to a stream serves everybody for as long as the term lasts.
func (b *Broker) vouch(ctx context.Context, stream string) error {
	if b.server != nil || b.terms.runs(stream) {
		return nil // the server in this process is alone
	}
	_, err, _ := b.vouching.Do(stream, func() (any, error) { return nil, b.vouchAnew(ctx, stream) })
	return err
}

func (b *Broker) vouchAnew(ctx context.Context, stream string) error {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	asked := time.Now()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("ask for leader of %s: %w", stream, err)
	}
	term, err := termOf(s.CachedInfo().Cluster)
	if err != nil {
		return fmt.Errorf("leader of %s: %w", stream, err)
	}
	b.terms.note(stream, asked.Add(term))
	return nil
}

// termOf reads how much longer whoever has answered is the leader for sure.
func termOf(c *jetstream.ClusterInfo) (time.Duration, error) {
	switch {
	case c == nil || (len(c.Replicas) == 0 && c.Leader != ""):
		return soloTerm, nil
	case c.Leader == "":
		return 0, errNoLeader
	}
	var silences []time.Duration
	for _, r := range c.Replicas {
		if !r.Offline && (r.Active > 0 || r.Current) { // one that was never heard has no silence either
			silences = append(silences, r.Active)
		}
	}
	slices.Sort(silences)
	need := (len(c.Replicas) + 1) / 2 // beside the leader itself
	if len(silences) < need || silences[need-1] >= leaderTerm {
		return 0, errOutdated
	}
	return leaderTerm - silences[need-1], nil
}
