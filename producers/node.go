package producers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/midstream-dev/midstream/broker"
)

// Node works runs: it claims commands, as many as it has free slots, and drives each to its end. It is safe for
// concurrent use.
type Node struct {
	Config
	slots   chan struct{}
	metrics *metrics
	wards   wards
}

// New checks the configuration and returns a Node that does nothing yet.
func New(cfg Config) (*Node, error) {
	if cfg.Queue == nil || cfg.Control == nil || cfg.Library == nil || cfg.Models == nil || cfg.Tools == nil {
		return nil, errors.New("producers: Queue, Control, Library, Models and Tools must be set")
	}
	cfg = cfg.withDefaults()
	cfg.Tools = careful{cfg.Tools}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("producers: register metrics: %w", err)
	}
	return &Node{Config: cfg, slots: make(chan struct{}, cfg.Slots), metrics: m}, nil
}

// Run claims and works until ctx ends. Then it claims no more, gives back the runs that it has, and returns when each of
// them has been given back. It fails only if the queue is closed under it.
func (n *Node) Run(ctx context.Context) error {
	// The runs are given back only when no claim is under way here any more: it would take them up again.
	working, giveBack := context.WithCancel(context.WithoutCancel(ctx))
	following, leave := context.WithCancel(working)
	var runs, follower sync.WaitGroup
	defer follower.Wait()
	defer leave()
	defer runs.Wait()
	defer giveBack()
	follower.Go(func() { n.follow(following) })
	follower.Go(func() { n.sweep(ctx) })
	for {
		select {
		case n.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		job, err := n.Queue.Claim(ctx)
		if err != nil {
			<-n.slots
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("claim a run: %w", err)
		}
		runs.Go(func() {
			defer func() { <-n.slots }()
			n.work(working, job)
		})
	}
}

// work drives one job. Whatever happens, the job is either acked behind its sealed terminal event, or left to another
// attempt: at once if it can be given back, else when its lease ends.
func (n *Node) work(ctx context.Context, job *broker.Job) {
	log := n.Logger.With("run", job.Command.Response, "delivery", job.Delivered)
	unkeep := job.Keep()
	defer unkeep()
	began := n.Now()
	n.metrics.active.Inc()
	defer n.metrics.active.Dec()

	result, err := n.attempt(ctx, job, unkeep)
	took := n.Now().Sub(began)
	switch {
	case errors.Is(err, broker.ErrFenced): // the job is another's now: no ack, no nak, no heartbeat
		n.metrics.attempts.WithLabelValues("fenced").Inc()
		log.Warn("run taken over by another attempt")
	case errors.Is(err, errGone):
		n.metrics.attempts.WithLabelValues("gone").Inc()
		log.Info("run dropped", "error", err)
		n.drop(job)
	case err != nil && ctx.Err() != nil:
		n.metrics.attempts.WithLabelValues("released").Inc()
		log.Info("run handed over")
		n.giveBack(job, 0)
	case err != nil:
		n.metrics.attempts.WithLabelValues("failed").Inc()
		log.Error("run given back", "error", err)
		n.giveBack(job, retryDelay(job.Delivered))
	default:
		n.metrics.attempts.WithLabelValues("ended").Inc()
		n.ack(job)
		n.metrics.ended(result.status, took)
		log.Info("run ended", "attempt", result.attempt, "status", result.status, "events", result.events,
			"model_calls", result.modelCalls, "took", took.String())
	}
}

// A run that nobody can work comes back ever later: what stands in its way may last.
const (
	retryMin = 250 * time.Millisecond
	retryMax = time.Minute
)

func retryDelay(deliveries int) time.Duration {
	return min(retryMax, retryMin<<min(max(deliveries-1, 0), 16))
}

// ack, drop and giveBack use a context of their own: the node may be draining.
func (n *Node) ack(job *broker.Job) {
	ctx, cancel := context.WithTimeout(context.Background(), sealPatience)
	defer cancel()
	if err := job.Ack(ctx); err != nil {
		n.Logger.Warn("ack run", "run", job.Command.Response, "error", err)
	}
}

func (n *Node) drop(job *broker.Job) {
	ctx, cancel := context.WithTimeout(context.Background(), sealPatience)
	defer cancel()
	if err := job.Drop(ctx); err != nil {
		n.Logger.Warn("drop run", "run", job.Command.Response, "error", err)
	}
}

func (n *Node) giveBack(job *broker.Job, delay time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), sealPatience)
	defer cancel()
	if err := job.Nak(ctx, delay); err != nil {
		n.Logger.Warn("give back run", "run", job.Command.Response, "error", err)
	}
}
