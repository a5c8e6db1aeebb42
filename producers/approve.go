package producers

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// readContext reads what the response goes on from, and what it was asked, for tool lists and answers to requests for
// approval.
func (r *run) readContext() {
	if up, err := r.node.Models.Route(r.req.Model); err == nil { // else the model call will say so
		r.passes = upstream.RunsMCP(up)
	}
	if refusal := schema.CheckApprovals(r.past, r.req.Input, r.req.Tools); refusal != nil && r.cause == nil {
		r.cause = failure(refusal)
	}
	r.lists = readLists(slices.Concat(r.past, r.req.Input))
	r.approved = schema.Approved(r.past, r.req.Input)
}

// answers reports whether the request answers requests for approval: the model has said nothing behind an answer in it.
func (r *run) answers() bool {
	for _, it := range slices.Backward(r.req.Input) {
		switch {
		case it.Type == schema.KindApproval:
			return true
		case it.Type == schema.KindFunctionOutput, it.Type == schema.KindCustomOutput, it.Type == schema.KindMessage && it.Role != "assistant":
		default:
			return false
		}
	}
	return false
}

// toBegin returns the approved calls that no record tells of yet.
func (r *run) toBegin() []schema.Item {
	if r.fold.Turn != nil || r.passes {
		return nil
	}
	return r.approved
}

// beginApproved notes the calls that the caller has approved, and then begins their items, just as an attempt does that
// takes them over: the record is durable before anything of them is seen, so none is begun twice.
func (r *run) beginApproved(ctx context.Context) error {
	var t schema.Turn
	left, first := r.callsLeft(), len(r.seq.State().Items())
	for n, request := range r.toBegin() {
		c := schema.Call{
			ID:    schema.ItemID(r.ref.Response(), schema.KindMCPCall, first+n),
			Label: request.ServerLabel, Name: request.Name, Approval: request.ID,
		}
		if request.Arguments != nil {
			c.Arguments = *request.Arguments
		}
		if c.Refusal = refusal(&c, left); left > 0 {
			left--
		}
		t.Calls, t.Held = append(t.Calls, c), append(t.Held, callItem(&c))
	}
	if err := r.endTurn(t); err != nil {
		return err
	}
	for i := range t.Calls {
		r.adopt(t.Calls[i].ID, schema.FromLog, t.Calls[i].ID)
		if err := r.bringBack(ctx, t.Held[i]); err != nil {
			return err
		}
	}
	return nil
}

// bringBack begins an item of the turn's record: a call of ours as far as its arguments, any other whole.
func (r *run) bringBack(ctx context.Context, it schema.Item) error {
	out, err := r.fold.BringBack(r.seq, it, false)
	if appended := r.append(ctx, out); appended != nil {
		return appended
	}
	return err
}

// callItem is the item of a call that is to be made.
func callItem(c *schema.Call) schema.Item {
	it := schema.Item{ID: c.ID, Type: schema.KindMCPCall, ServerLabel: c.Label, Name: c.Name, Arguments: &c.Arguments}
	if c.Approval != "" {
		it.ApprovalRequestID, _ = json.Marshal(c.Approval, jsontext.AllowInvalidUTF8(true)) // a string always encodes
	}
	return it
}

// requestItem is the item that asks for approval of a call.
func requestItem(c *schema.Call, id string) schema.Item {
	return schema.Item{ID: id, Type: schema.KindApprovalRequest, ServerLabel: c.Label, Name: c.Name, Arguments: &c.Arguments}
}
