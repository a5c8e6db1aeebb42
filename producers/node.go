package producers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/midstream-dev/midstream/broker"
)

// Node works runs: it claims commands, as many as it has free slots, and drives each to its end. It is safe for
// concurrent use.
type Node struct {
	Config
	slots   chan struct{}
	metrics *metrics
}

// New checks the configuration and returns a Node that does nothing yet.
func New(cfg Config) (*Node, error) {
	if cfg.Queue == nil || cfg.Models == nil || cfg.Tools == nil {
		return nil, errors.New("producers: Queue, Models and Tools must be set")
	}
	cfg = cfg.withDefaults()
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
	var runs sync.WaitGroup
	defer runs.Wait()
	defer giveBack()
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
	stop := job.Keep()
	defer stop()
	began := n.Now()
	n.metrics.active.Inc()
	defer n.metrics.active.Dec()

	result, err := n.attempt(ctx, job)
	switch {
	case errors.Is(err, broker.ErrFenced):
		stop() // the job is another's now: no ack, no nak, no heartbeat
		log.Warn("run taken over by another attempt")
	case errors.Is(err, broker.ErrGone), errors.Is(err, broker.ErrExists):
		log.Error("run dropped", "error", err)
		n.ack(job)
	case err != nil:
		log.Warn("run given back", "error", err)
		n.giveBack(job)
	default:
		n.ack(job)
		n.metrics.ended(result.status, n.Now().Sub(began))
		log.Info("run ended", "attempt", result.attempt, "status", result.status, "events", result.events,
			"model_calls", result.modelCalls, "took", n.Now().Sub(began).String())
	}
}

// ack and giveBack use a context of their own: the node may be draining.
func (n *Node) ack(job *broker.Job) {
	ctx, cancel := context.WithTimeout(context.Background(), sealPatience)
	defer cancel()
	if err := job.Ack(ctx); err != nil {
		n.Logger.Warn("ack run", "run", job.Command.Response, "error", err)
	}
}

func (n *Node) giveBack(job *broker.Job) {
	ctx, cancel := context.WithTimeout(context.Background(), sealPatience)
	defer cancel()
	if err := job.Nak(ctx); err != nil {
		n.Logger.Warn("give back run", "run", job.Command.Response, "error", err)
	}
}
