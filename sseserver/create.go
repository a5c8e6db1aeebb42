package sseserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// order is a create request on its way to the queue.
type order struct {
	tenant string
	key    string // the caller's Idempotency-Key; "" for none
	digest string // of the body as it came
	size   int64  // of the body
	trace  string
	at     time.Time
	req    *schema.CreateRequest

	thread   []string                  // the responses that it goes on from, oldest first; resolve finds them
	near     []schema.Item             // of the last of those, or of the conversation
	point    *schema.ConversationPoint // where in its conversation it goes on, if it has one
	recalled bool                      // the responses are known already, and what is in no log of them is in the input
}

// placed is an order that has become a response.
type placed struct {
	ref   schema.Ref
	begun *schema.Response // as it was when it began; nil if an earlier request with the same key has made it
}

// create accepts a request and serves its response. The run belongs to the log from then on: it goes on, whatever
// becomes of this connection.
func (s *Server) create(c echo.Context) error {
	o, err := s.readOrder(c)
	if err != nil {
		return err
	}
	ctx, leave, err := s.subscribers.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer leave()
	c.Set(keyStarted, true)
	p, err := s.place(ctx, o)
	if err != nil {
		return err
	}
	c.Set(keyResponse, p.ref.Response())
	switch {
	case o.req.Streams():
		return s.streamPlaced(ctx, c, o, p)
	case !o.req.Backgrounds() && len(o.req.Producers()) == 0: // no producer can feed a response whose id nobody knows yet
		return s.await(ctx, c, p.ref)
	case p.begun != nil:
		return s.answerStarted(c, p.begun)
	}
	state, err := s.cfg.Broker.Fold(ctx, p.ref)
	if err != nil {
		return left(ctx, p.ref, err)
	}
	return s.answerStarted(c, state.Response())
}

// streamPlaced streams a response that was made just now, or before under the same key: then a client that was cut off may
// say where.
func (s *Server) streamPlaced(ctx context.Context, c echo.Context, o *order, p *placed) error {
	at := start
	if p.begun == nil {
		var err error
		if at, err = readCursor(c.Request().Header, nil); err != nil {
			return startedError{err}
		}
	}
	f, err := s.cfg.Follow(ctx, p.ref, at.after)
	if err != nil && at.given() && ctx.Err() == nil {
		return startedError{lookupError(err, p.ref, at)}
	}
	if err != nil {
		return left(ctx, p.ref, err)
	}
	if at.given() && f.Ended() {
		f.Close()
		return s.finished(c, at)
	}
	s.stream(ctx, c, f, o.at, kindCreate)
	return nil
}

// readOrder reads and checks a request.
func (s *Server) readOrder(c echo.Context) (*order, error) {
	at := time.Now()
	key, err := readKey(c.Request().Header)
	if err != nil {
		return nil, err
	}
	body, err := s.readJSON(c)
	if err != nil {
		return nil, err
	}
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return nil, err
	}
	ctx := c.Request().Context()
	req, err := s.parse(ctx, body)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return &order{
		tenant: tenant, key: key, digest: hex.EncodeToString(sum[:]), size: int64(len(body)), trace: traceparent(ctx), at: at, req: req,
	}, nil
}

// parse reads a request that a producer can serve.
func (s *Server) parse(ctx context.Context, body []byte) (*schema.CreateRequest, error) {
	req, refusal := schema.ParseCreate(body)
	if refusal != nil {
		return nil, refusal
	}
	if len(req.Producers()) > 0 {
		return req, s.admitFed()
	}
	if err := s.cfg.Admit(ctx, req); err != nil {
		return nil, err
	}
	return req, nil
}

// admitFed refuses a response that producers feed where there is no way in for them.
func (s *Server) admitFed() error {
	if s.cfg.Ingest == nil {
		return schema.Refuse(schema.CodeUnsupported, "midstream", "No producer can feed a response here.")
	}
	return nil
}

