package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/midstream-dev/midstream/schema"
)

// exchange is one model call on its way.
type exchange struct {
	*endpoint
	caller   context.Context
	callers  *strings.Replacer // credentials of the caller's
	ctx      context.Context   // the caller's, with the limits of the call
	watch    watch
	path     string // below the base URL
	accept   string // what is asked for
	response string
	bytes    int
	events   int
	emitErr  error // emit has failed with it
	line     *lifeline

	silence *time.Timer // ends the call unless an event comes in time; nil for what has no events
}

// limit puts the limits of the call on a context.
func (x *exchange) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(ctx, x.cfg.Total, errTotal)
	ctx, cancel := context.WithCancelCause(ctx)
	x.watch.cancel = cancel
	return ctx, func() { cancel(nil); stop() }
}

// guard keeps an error of emit apart from those of the upstream. Bytes may come for ever and say nothing: the first event
// has a limit of its own.
func (x *exchange) guard(emit func(schema.Event) error) func(schema.Event) error {
	x.silence = time.AfterFunc(x.cfg.FirstToken, func() { x.watch.cancel(errFirstToken) })
	return func(e schema.Event) error {
		x.silence.Stop()
		if x.emitErr == nil {
			x.emitErr = emit(e)
		}
		return x.emitErr
	}
}

// do sends the call and reads its answer.
func (x *exchange) do(body any, a *answer) (Outcome, error) {
	x.response = a.req.Response
	x.line = x.lifelineOf(a.req)
	resp, err := x.open(body, a.req) //nolint:bodyclose // readFrom does
	if err != nil {
		return Outcome{}, err
	}
	d := x.dialect.decode(a)
	if err := x.receive(resp, d); err != nil && (x.emitErr != nil || x.caller.Err() != nil || !d.ended()) {
		return Outcome{}, x.explain(err)
	}
	if !d.ended() {
		return Outcome{}, broken(nil, "upstream %s stopped before the end of its answer", x.cfg.Name)
	}
	outcome, err := d.end()
	if err != nil {
		return Outcome{}, x.explain(err)
	}
	return outcome, nil
}

// check refuses what is not an answer in the dialect.
func (x *exchange) check(resp *http.Response) error {
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case resp.StatusCode != http.StatusOK:
		return x.refused(resp, readRefusal(resp.Body))
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return broken(nil, "upstream %s sent a compressed answer, which it was not asked for", x.cfg.Name)
	}
	return nil
}

// read hands an answer to the decoder, whatever it is labelled as: servers label streams as text/plain and JSON as
// text/event-stream. A stream never begins with a brace, JSON always does.
func (x *exchange) read(body io.Reader, d decoder) error {
	in := bufio.NewReader(body)
	first, err := firstByte(in)
	switch {
	case err != nil:
		return err
	case first == '{':
		return x.readDocument(in, d)
	case first == '<':
		return broken(nil, "upstream %s answered with a page instead of a stream", x.cfg.Name)
	}
	// A last event without its blank line is as good as any: whether the answer is whole is for the decoder to say.
	return x.readStream(io.MultiReader(in, strings.NewReader("\n\n")), d)
}

// firstByte returns the first byte that is not white space, unread; 0 at the end.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		c, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, nil
		case err != nil:
			return 0, err
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return c, in.UnreadByte()
		}
	}
}

func (x *exchange) readDocument(in io.Reader, d decoder) error {
	data, err := io.ReadAll(in) // bounded by MaxBytes
	if err != nil {
		return err
	}
	x.events++
	_, err = d.event(data)
	return err
}

func (x *exchange) readStream(in io.Reader, d decoder) error {
	for event, err := range sse.Read(in, &sse.ReadConfig{MaxEventSize: x.cfg.MaxEventBytes}) {
		switch {
		case err != nil:
			return err
		case x.events >= x.cfg.MaxEvents:
			return broken(nil, "upstream %s sent more than %d events", x.cfg.Name, x.cfg.MaxEvents)
		case event.Data == "":
			continue
		}
		x.events++
		known, err := x.known(event.Data)
		switch {
		case err != nil:
			return err
		case known:
			continue
		}
		if done, err := d.event([]byte(event.Data)); err != nil || done {
			return err
		}
		if d.ended() {
			x.watch.grace = trailerTime
		}
	}
	return nil
}

// known reports whether an event was taken in before the call was taken up.
func (x *exchange) known(data string) (bool, error) {
	if x.line == nil {
		return false, nil
	}
	known, err := x.line.note([]byte(data))
	if err != nil {
		x.emitErr = err // it is not the upstream's
		return false, errCalled
	}
	return known, nil
}

// trailerTime is how long an answer that has ended may take to say more: usage, and the end of the stream.
const trailerTime = 5 * time.Second

// explain makes the error of a call of what has interrupted it.
func (x *exchange) explain(err error) error {
	var own *Error
	switch {
	case x.emitErr != nil:
		return x.emitErr
	case x.caller.Err() != nil:
		return ended(x.caller)
	case errors.As(err, &own):
		return own
	case errors.Is(err, errTooLarge):
		return broken(err, "upstream %s sent more than %d bytes", x.cfg.Name, x.cfg.MaxBytes)
	case errors.Is(err, bufio.ErrTooLong):
		return broken(err, "upstream %s sent an event of more than %d bytes", x.cfg.Name, x.cfg.MaxEventBytes)
	}
	return x.lost(err, "lost the connection in the midst of its answer")
}

// lost is for a connection that failed, or was given up.
func (x *exchange) lost(err error, how string) error {
	cause := context.Cause(x.ctx)
	switch {
	case x.caller.Err() != nil:
		return ended(x.caller)
	case errors.Is(cause, errFirstByte), errors.Is(cause, errFirstToken), errors.Is(cause, errIdle), errors.Is(cause, errTotal):
		return fail(http.StatusGatewayTimeout, CodeTimeout, cause, "upstream %s: %v", x.cfg.Name, cause)
	case x.bytes > 0:
		return broken(withoutURL(err), "upstream %s %s", x.cfg.Name, how)
	}
	return fail(http.StatusBadGateway, CodeUnavailable, withoutURL(err), "upstream %s %s", x.cfg.Name, how)
}

// release gives the connection back for the next call if the rest of the answer is short and there; else it is closed.
func (x *exchange) release(resp *http.Response) {
	if x.ctx.Err() == nil && x.emitErr == nil {
		x.watch.grace = drainTime
		_, _ = io.CopyN(io.Discard, resp.Body, drainBytes) // its errors say that there is nothing to give back
		x.watch.grace = 0
	}
	resp.Body.Close()
}
