package producers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

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
	model      string
	tokens     int64 // of all calls that told, 0 where none did
}

// errGone says that a run has nowhere to go on: its response was erased, or another request stands under its id.
var errGone = errors.New("the run has no log of its own")

// attempt claims the job's log, drives the run to its terminal event and seals it. An error other than ErrFenced and
// errGone leaves the run to another attempt. unkeep stops the job's heartbeat.
func (n *Node) attempt(s *shift, job *broker.Job, unkeep func()) (_ outcome, err error) {
	defer func() {
		if p := recover(); p != nil { // one run must not take the others of this node with it
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	ctx := s.working
	history, fold, err := n.open(ctx, job.Command)
	if err != nil {
		return outcome{}, err
	}
	w := n.Queue.Writer(history, fold.Attempt+1, rand.Text())
	defer w.Close()
	r, err := n.newRun(s, job, history, fold, w)
	if err != nil {
		return outcome{}, err
	}
	if fold.State.Ended() {
		r.abandonOpen() // whoever has ended it may be no producer
	} else if err := r.guarded(ctx, unkeep); err != nil {
		return outcome{}, n.whetherErased(ctx, r.ref, err)
	}
	fold = r.fold
	sealing, cancel := context.WithTimeout(s.closing, sealPatience)
	defer cancel()
	switch err := w.Seal(sealing, fold.State.Response().Store); {
	case errors.Is(err, broker.ErrGone):
		return outcome{}, fmt.Errorf("seal %s: %w", r.ref, errGone)
	case err != nil:
		return outcome{}, fmt.Errorf("seal %s: %w", r.ref, err)
	}
	end := outcome{
		attempt: fold.Attempt + 1, modelCalls: r.modelCalls, events: fold.State.Next(),
		status: fold.State.Response().Status, model: fold.State.Response().Model,
	}
	if told := fold.State.Response().Usage; told != nil {
		end.tokens = told.TotalTokens
	}
	return end, nil
}

// whetherErased tells an erasure apart from a log that has aged away under its writer.
func (n *Node) whetherErased(ctx context.Context, ref schema.Ref, err error) error {
	if !errors.Is(err, broker.ErrGone) {
		return err
	}
	if _, read := n.Queue.Read(ctx, ref); errors.Is(read, broker.ErrGone) {
		return fmt.Errorf("write %s: %w", ref, errGone)
	}
	return err
}

// open reads the log of a command, hot or sealed, and begins it only if there is neither: a second log under the same id
// would run tools again that have run.
func (n *Node) open(ctx context.Context, cmd *schema.Command) (*broker.History, *schema.Run, error) {
	history, err := n.Queue.Read(ctx, cmd.Ref())
	if errors.Is(err, broker.ErrNotFound) {
		if err := n.begin(ctx, cmd); err != nil {
			return nil, nil, err
		}
		history, err = n.Queue.Read(ctx, cmd.Ref())
	}
	switch {
	case errors.Is(err, broker.ErrGone):
		return nil, nil, fmt.Errorf("read %s: %w", cmd.Ref(), errGone)
	case err != nil:
		return nil, nil, fmt.Errorf("read %s: %w", cmd.Ref(), err)
	}
	fold, err := schema.FoldRun(cmd.Ref(), history.Records)
	return history, fold, err
}

// begin writes the request record, unless the gateway has.
func (n *Node) begin(ctx context.Context, cmd *schema.Command) error {
	rec, err := cmd.RequestRecord()
	if err != nil {
		return err
	}
	err = n.Queue.Begin(ctx, rec, cmd.Ref())
	if errors.Is(err, broker.ErrExists) {
		err = errGone
	}
	if err != nil {
		return fmt.Errorf("begin %s: %w", cmd.Ref(), err)
	}
	return nil
}

func (n *Node) newRun(s *shift, job *broker.Job, h *broker.History, fold *schema.Run, w *broker.Writer) (*run, error) {
	req, err := fold.Command.Parse()
	if err != nil {
		return nil, err
	}
	r := &run{
		node: n, shift: s, ref: h.Ref, records: h.Records, req: req, fold: fold, log: w, seq: schema.NewSequencer(&fold.State),
		left: fold.Doubts(), began: h.Began, secrets: map[string]schema.Secret{}, obfuscates: req.Obfuscates(),
	}
	if h.Began.Sub(job.Queued) > n.MaxRun {
		r.began = job.Queued // the log was begun again, long after the request: whatever was in it has aged away
	}
	if err := r.readSecrets(job); err != nil {
		n.Logger.Warn("credentials not read", "run", r.ref.Response(), "error", err)
		r.cause = failure(err)
	}
	return r, nil
}

// readSecrets reads the credentials that the caller gave for MCP servers.
func (r *run) readSecrets(job *broker.Job) error {
	switch {
	case job.SecretsErr != nil:
		return lostSecrets(job.SecretsErr)
	case len(job.Secrets) == 0 && len(r.fold.Command.Secrets) > 0:
		return lostSecrets(errors.New("the job that held them is gone"))
	case len(job.Secrets) > 0 && json.Unmarshal(job.Secrets, &r.secrets) != nil: // its error would quote them
		return lostSecrets(errors.New("they are not what was sealed"))
	}
	return nil
}

func lostSecrets(cause error) error {
	return fmt.Errorf("%w: %w", &schema.Error{
		Status: http.StatusInternalServerError, Code: schema.CodeCredentials, Type: schema.TypeServer,
		Message: "The credentials that came with the request for its MCP servers can no longer be read. Make the request again.",
	}, cause)
}
