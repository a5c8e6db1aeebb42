package producers

import (
	"context"

	"github.com/midstream-dev/midstream/schema"
)

// finish ends a response whose model has answered.
func (r *run) finish(ctx context.Context) error {
	reason := ""
	switch {
	case r.full:
		reason = "max_output_tokens"
	case r.fold.Turn != nil:
		reason = r.fold.Turn.Incomplete
	}
	if reason == "" {
		return r.end(ctx, schema.Completed, func(resp *schema.Response) {
			resp.Status, resp.CompletedAt = schema.StatusCompleted, new(r.node.Now().Unix())
		})
	}
	return r.end(ctx, schema.Incomplete, func(resp *schema.Response) {
		resp.Status = schema.StatusIncomplete
		resp.IncompleteDetails = &schema.IncompleteDetails{Reason: reason}
	})
}

// fail ends a response that cannot go on.
func (r *run) fail(ctx context.Context, cause *schema.ResponseError) error {
	return r.end(ctx, schema.Failed, func(resp *schema.Response) {
		resp.Status, resp.Error = schema.StatusFailed, cause
	})
}

// end closes what is open and appends the terminal event. It returns when that is durable.
func (r *run) end(ctx context.Context, t schema.EventType, set func(*schema.Response)) error {
	closing, err := r.seq.Abort()
	if err != nil {
		return err
	}
	last, err := r.seq.Finish(t, func(resp *schema.Response) {
		set(resp)
		if resp.Usage = r.fold.Usage; resp.Usage == nil {
			resp.Usage = &schema.Usage{} // clients require it, and there was nothing to count
		}
		if t := r.fold.Turn; t != nil && t.Tier != "" {
			resp.ServiceTier = &t.Tier
		}
	})
	if err != nil {
		return err
	}
	if err := r.log.Append(ctx, append(closing, last...)...); err != nil {
		return err
	}
	return r.log.Flush(ctx)
}
