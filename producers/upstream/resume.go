package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// ErrForgotten says that a call cannot be taken up: the upstream does not know it any more, or is configured for no such thing.
var ErrForgotten = errors.New("the upstream cannot take the call up")

// Abandoner ends a call at its upstream, where it would go on although nobody listens. What [Router.Route] returns is one.
type Abandoner interface {
	Abandon(ctx context.Context, call schema.ModelCall) error
}

// maxCallID bounds the id that an upstream gives to a call.
const maxCallID = 256

// lifeline is what it takes to take a call up again: the upstream's own id of it, and the number of the last event taken in.
type lifeline struct {
	id   string
	seen int64
	told func(id string) error
}

// lifeline is nil where a call ends with its connection.
func (x *exchange) lifelineOf(req *Request) *lifeline {
	if !x.cfg.Resume {
		return nil
	}
	l := &lifeline{seen: -1}
	if req.Resume != nil {
		l.id = req.Resume.ID
	}
	l.told = func(id string) error {
		if req.Called == nil {
			return nil
		}
		return req.Called(x.caller, schema.ModelCall{Turn: req.Turn + 1, Upstream: x.cfg.Name, ID: id})
	}
	return l
}

// note looks at an event before it is decoded, and reports whether it was taken in before.
func (l *lifeline) note(data []byte) (known bool, err error) {
	var e struct {
		Number   *int64 `json:"sequence_number"`
		Response struct {
			ID string `json:"id"`
		} `json:"response"`
	}
	if json.Unmarshal(data, &e, lenient) != nil {
		return false, nil //nolint:nilerr // the decoder says what is wrong with it
	}
	if id := e.Response.ID; l.id == "" && id != "" && len(id) <= maxCallID {
		if err := l.told(id); err != nil {
			return false, err
		}
		l.id = id
	}
	if e.Number == nil {
		return false, nil
	}
	known = *e.Number <= l.seen
	l.seen = max(l.seen, *e.Number)
	return known, nil
}

// open makes the call, or takes it up from its first event.
func (x *exchange) open(body any, req *Request) (*http.Response, error) {
	if req.Resume == nil {
		return x.post(body)
	}
	return x.takeUp()
}

// takeUp asks for the events of the call behind the last one taken in.
func (x *exchange) takeUp() (*http.Response, error) {
	path := callPath(x.line.id) + "?stream=true"
	if x.line.seen >= 0 {
		path += "&starting_after=" + strconv.FormatInt(x.line.seen, 10)
	}
	req, err := x.newRequest(x.ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", x.accept)
	resp, err := x.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		x.release(resp)
		return nil, ErrForgotten
	}
	return resp, nil
}

func callPath(id string) string { return "/responses/" + url.PathEscape(id) }

// receive reads an answer, and goes on at another connection where one breaks off, as often as a call may be tried again.
func (x *exchange) receive(resp *http.Response, d decoder) error {
	err := x.readFrom(resp, d)
	for n := 1; n <= *x.cfg.Retries && x.brokeOff(d, err); n++ {
		x.cfg.Logger.WarnContext(x.caller, "model call broke off and is taken up", "upstream", x.cfg.Name, "run", x.response, "error", err)
		if paused := x.cfg.Pause(x.ctx, backoffMin<<(n-1)); paused != nil {
			return errors.Join(err, paused)
		}
		again, failed := x.takeUp() //nolint:bodyclose // readFrom does
		switch {
		case errors.Is(failed, ErrForgotten):
			return err
		case failed != nil:
			continue
		}
		err = x.readFrom(again, d)
	}
	return err
}

func (x *exchange) readFrom(resp *http.Response, d decoder) error {
	defer x.release(resp)
	if err := x.check(resp); err != nil {
		return err
	}
	return x.read(resp.Body, d)
}

// brokeOff reports whether a connection ended before the answer did, and through nobody's decision.
func (x *exchange) brokeOff(d decoder, err error) bool {
	var own *Error
	switch {
	case x.line == nil, x.line.id == "", d.ended(), x.emitErr != nil, x.ctx.Err() != nil:
		return false
	case errors.As(err, &own), errors.Is(err, errTooLarge), errors.Is(err, errCalled):
		return false
	}
	return true
}

// errCalled says that word of a call's id did not get into the log.
var errCalled = errors.New("call not noted")

// Abandon cancels a call.
func (e *endpoint) abandon(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ListTimeout)
	defer cancel()
	req, err := e.newRequest(ctx, http.MethodPost, callPath(id)+"/cancel", nil)
	if err != nil {
		return err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return fmt.Errorf("cancel call at upstream %s: %w", e.cfg.Name, withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("cancel call at upstream %s: status %d", e.cfg.Name, resp.StatusCode)
	}
	return nil // what it refuses else is over, or forgotten
}

// forsake cancels a call that has failed here and that nobody will take up: another try would pay for it twice.
func (x *exchange) forsake(err error) {
	if err == nil || x.line == nil || x.line.id == "" || x.emitErr != nil || x.caller.Err() != nil || errors.Is(err, ErrForgotten) {
		return
	}
	if err := x.abandon(x.caller, x.line.id); err != nil {
		x.cfg.Logger.WarnContext(x.caller, "call not cancelled", "upstream", x.cfg.Name, "run", x.response, "error", err)
	}
}

// Abandon implements [Abandoner].
func (r *route) Abandon(ctx context.Context, call schema.ModelCall) error {
	if e := r.maker(call); e != nil {
		return e.abandon(ctx, call.ID)
	}
	return nil
}

// maker returns the upstream that has made a call, if it can take calls up; nil if it is not there any more.
func (r *route) maker(call schema.ModelCall) *endpoint {
	for _, g := range r.line {
		if e, ok := g.served.(*endpoint); ok && g.name() == call.Upstream && e.cfg.Resume {
			return e
		}
	}
	return nil
}

// resume takes up a call that an earlier attempt has made, where it was made.
func (r *route) resume(ctx context.Context, req *Request, emit func(schema.Event) error) (Outcome, error) {
	for _, g := range r.line {
		if g.name() == req.Resume.Upstream && r.maker(*req.Resume) != nil {
			return g.call(ctx, req, emit)
		}
	}
	return Outcome{}, ErrForgotten
}
