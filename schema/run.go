package schema

import (
	"fmt"
	"slices"

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
// is in it, and it is in the log before any of the calls leaves the node: no turn is made twice, and no call. A turn with
// number 0 stands before the first model call: its calls are those that the caller has approved.
type Turn struct {
	Number     int    `json:"turn"`                // model calls that have ended, this one included
	Usage      *Usage `json:"usage,omitzero"`      // of this model call
	Tier       string `json:"tier,omitzero"`       // service tier that served it
	Incomplete string `json:"incomplete,omitzero"` // why the answer is not whole
	Upstream   string `json:"upstream,omitzero"`   // name of the one that served it
	Hands      bool   `json:"hands,omitzero"`      // it calls tools of the client, or asks for approval: behind Calls, the response ends
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
	Approval  string         `json:"approval_request_id,omitzero"` // of the request that was approved, if it took that
	Refusal   jsontext.Value `json:"refusal,omitzero"`             // the error with which it ends without being made
}

// Try is the body of a try record: a model call of the turn that is open has failed. It is in the log before the next one is
// made, so that however many attempts there are, the tries are counted once. It says what a caller may know: no key, and no
// address of an upstream.
type Try struct {
	Turn       int           `json:"turn"`                 // the number that the turn's record will have
	Number     int           `json:"try"`                  // among the turn's tries, from 1
	Upstream   string        `json:"upstream"`             // name of the one that was called
	Began      int64         `json:"began"`                // milliseconds since 1970 by the caller's clock
	Took       int64         `json:"took"`                 // milliseconds, the time in line before the call included
	Shown      bool          `json:"shown,omitzero"`       // events of it are out already: no other try may follow
	Status     int           `json:"status"`               // what the failure is in HTTP
	Error      ResponseError `json:"error"`                // as a response shows it
	RetryAfter int64         `json:"retry_after,omitzero"` // milliseconds from its end on that the upstream asks to be left alone
}

// ModelCall is the body of a call record: a model call was made that its upstream goes on with by itself, and by which id it can
// be taken up there. It stands before anything that the call has said. Without an id it says that no call is to be taken up.
type ModelCall struct {
	Turn     int    `json:"turn"`     // the number that the turn's record will have
	Upstream string `json:"upstream"` // name of the one that was called
	ID       string `json:"id"`       // by which the upstream knows it
}

// Release is the body of a release record; a record without one says nothing.
type Release struct {
	// Unmade are the ids of the last turn's calls that never left the node: whoever takes over may make them.
	Unmade []string `json:"unmade,omitzero"`
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
	// Idle counts the attempts at the end of the log that got nowhere: nothing that they did is spared to the next one. A model call
	// that was cut has got nowhere, whatever it has shown: it is made again.
	Idle int
	// Cancelled says that somebody has claimed the log in order to cancel the response: whoever comes next ends it.
	Cancelled bool
	Usage     *Usage // of the turns that have ended
	Turn      *Turn  // the last one; nil before the first
	Tries     []Try  // that have failed since then
	// Call is the call of the open turn that can be taken up; nil for none.
	Call    *ModelCall
	Results map[string]Result
	// Unmade are calls of the last turn that never left the node which has just given the run back. They are nobody's to tell
	// any more once another attempt has begun.
	Unmade []string
	Chain  Digest

	called int  // attempt that made the call
	relays bool // others feed the response
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
	done := len(r.State.Items())
	if err := r.State.ApplyFrames(rec.Frames); err != nil {
		return err
	}
	if slices.ContainsFunc(r.State.Items()[done:], func(it Item) bool { return it.settled() }) {
		r.Idle = 0
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
		return r.begin(rec.Body)
	case RecordClaim:
		r.Attempt, r.Nonce, r.Idle, r.Unmade = rec.Attempt, rec.Nonce, r.Idle+1, nil
		var c Claim
		if len(rec.Body) > 0 {
			err = json.Unmarshal(rec.Body, &c)
		}
		r.Cancelled = r.Cancelled || c.Cancel
		return err
	case RecordRelease:
		r.Idle = max(0, r.Idle-1)
		return r.release(rec.Body)
	case RecordTry: // an attempt that has only failed has got nowhere: Idle stays
		var t Try
		if err = json.Unmarshal(rec.Body, &t); err == nil {
			r.FailTry(t)
		}
		return err
	case RecordEvents: // what a model says is no progress by itself: see settled
		if r.relays || r.Call != nil && r.called < rec.Attempt {
			r.Idle = 0 // but of a call that was taken up, or of other producers, it is: nothing of it is said again
		}
		return nil
	case RecordCall:
		var c ModelCall
		if err = json.Unmarshal(rec.Body, &c); err == nil {
			r.called = rec.Attempt
			r.MakeCall(c)
		}
		return err
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

func (r *Run) begin(body []byte) error {
	cmd, err := ParseCommand(body)
	if err != nil {
		return err
	}
	req, err := cmd.Parse()
	if err != nil {
		return err
	}
	r.Command, r.relays = cmd, len(req.Producers()) > 0
	return nil
}

// InDoubt reports whether nobody can tell if a call of the last turn was made.
func (r *Run) InDoubt(c *Call) bool {
	_, known := r.Results[c.ID]
	return !known && c.Refusal == nil && !slices.Contains(r.Unmade, c.ID)
}

// Doubts are the ids of the last turn's calls that are in doubt.
func (r *Run) Doubts() map[string]bool {
	doubts := map[string]bool{}
	if r.Turn == nil {
		return doubts
	}
	for i := range r.Turn.Calls {
		if c := &r.Turn.Calls[i]; r.InDoubt(c) {
			doubts[c.ID] = true
		}
	}
	return doubts
}

func (r *Run) release(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	var given Release
	if err := json.Unmarshal(body, &given); err != nil {
		return err
	}
	r.Unmade = given.Unmade
	return nil
}

// settled reports whether an item is one that no attempt makes again.
func (it *Item) settled() bool {
	return (it.Type == KindMCPCall || it.Type == KindListTools) && it.Status != StatusIncomplete
}

// EndTurn takes a turn that has ended.
func (r *Run) EndTurn(t Turn) {
	r.Turn, r.Usage, r.Tries, r.Call = &t, r.Usage.Add(t.Usage), nil, nil
}

// FailTry takes a try of the open turn that has failed.
func (r *Run) FailTry(t Try) { r.Tries, r.Call = append(r.Tries, t), nil }

// MakeCall takes a call that can be taken up, in the place of the one before.
func (r *Run) MakeCall(c ModelCall) {
	if r.Call = &c; c.ID == "" {
		r.Call = nil
	}
}
