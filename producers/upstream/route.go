package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// route makes the calls of one model: to the upstream that serves it, and to those that stand in for it.
type route struct {
	line []*gate
}

// RunsMCP is what the function of that name asks for. All of a line do the same.
func (r *route) RunsMCP() bool { return r.line[0].config().runsMCP() }

// Stream implements [Upstream]. A call that fails before its first event is made again, there or at the next of the
// line, as [next] decides. Each try that has failed is handed to req.Failed before anything else is done.
func (r *route) Stream(ctx context.Context, req *Request, emit func(schema.Event) error) (Outcome, error) {
	if req.Resume != nil {
		return r.resume(ctx, req, emit)
	}
	line := slices.Clone(r.line)
	c := newCourse(req, emit)
	for {
		m := c.next(line)
		if m.at < 0 || outlasts(ctx, m.wait) {
			return Outcome{}, c.verdict(r.line[0].name())
		}
		g := line[m.at]
		if m.at > 0 && g.check(g.addressed(req)) != nil {
			line = slices.Delete(line, m.at, m.at+1) // it cannot say what is asked: another answer is no fallback
			continue
		}
		if err := c.wait(ctx, g, m.wait); err != nil {
			return Outcome{}, err
		}
		out, err := c.try(ctx, g)
		if err == nil {
			return out, nil
		}
		if err := c.failed(ctx, g, err); err != nil {
			return Outcome{}, err
		}
	}
}

// outlasts reports whether a wait is longer than there is time.
func outlasts(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && wait > 0 && time.Until(deadline) <= wait
}

// course is one turn on its way along a line.
type course struct {
	req   *Request
	emit  func(schema.Event) error
	tries []schema.Try // that have failed, those of earlier attempts included
	errs  []*Error     // theirs
	began time.Time    // of the try under way
	shown bool         // it has given an event out
	lost  bool         // emit has failed
}

func newCourse(req *Request, emit func(schema.Event) error) *course {
	c := &course{req: req, emit: emit, tries: slices.Clone(req.Tries)}
	for i := range c.tries {
		c.errs = append(c.errs, remembered(&c.tries[i]))
	}
	return c
}

// remembered is the error of a try that the log tells of.
func remembered(t *schema.Try) *Error {
	return &Error{Public: &schema.Error{
		Status: t.Status, RetryAfter: asked(t), Type: t.Error.Type, Code: t.Error.Code, Param: t.Error.Param, Message: t.Error.Message,
	}}
}

func (c *course) next(line []*gate) move {
	names := make([]standing, len(line))
	for i, g := range line {
		names[i] = g.standing()
	}
	return next(names, c.tries, time.Now())
}

// wait pauses before a try, and tells the operator why there is another one.
func (c *course) wait(ctx context.Context, g *gate, wait time.Duration) error {
	if n := len(c.errs); n > 0 {
		g.config().Logger.WarnContext(ctx, "model call is made again", "run", c.req.Response, "turn", c.req.Turn,
			"upstream", g.name(), "wait", wait.String(), "tries", n, "last", c.errs[n-1].LogValue())
	}
	if wait == 0 {
		return nil
	}
	if err := g.config().Pause(ctx, wait); err != nil {
		return fmt.Errorf("model call: %w", err)
	}
	return nil
}

func (c *course) try(ctx context.Context, g *gate) (Outcome, error) {
	c.began = time.Now()
	return g.call(ctx, c.req, func(e schema.Event) error {
		c.shown = true
		err := c.emit(e)
		c.lost = c.lost || err != nil
		return err
	})
}

// failed notes a try that has failed. What is no failure of the upstream's comes back: it ends the call.
func (c *course) failed(ctx context.Context, g *gate, err error) error {
	own, ok := errors.AsType[*Error](err)
	if !ok || c.lost || ctx.Err() != nil {
		return err
	}
	t := schema.Try{
		Turn: c.req.Turn + 1, Number: len(c.tries) + 1, Upstream: g.name(),
		Began: c.began.UnixMilli(), Took: time.Since(c.began).Milliseconds(), Shown: c.shown,
		Status: own.Public.Status, RetryAfter: own.Public.RetryAfter.Milliseconds(),
		Error: schema.ResponseError{Code: own.Public.Code, Message: own.Public.Message, Type: own.Public.Type, Param: own.Public.Param},
	}
	c.tries, c.errs = append(c.tries, t), append(c.errs, own)
	if c.req.Failed == nil {
		return nil
	}
	return c.req.Failed(ctx, t)
}

// verdict is the error that the turn fails with: the last of those that are of most use to the caller.
func (c *course) verdict(first string) error {
	best := -1
	for i := range c.tries {
		if best < 0 || use(&c.tries[i], first) >= use(&c.tries[best], first) {
			best = i
		}
	}
	return c.errs[best]
}

// use ranks errors by what a caller can do about them. What one that only stands in has against the request says little:
// the first, which is meant to serve it, may have nothing.
func use(t *schema.Try, first string) int {
	switch {
	case t.Shown:
		return 4
	case blamesCaller(t) && t.Upstream == first:
		return 3
	case t.Status == 429 && t.Error.Code != codeQuota:
		return 2
	case passes(t):
		return 1
	}
	return 0
}