// place makes the response of an order, unless an earlier request with the same key has. After its first write was tried,
// no error invites a retry.
func (s *Server) place(ctx context.Context, o *order) (*placed, error) {
	if !s.placing.TryAcquire(o.size) {
		return nil, overloaded("This node has too many requests under way. Nothing was begun: please try again later.")
	}
	defer s.placing.Release(o.size)
	ref, err := o.ref()
	if err != nil {
		return nil, err
	}
	cmd, secrets, err := s.prepare(ctx, o, ref)
	if cmd == nil || err != nil {
		return &placed{ref: ref}, err
	}
	if o.key == "" { // else the id may have been used
		defer s.cfg.Expect(ref)() // the hub stays for a while after its last reader
	}
	return s.commit(ctx, o, cmd, secrets)
}

// prepare makes the command of an order from what it refers to; nil where an earlier request with the same key has made its
// response. Nothing is written yet, so a log that does not answer in time is a reason to come back.
func (s *Server) prepare(ctx context.Context, o *order, ref schema.Ref) (cmd *schema.Command, secrets []byte, err error) {
	err = s.find(ctx, func(ctx context.Context) (err error) {
		made := false
		if o.key != "" {
			made, err = s.made(ctx, o, ref)
		}
		if !made && err == nil {
			cmd, secrets, err = s.command(ctx, o, ref)
		}
		return err
	})
	return cmd, secrets, err
}

// find bounds the time that it takes to find what a request refers to: the log is asked until it answers.
func (s *Server) find(ctx context.Context, look func(context.Context) error) error {
	finding, cancel := context.WithTimeout(ctx, s.cfg.FindTimeout)
	defer cancel()
	err := look(finding)
	switch refusal := (*schema.Error)(nil); {
	case err == nil, finding.Err() == nil, errors.As(err, &refusal):
		return err
	case errors.Is(context.Cause(ctx), errDraining):
		return errDraining
	case ctx.Err() != nil:
		return err
	}
	return causedError{cause: err, shown: overloaded("The log does not answer. Nothing was begun: please try again later.")}
}

// commit enqueues the command and opens its log. A caller that goes away meanwhile does not stop it halfway. After the
// first write was tried, no error invites a retry: its outcome may be that the run has begun.
func (s *Server) commit(ctx context.Context, o *order, cmd *schema.Command, secrets []byte) (*placed, error) {
	rec, err := cmd.RequestRecord()
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", cmd.Ref(), err)
	}
	begun, err := schema.Fold(rec.Frames)
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", cmd.Ref(), err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CommitTimeout)
	defer cancel()
	err = s.cfg.Broker.Enqueue(ctx, cmd, secrets)
	switch {
	case errors.Is(err, broker.ErrFull):
		return nil, err
	case errors.Is(err, broker.ErrExists) && o.key != "":
		return s.join(ctx, o, cmd.Ref())
	case errors.Is(err, broker.ErrExists):
		// The id was minted here a moment ago: it is this very command, stored by a try whose answer was lost.
	case err != nil:
		return nil, unsettled(cmd.Ref(), fmt.Errorf("enqueue %s: %w", cmd.Ref(), err))
	}
	err = s.begin(ctx, rec, cmd.Ref())
	switch {
	case errors.Is(err, broker.ErrExists) && o.key != "":
		return s.join(ctx, o, cmd.Ref())
	case err != nil:
		return nil, unsettled(cmd.Ref(), err)
	}
	return &placed{cmd.Ref(), begun.Response()}, nil
}

// beginPause is between two tries to write the request record, or to find another's.
const beginPause = 100 * time.Millisecond

// begin writes the request record, again and again until ctx ends. A worker that was faster has written the same.
func (s *Server) begin(ctx context.Context, rec schema.Record, ref schema.Ref) error {
	for {
		err := s.cfg.Broker.Begin(ctx, rec, ref)
		if err == nil {
			return nil
		}
		if errors.Is(err, broker.ErrExists) || rest(ctx) != nil {
			return fmt.Errorf("open log %s: %w", ref, err)
		}
	}
}

// rest waits until the next try.
func rest(ctx context.Context) error {
	timer := time.NewTimer(beginPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// unsettled tells the caller which response to look for, and the log (through [Server.refuse]) why.
func unsettled(ref schema.Ref, cause error) error {
	return startedError{causedError{cause: cause, shown: &schema.Error{
		Status: http.StatusInternalServerError, Type: schema.TypeServer, Code: schema.CodeServer,
		Message: "The response may have begun: ask for " + ref.Response() + " before you try again.",
	}}}
}
