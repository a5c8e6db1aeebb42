package schema

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Claim is the body of a claim record.
type Claim struct {
	Node string `json:"node"`
	// Cancel says that the attempt only ends the response, as cancelled, since nobody else did.
	Cancel bool `json:"cancel,omitzero"`
}

// Turn is the body of a turn record: a model call has ended, and how. What the model's last item has not shown by then
// is in it, and it is in the log before any of the calls leaves the node: no turn is made twice, and no call.
type Turn struct {
	Number     int    `json:"turn"`                // model calls that have ended, this one included
	Usage      *Usage `json:"usage,omitzero"`      // of this model call
	Tier       string `json:"tier,omitzero"`       // service tier that served it
	Incomplete string `json:"incomplete,omitzero"` // why the answer is not whole
	Hands      bool   `json:"hands,omitzero"`      // it calls tools of the client: behind Calls, the response ends
	Calls      []Call `json:"calls,omitzero"`      // of tools that the run itself makes, in the order of their items
	Held       []Item `json:"held,omitzero"`       // items not done on the wire, whole, in order, under their final ids
}

// Answered reports whether the response ends behind the turn's own calls.
func (t *Turn) Answered() bool { return len(t.Calls) == 0 || t.Hands }

// Call is one tool call of a turn.
type Call struct {
	ID        string         `json:"id"` // of its mcp_call item, whether or not that holds the wire already
	Label     string         `json:"server_label"`
	Name      string         `json:"name"`
	Arguments string         `json:"arguments"`
	Refusal   jsontext.Value `json:"refusal,omitzero"` // the error with which it ends without being made
}

// Result is the body of a result record: what a call gave. It is written when the call's frames must still wait.
type Result struct {
	ID     string         `json:"id"`
	Output *string        `json:"output"`
	Error  jsontext.Value `json:"error,omitzero"`
}

// Run is the fold of a log's records: the response's State, and what only the owner of the run may know.
type Run struct {
	Command *Command
	State   State
	Attempt int
	Nonce   string
	Idle    int    // attempts at the end of the log that got nowhere
	Usage   *Usage // of the turns that have ended
	Turn    *Turn  // the last one; nil before the first
	Results map[string]Result
	Chain   Digest
}

// FoldRun folds a log from its request record.
func FoldRun(ref Ref, records []Record) (*Run, error) {
	r := &Run{Chain: Genesis(ref), Results: map[string]Result{}}
	for i := range records {
		if err := r.Apply(&records[i]); err != nil {
			return nil, fmt.Errorf("fold %s, record %d: %w", ref, i, err)
		}
	}
	if r.Command == nil {
		return nil, fmt.Errorf("fold %s: no request record", ref)
	}
	return r, nil
}

// Apply takes the log's next record: its place in the chain, its numbers, its body and its frames.
func (r *Run) Apply(rec *Record) error {
	if err := rec.Verify(r.Chain); err != nil {
		return err
	}
	if rec.First != r.State.Next() {
		return fmt.Errorf("record %s begins at %d, %d is due", rec.Kind, rec.First, r.State.Next())
	}
	if (rec.Kind == RecordRequest) != (r.Command == nil) {
		return fmt.Errorf("record %s out of place", rec.Kind)
	}
	if err := r.applyBody(rec); err != nil {
		return fmt.Errorf("record %s: %w", rec.Kind, err)
	}
	if err := r.State.ApplyFrames(rec.Frames); err != nil {
		return err
	}
	if rec.Last != r.State.Next()-1 {
		return fmt.Errorf("record %s: last frame is %d, its header says %d", rec.Kind, r.State.Next()-1, rec.Last)
	}
	r.Chain = rec.Chain
	return nil
}

func (r *Run) applyBody(rec *Record) (err error) {
	switch rec.Kind {
	case RecordRequest:
		r.Command, err = ParseCommand(rec.Body)
	case RecordClaim:
		r.Attempt, r.Nonce, r.Idle = rec.Attempt, rec.Nonce, r.Idle+1
		return nil
	case RecordRelease:
		r.Idle = max(0, r.Idle-1)
		return nil
	case RecordTurn:
		var t Turn
		if err = json.Unmarshal(rec.Body, &t); err == nil {
			r.EndTurn(t)
		}
	case RecordResult:
		var res Result
		if err = json.Unmarshal(rec.Body, &res); err == nil {
			r.Results[res.ID] = res
		}
	}
	r.Idle = 0
	return err
}

// EndTurn takes a turn that has ended.
func (r *Run) EndTurn(t Turn) {
	r.Turn, r.Usage = &t, r.Usage.Add(t.Usage)
}
