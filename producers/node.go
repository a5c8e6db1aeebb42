package producers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	if cfg.Queue == nil || cfg.Feeds == nil || cfg.Control == nil || cfg.Library == nil || cfg.Models == nil || cfg.Tools == nil {
		return nil, errors.New("producers: Queue, Feeds, Control, Library, Models and Tools must be set")
	}
	cfg = cfg.withDefaults()
	cfg.Tools = careful{cfg.Tools}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("producers: register metrics: %w", err)
	}
	return &Node{Config: cfg, slots: make(chan struct{}, cfg.Slots), metrics: m}, nil
}

// Run claims and works until ctx ends. Then it claims no more, hands over the runs that it has, and returns when each of them
// has been given back or has ended: model calls are cut at once, tool calls that are under way have Config.DrainCalls to end.
// It returns within DrainCalls and some seconds, and fails only if the queue is closed under it.
func (n *Node) Run(ctx context.Context) error {
	s := newShift(ctx)
	defer s.over()
	following, stop := context.WithCancel(s.working)
	var runs, helpers sync.WaitGroup
	helpers.Go(func() { n.follow(following) })
	helpers.Go(func() { n.sweep(s.leaving) })
	helpers.Go(func() { n.openFed(s.leaving) })
	err := n.claimAll(ctx, s, &runs)
	// The runs are given back only when no claim is under way here any more: it would take them up again.
	s.drain(n.DrainCalls)
	runs.Wait()
	stop()
	helpers.Wait()
	return err
}

// claimAll claims and begins runs until ctx ends.
func (n *Node) claimAll(ctx context.Context, s *shift, runs *sync.WaitGroup) error {
	for {
		select {
		case n.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		job, err := n.Queue.Claim(ctx)
		if job != nil && ctx.Err() != nil {
			n.giveBack(s, job, 0) // not begun
		}
		if ctx.Err() != nil {
			<-n.slots
			return nil //nolint:nilerr // that a claim ends with ctx is no failure
		}
		if err != nil {
			<-n.slots
			return fmt.Errorf("claim a run: %w", err)
		}
		runs.Go(func() {
			defer func() { <-n.slots }()
			n.work(s, job)
		})
	}
}

// work drives one job. Whatever happens, the job is either acked behind its sealed terminal event, or left to another
// attempt: at once if it can be given back, else when its lease ends.
func (n *Node) work(s *shift, job *broker.Job) {
	log := n.Logger.With("run", job.Command.Response, "delivery", job.Delivered)
	if n.declines(s, job, log) {
		return
	}
	unkeep := job.Keep()
	defer unkeep()
	log.Info("run begun")
	began := time.Now() // its stopwatch, not its clock
	n.metrics.active.Inc()
	defer n.metrics.active.Dec()

	result, err := n.attempt(s, job, unkeep)
	took := time.Since(began)
	switch {
	case errors.Is(err, broker.ErrFenced): // the job is another's now: no ack, no nak, no heartbeat
		n.metrics.attempts.WithLabelValues("fenced").Inc()
		log.Warn("run taken over by another attempt")
	case errors.Is(err, errGone):
		n.metrics.attempts.WithLabelValues("gone").Inc()
		log.Info("run dropped", "error", err)
		n.drop(s, job)
	case err != nil && s.ends() && cutShort(err):
		n.metrics.attempts.WithLabelValues("released").Inc()
		log.Info("run handed over")
		n.giveBack(s, job, 0)
	case err != nil:
		n.metrics.attempts.WithLabelValues("failed").Inc()
		log.Error("run given back", "error", err)
		delay := retryDelay(job.Delivered)
		if s.ends() {
			delay = 0 // it may be this node's own trouble
		}
		n.giveBack(s, job, delay)
	default:
		n.metrics.attempts.WithLabelValues("ended").Inc()
		n.ack(s, job)
		n.metrics.ended(result.status, took)
		log.Info("run ended", "attempt", result.attempt, "status", result.status, "events", result.events,
			"model", result.model, "model_calls", result.modelCalls, "tokens", result.tokens, "took", took)
	}
}

// declines leaves a job to others: one that is in good hands, or that may be more than a process can bear.
func (n *Node) declines(s *shift, job *broker.Job, log *slog.Logger) bool {
	switch {
	case job.Held(s.working):
		n.metrics.attempts.WithLabelValues("held").Inc()
		log.Info("run left where it is: its heartbeats were lost, not its worker")
	case strays(job.Delivered):
		n.metrics.attempts.WithLabelValues("put_off").Inc()
		log.Warn("run put off: it was handed out so often that it may end those that take it")
		n.giveBack(s, job, retryMax)
	default:
		return false
	}
	return true
}

// cutShort reports whether err says no more than that the work was stopped.
func cutShort(err error) bool {
	return errors.Is(err, errDraining) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// A run that nobody can work comes back ever later: what stands in its way may last.
const (
	retryMin = 250 * time.Millisecond
	retryMax = time.Minute
)

// maxStrays is how often a job may be handed out before each second time only puts it off. Attempts are bounded by the claims in
// the log. What bounds those that do not get so far, because reading the log ends the process, is that they are rare then: they
// do not take one node after the other with them.
const maxStrays = 4 * DefaultMaxAttempts

func strays(deliveries int) bool { return deliveries > maxStrays && deliveries%2 == 1 }

func retryDelay(deliveries int) time.Duration {
	return min(retryMax, retryMin<<min(max(deliveries-1, 0), 16))
}

// ack, drop and giveBack may still be made while the node drains.
func (n *Node) ack(s *shift, job *broker.Job) {
	ctx, cancel := context.WithTimeout(s.closing, sealPatience)
	defer cancel()
	if err := job.Ack(ctx); err != nil {
		n.Logger.Warn("ack run", "run", job.Command.Response, "error", err)
	}
}

func (n *Node) drop(s *shift, job *broker.Job) {
	ctx, cancel := context.WithTimeout(s.closing, sealPatience)
	defer cancel()
	if err := job.Drop(ctx); err != nil {
		n.Logger.Warn("drop run", "run", job.Command.Response, "error", err)
	}
}

func (n *Node) giveBack(s *shift, job *broker.Job, delay time.Duration) {
	ctx, cancel := context.WithTimeout(s.closing, sealPatience)
	defer cancel()
	if err := job.Nak(ctx, delay); err != nil {
		n.Logger.Warn("give back run", "run", job.Command.Response, "error", err)
	}
}
