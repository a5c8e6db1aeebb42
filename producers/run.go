package producers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// run is one attempt at one response. It belongs to one goroutine. What it must know to decide is in fold, so another
// attempt decides the same; the rest is at hand only while it works.
type run struct {
	node    *Node
	shift   *shift
	ref     schema.Ref
	req     *schema.CreateRequest
	secrets map[string]schema.Secret
	fold    *schema.Run
	seq     *schema.Sequencer
	log     *broker.Writer
	records []schema.Record // that the log had when this attempt began
	replay  *replay         // nil, or the call that is taken up has not said anything new
	began   time.Time       // when the run began, by the clock of the log's server

	past       []schema.Item         // what this response goes on from: earlier input and output
	lists      map[string][]listed   // the tool lists in the context, by label
	approved   []schema.Item         // requests for approval that the input grants
	passes     bool                  // the upstream runs MCP tools itself
	obfuscates bool                  // deltas are padded
	pending    []*call               // of the last turn, in order
	left       map[string]bool       // ids of the last turn's calls that have left this node, or may have left an earlier one
	cause      *schema.ResponseError // why the response fails
	full       bool                  // the output can hold no more
	modelCalls int                   // of this attempt
}

var errRunExpired = errors.New("run reached its limit of time")

// guarded drives the run until its terminal event is durable. As soon as another attempt owns the log, it stops the
// heartbeat, the model and the tools. A run that is given back as planned says so in the log.
func (r *run) guarded(ctx context.Context, unkeep func()) error {
	working, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-r.log.Fenced():
			cancel(r.log.Err())
			unkeep()
		case <-working.Done():
		}
	}()
	err := r.drive(working)
	if err != nil && r.shift.ends() && r.log.Err() == nil && !r.seq.State().Ended() { // nothing stands behind the end
		r.release()
	}
	if cause := context.Cause(working); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-watched
	return err
}

// drive claims the log, then does one step after the other. An error of a step ends the response as failed; an error of
// the log, or of ctx, ends the attempt and leaves the response to the next one.
func (r *run) drive(ctx context.Context) error {
	ctx, span := r.root(ctx)
	defer span.End()
	wanted, release := r.node.wards.watch(ctx, r.ref) // before the claim: who sees that may ask for the end
	defer release()
	if err := r.claim(ctx); err != nil {
		return err
	}
	if ended, err := r.endCancelled(ctx); ended || err != nil {
		return err
	}
	left, err := r.timeLeft(ctx)
	switch {
	case err != nil:
		return err
	case left <= 0:
		return r.fail(ctx, expired())
	case r.fold.Idle >= r.node.MaxAttempts:
		return r.fail(ctx, tooManyAttempts(r.fold.Idle))
	}
	calls, stop := context.WithTimeoutCause(wanted, left, errRunExpired)
	defer stop()
	if len(r.req.Producers()) > 0 {
		return r.relay(ctx, calls)
	}
	if err := r.recallWithin(ctx, calls); err != nil {
		return err
	}
	r.readContext()
	if err := r.takeOver(ctx); err != nil {
		return err
	}
	return r.walk(ctx, calls)
}

// walk does one step after the other, to the response's end. calls is the context of steps, ctx that of the run.
func (r *run) walk(ctx, calls context.Context) error {
	steps, leave := r.shift.until(calls)
	defer leave()
	for {
		step, cause := next(r.progress(calls), r.node.MaxTurns)
		switch step {
		case finish:
			return r.finish(ctx)
		case fail:
			trace.SpanFromContext(ctx).SetStatus(codes.Error, cause.Code)
			return r.fail(ctx, cause)
		case cancelRun:
			return r.cancelled(ctx)
		}
		err := r.do(steps, calls, step)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil, r.log.Err() != nil:
			return err
		case errors.Is(context.Cause(calls), errCancelled):
			continue // no fault of the step
		case r.shift.ends():
			return err
		}
		r.node.Logger.Warn("step failed", "run", r.ref.Response(), "step", step.String(), "error", err, "upstream", upstreamCause(err))
		r.settleError(err, context.Cause(calls))
	}
}

// timeLeft is how long the run may still go on. The clock of the log's server tells how old the run is, and a stopwatch measures the
// rest: a node whose own clock is wrong neither fails every run nor lets one go on for ever.
func (r *run) timeLeft(ctx context.Context) (time.Duration, error) {
	claimed, err := r.log.Claimed(ctx)
	if err != nil {
		return 0, err
	}
	return r.node.MaxRun - claimed.Sub(r.began), nil
}

// upstreamCause is what an upstream's error says to operators only.
func upstreamCause(err error) slog.Value {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return e.LogValue()
	}
	return slog.Value{}
}

// do does one step. Tool calls that are under way when the node is to be left may end: a call that is cut is one of which
// nobody knows whether it was made. All else is cut, and done again elsewhere.
func (r *run) do(ctx, calls context.Context, s step) error {
	if r.shift.ends() {
		return errDraining
	}
	switch s {
	case listTools:
		return r.listTools(ctx)
	case callTools:
		return r.callTools(calls)
	case beginApproved:
		return r.beginApproved(ctx)
	}
	return r.callModel(ctx)
}

// settleError decides what an error of a step means for the response.
func (r *run) settleError(err, stopped error) {
	switch {
	case errors.Is(err, schema.ErrOutputFull):
		r.full = true
	case errors.Is(stopped, errRunExpired):
		r.cause = expired()
	case r.cause == nil:
		r.cause = failure(err)
	}
}

func (r *run) progress(steps context.Context) progress {
	return progress{
		cancelled: errors.Is(context.Cause(steps), errCancelled), silent: !r.req.Generates(),
		unlisted: len(r.unlisted()), approved: len(r.toBegin()), pending: len(r.pending), turns: r.turns(), cause: r.cause, full: r.full,
		answered: r.fold.Turn != nil && r.fold.Turn.Answered(),
	}
}

// turns counts the model calls that have ended.
func (r *run) turns() int {
	if r.fold.Turn == nil {
		return 0
	}
	return r.fold.Turn.Number
}

// claim makes this attempt the owner: from its commit on, every append of an earlier attempt fails.
func (r *run) claim(ctx context.Context) error {
	body, err := json.Marshal(schema.Claim{Node: r.node.Name})
	if err != nil {
		return fmt.Errorf("write claim: %w", err)
	}
	var events []schema.Event
	if !r.seq.State().Running() {
		if events, err = r.seq.Push(fromGateway, schema.Event{Type: schema.InProgress}); err != nil {
			return err
		}
	}
	return r.log.Commit(ctx, schema.RecordClaim, body, events...)
}

// fromGateway is the producer of the response's own lifecycle.
const fromGateway = "gateway"

// push hands an event to the sequencer, and appends what may go out.
func (r *run) push(ctx context.Context, producer string, e schema.Event) error {
	out, err := r.seq.Push(producer, e)
	if appended := r.append(ctx, out); appended != nil {
		return appended
	}
	return err
}

func (r *run) append(ctx context.Context, events []schema.Event) error {
	events, err := r.unsaid(events)
	if err != nil || len(events) == 0 {
		return err
	}
	r.obfuscate(events)
	return r.log.Append(ctx, events...)
}
