package producers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// takeOver puts the run where the log says that earlier attempts have left it. For a first attempt there is nothing to do.
func (r *run) takeOver(ctx context.Context) error {
	if r.fold.Attempt == 0 {
		return nil
	}
	if r.cause == nil && !r.passes {
		r.cause = failedList(r.seq.State().Items())
	}
	if r.cause != nil {
		return nil
	}
	if err := r.takeOverTurn(ctx); err != nil {
		return err
	}
	if r.resumes() {
		return nil
	}
	return r.closeOpen(ctx)
}

func tooManyAttempts(n int) *schema.ResponseError {
	return &schema.ResponseError{
		Code: schema.CodeAttempts, Type: schema.TypeServer,
		Message: fmt.Sprintf("The response was tried %d times without getting on.", n),
	}
}

// failedList returns why a response fails one of whose tool lists has failed.
func failedList(items []schema.Item) *schema.ResponseError {
	for i := range items {
		var text string
		if it := &items[i]; it.Type == schema.KindListTools && it.Failed() && json.Unmarshal(it.Error, &text) == nil {
			return &schema.ResponseError{Code: httpError, Type: schema.TypeConnector, Param: "tools", Message: text}
		}
	}
	return nil
}

// takeOverTurn brings back what the last turn had left to do: its calls that are not done, and its items that are not.
func (r *run) takeOverTurn(ctx context.Context) error {
	t := r.fold.Turn
	if t == nil {
		return nil
	}
	done := map[string]bool{}
	for _, it := range r.seq.State().Items() {
		done[it.ID] = true
	}
	open := r.seq.State().Open()
	for _, c := range t.Calls {
		if done[c.ID] {
			continue
		}
		if r.left[c.ID] && !r.node.Idempotent(c.Label, c.Name) {
			c.Refusal = httpFailure("outcome unknown: the gateway was interrupted during the call")
		}
		k := &call{Call: c, producer: schema.FromLog, local: c.ID}
		if open != nil && open.ID == c.ID {
			k.producer = "" // an item that was open before belongs to nobody
		}
		r.pending = append(r.pending, k)
	}
	out, err := r.fold.Restore(r.seq)
	if appended := r.append(ctx, out); appended != nil {
		return appended
	}
	return err
}

// closeOpen deals with an item that is open and of which no turn's record tells: a model call cannot be taken up in its
// middle. A message or a reasoning is closed as incomplete, and the turn is made again with what was said; so is a tool list
// that the upstream was making. A call that the client would execute ends the response, for a truncated command must never
// be run; and so does one that the upstream itself was making, for it would make it again.
func (r *run) closeOpen(ctx context.Context) error {
	open := r.seq.State().Open()
	if open == nil || open.Type == schema.KindListTools && !r.passes || r.isPending(open.ID) {
		return nil
	}
	if open.Type == schema.KindFunctionCall || open.Type == schema.KindCustomCall || open.Type == schema.KindMCPCall && r.passes {
		r.cause = &schema.ResponseError{
			Code: schema.CodeServer, Type: schema.TypeServer, Message: "The response was interrupted in the middle of a tool call.",
		}
		return nil
	}
	closing, err := r.seq.Abort()
	if err != nil {
		return err
	}
	return r.append(ctx, closing)
}

func (r *run) isPending(item string) bool {
	return slices.ContainsFunc(r.pending, func(c *call) bool { return c.ID == item })
}

// unmade tells of the calls that never left this node: the next attempt makes them, idempotent or not.
func (r *run) unmade() ([]byte, error) {
	var given schema.Release
	if r.fold.Turn == nil {
		return nil, nil
	}
	for i := range r.fold.Turn.Calls {
		if id := r.fold.Turn.Calls[i].ID; !r.left[id] {
			given.Unmade = append(given.Unmade, id)
		}
	}
	if given.Unmade == nil {
		return nil, nil
	}
	body, err := json.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("write release: %w", err)
	}
	return body, nil
}

// releasePatience bounds how long a node that drains tries to note that it gave a run back.
const releasePatience = 2 * time.Second

// release notes that the attempt ends as planned, so that it counts as none that failed.
func (r *run) release() {
	ctx, cancel := context.WithTimeout(r.shift.closing, releasePatience)
	defer cancel()
	body, err := r.unmade()
	if err == nil {
		err = r.log.Commit(ctx, schema.RecordRelease, body)
	}
	if err != nil {
		r.node.Logger.Warn("release not noted", "run", r.ref.Response(), "error", err)
	}
}
