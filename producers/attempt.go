package producers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// outcome is the closing line of an attempt.
type outcome struct {
	attempt    int
	modelCalls int // of this attempt
	events     int64
	status     string
}

// attempt claims the job's log, drives the run to its terminal event and seals it. Any error but ErrFenced, ErrGone and
// ErrExists leaves the run to another attempt.
func (n *Node) attempt(ctx context.Context, job *broker.Job) (outcome, error) {
	ref := job.Command.Ref()
	history, fold, err := n.open(ctx, job.Command)
	if err != nil {
		return outcome{}, err
	}
	w := n.Queue.Writer(history, fold.Attempt+1, rand.Text())
	defer w.Close()
	r, err := n.newRun(ref, job, history, fold, w)
	if err != nil {
		return outcome{}, err
	}
	if !fold.State.Ended() {
		if err := r.guarded(ctx); err != nil {
			return outcome{}, err
		}
	}
	sealing, cancel := context.WithTimeout(context.WithoutCancel(ctx), sealPatience)
	defer cancel()
	if err := w.Seal(sealing, fold.State.Response().Store); err != nil {
		return outcome{}, fmt.Errorf("seal %s: %w", ref, err)
	}
	return outcome{
		attempt: fold.Attempt + 1, modelCalls: r.modelCalls, events: fold.State.Next(), status: fold.State.Response().Status,
	}, nil
}

// open reads the log of a command, and writes its request record first if the gateway has not.
func (n *Node) open(ctx context.Context, cmd *schema.Command) (*broker.History, *schema.Run, error) {
	rec, err := cmd.RequestRecord()
	if err != nil {
		return nil, nil, err
	}
	if err := n.Queue.Begin(ctx, rec, cmd.Ref()); err != nil {
		return nil, nil, fmt.Errorf("begin %s: %w", cmd.Ref(), err)
	}
	history, err := n.Queue.Read(ctx, cmd.Ref())
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", cmd.Ref(), err)
	}
	fold, err := schema.FoldRun(cmd.Ref(), history.Records)
	return history, fold, err
}

func (n *Node) newRun(ref schema.Ref, job *broker.Job, h *broker.History, fold *schema.Run, w *broker.Writer) (*run, error) {
	req, err := fold.Command.Parse()
	if err != nil {
		return nil, err
	}
	r := &run{
		node: n, ref: ref, req: req, fold: fold, log: w, seq: schema.NewSequencer(&fold.State),
		trace: fold.Command.Trace, deadline: h.Began.Add(n.MaxRun), idle: idleAttempts(h.Records),
		usage: fold.Usage, turns: fold.Turns, secrets: map[string]schema.Secret{},
	}
	if job.SecretsErr != nil {
		r.cause = failure(job.SecretsErr)
		return r, nil
	}
	if len(job.Secrets) > 0 {
		if err := json.Unmarshal(job.Secrets, &r.secrets); err != nil {
			return nil, errors.New("read secrets: not what was sealed") // the error could quote them
		}
	}
	return r, nil
}

// idleAttempts counts the claims at the end of a log behind which nothing happened.
func idleAttempts(records []schema.Record) int {
	n := 0
	for i := len(records) - 1; i >= 0 && records[i].Kind == schema.RecordClaim; i-- {
		n++
	}
	return n
}
