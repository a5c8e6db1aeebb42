package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// readyFresh is how long one look at the cluster is good for, readyWait how long it may take: a probe gives it 2 s.
	readyFresh = time.Second
	readyWait  = 1500 * time.Millisecond
	// electionPatience outlasts an election, which takes 4 to 9 s. While one goes on, its stream's writers hold what they are
	// given, and creates wait; a load balancer that took every node away would turn that pause into errors.
	electionPatience = 10 * time.Second
)

// readiness is what the last look has shown. Probes come as often as they like: the next look is made when this one is old.
type readiness struct {
	turn chan struct{} // guards what follows
	at   time.Time
	err  error
	lost map[string]time.Time // since when a stream was seen without a leader
}

func newReadiness() *readiness {
	return &readiness{turn: make(chan struct{}, 1), lost: make(map[string]time.Time)}
}

// Ready returns nil when new work may be given to this node: NATS answers on every connection, and the log can be written.
// It is not when no stream at all has a leader that a majority of the servers follows, at once; nor when a single one has
// been without for longer than an election takes. Its answer is up to a second old, and comes within two: cheap enough for
// any number of probes.
func (b *Broker) Ready(ctx context.Context) error {
	r := b.ready
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("look at NATS: %w", ctx.Err())
	}
	defer func() { <-r.turn }()
	if time.Since(r.at) > readyFresh {
		// The look serves other probes too: it does not end with this one.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWait)
		defer cancel()
		r.err, r.at = b.look(look), time.Now()
	}
	return r.err
}

func (b *Broker) look(ctx context.Context) error {
	if b.server != nil {
		if err := b.server.Check(); err != nil {
			return err
		}
	}
	if err := b.conns.check(ctx); err != nil {
		return fmt.Errorf("NATS does not answer: %w", err)
	}
	without, err := b.leaderless(ctx)
	return b.ready.judge(without, len(b.cfg.streams(b.partitions)), err, time.Now())
}

// leaderless asks every stream at once, since one without a leader does not answer, and returns those, with one reason.
func (b *Broker) leaderless(ctx context.Context) (without []string, reason error) {
	var mu sync.Mutex
	var asks errgroup.Group
	for _, s := range b.cfg.streams(b.partitions) {
		asks.Go(func() error {
			if err := b.vouch(ctx, s.Name); err != nil {
				mu.Lock()
				defer mu.Unlock()
				without, reason = append(without, s.Name), err
			}
			return nil
		})
	}
	_ = asks.Wait() // none returns an error
	slices.Sort(without)
	return without, reason
}

// judge says whether so many streams without a leader are an election, or more than that.
func (r *readiness) judge(without []string, of int, reason error, now time.Time) error {
	for stream := range r.lost {
		if !slices.Contains(without, stream) {
			delete(r.lost, stream)
		}
	}
	var long []string
	for _, stream := range without {
		if _, seen := r.lost[stream]; !seen {
			r.lost[stream] = now
		}
		if now.Sub(r.lost[stream]) > electionPatience {
			long = append(long, stream)
		}
	}
	switch {
	case len(without) == of:
		return fmt.Errorf("no stream has a leader with a majority: %w", reason)
	case len(long) > 0:
		return fmt.Errorf("without a leader with a majority for more than %s: %s: %w", electionPatience, strings.Join(long, ", "), reason)
	}
	return nil
}
