package schema

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Claim is the body of a claim record.
type Claim struct {
	Node    string `json:"node"`
	Handed  bool   `json:"handed,omitzero"` // a planned hand-over, which counts as no attempt
	Version string `json:"version,omitzero"`
}

// Intent is the body of an intent record: a turn's model call has ended, and these tool calls are about to be made. It
// is in the log before the first of them leaves the node.
type Intent struct {
	Turn  int    `json:"turn"`           // model calls that have ended in tool calls, this one included
	Usage *Usage `json:"usage,omitzero"` // of the turn's model call
	Calls []Call `json:"calls"`          // in the order of their items
	Held  []Item `json:"held,omitzero"`  // the turn's items that still wait for the wire, in order, under their final ids
	Hands bool   `json:"hands,omitzero"` // the turn also called tools of the client: behind these calls, the response ends
}

// Call is one tool call of an intent.
type Call struct {
	ID        string `json:"id"` // of its mcp_call item, whether or not that holds the wire already
	Label     string `json:"server_label"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
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
	Usage   *Usage // of the turns that have ended
	Turns   int    // model calls that have ended in tool calls
	Intent  Intent // the last one
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
		r.Attempt, r.Nonce = rec.Attempt, rec.Nonce
	case RecordIntent:
		var in Intent
		if err = json.Unmarshal(rec.Body, &in); err == nil {
			r.Turns, r.Intent, r.Usage = in.Turn, in, r.Usage.Add(in.Usage)
		}
	case RecordResult:
		var res Result
		if err = json.Unmarshal(rec.Body, &res); err == nil {
			r.Results[res.ID] = res
		}
	}
	return err
}
