package sseserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// Ingest keeps what other producers send, until a relay has made a response of it. [broker.Broker] is one.
type Ingest interface {
	// Ingest stores a batch behind the producer's last one, which has the position behind. broker.ErrFenced: another stands
	// there by now. broker.ErrFull: nothing was stored.
	Ingest(ctx context.Context, ref schema.Ref, batch *schema.Batch, behind uint64) (uint64, error)
	// NextSent returns the producer's first batch behind a position, nil where there is none.
	NextSent(ctx context.Context, ref schema.Ref, producer string, behind uint64) (*broker.Sent, error)
	// Ended returns a response as it ended, nil as long as it has not. Its errors are those of Broker's Fold.
	Ended(ctx context.Context, ref schema.Ref) (*schema.State, error)
}

// What a producer says of itself, and of what it sends.
const (
	headerProducer = "Midstream-Producer"
	headerEpoch    = "Midstream-Epoch"
	headerPlace    = "Midstream-Seq"
	headerEnds     = "Midstream-Last"
	headerNext     = "Midstream-Next" // of every answer that knows it
)

// The codes of what only a producer is told.
const (
	codeGap      = "event_gap"
	codeEpoch    = "stale_epoch"
	codeProducer = "unknown_producer"
	codeEnded    = "response_ended"
	codeClosed   = "producer_ended"
	codeNotFed   = "not_fed"
	codeConflict = "producer_conflict"
)

// claim is what the headers of an ingest request say.
type claim struct {
	producer string
	epoch    int64
	place    int64 // -1: where the producer stands
	last     *bool // nil: if the last event is terminal
}

func readClaim(h http.Header) (claim, error) {
	c := claim{producer: h.Get(headerProducer), place: -1}
	if !schema.ValidToken(c.producer) {
		return c, schema.Refuse(schema.CodeInvalidValue, headerProducer, "%s must name the producer: 1 to %d letters, digits, _ or -.",
			headerProducer, schema.MaxToken)
	}
	for name, n := range map[string]*int64{headerEpoch: &c.epoch, headerPlace: &c.place} {
		text := h.Get(name)
		if text == "" {
			continue
		}
		parsed, err := schema.ParseSeq(text)
		if err != nil {
			return c, schema.Refuse(schema.CodeInvalidValue, name, "%s must be a plain number from 0 on.", name)
		}
		*n = parsed
	}
	if text := h.Get(headerEnds); text != "" {
		last, err := strconv.ParseBool(text)
		if err != nil {
			return c, schema.Refuse(schema.CodeInvalidValue, headerEnds, "%s must be true or false.", headerEnds)
		}
		c.last = &last
	}
	return c, nil
}

// ingested is the answer to what a producer sent.
type ingested struct {
	Accepted int64 `json:"accepted"` // events of this body that are stored and were not before
	Next     int64 `json:"next"`     // the place that is due
}

// ingest stores what a producer sends, event by event as it comes, and answers when the body has ended. What is in the answer's
// count is stored, also where the answer is an error: its header says which place is due.
func (s *Server) ingest(c echo.Context) error {
	ctx, leave, err := s.subscribers.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer leave()
	done, err := s.takeIn(ctx, c)
	s.metrics.ingested.Add(float64(done.Accepted))
	switch {
	case hasLeft(c, err):
		return err // it was refused nothing
	case err != nil:
		refused, _ := refusalOf(err)
		s.metrics.notIngested.WithLabelValues(refused.Code).Inc()
		return err
	}
	return s.answer(c, http.StatusOK, done)
}

func (s *Server) takeIn(ctx context.Context, c echo.Context) (done ingested, err error) {
	said, err := readClaim(c.Request().Header)
	if err != nil {
		return done, err
	}
	ref, err := s.ref(c)
	if err != nil {
		return done, err
	}
	body, stop, err := s.eventBody(ctx, c)
	if err != nil {
		return done, err
	}
	defer stop()
	in := &intake{server: s, ref: ref, claim: said, course: s.courses.get(ref, said.producer)}
	err = in.takeAll(ctx, body)
	done = ingested{Accepted: in.accepted, Next: in.course.next.Load()}
	h := c.Response().Header()
	if done.Next >= 0 {
		h.Set(headerNext, strconv.FormatInt(done.Next, 10))
	}
	if err == nil {
		return done, nil
	}
	if !body.atEnd() {
		h.Set(echo.HeaderConnection, "close") // nobody waits for what a refused producer has yet to say
	}
	return done, in.refusal(ctx, err)
}

// intake is one request's way into the producer's course.
type intake struct {
	server   *Server
	ref      schema.Ref
	claim    claim
	course   *course
	place    int64 // of the next event of the body
	accepted int64
	terminal bool // the last event was one
}

// enter waits for the producer's course.
func (in *intake) enter(ctx context.Context) error {
	ctx, cancel := in.finding(ctx)
	defer cancel()
	return in.course.turn.Acquire(ctx, 1)
}

// leave gives the course to the next request, without the output where nothing can come any more.
func (in *intake) leave() {
	switch c := in.course; {
	case c.broken != nil:
		c.relay = nil
	case c.relay != nil:
		c.relay.Rest()
	}
	in.course.turn.Release(1)
}

// finding bounds the time that one answer of the log may take: it is asked until it answers.
func (in *intake) finding(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, in.server.cfg.FindTimeout)
}

// takeAll stores the body, batch by batch.
func (in *intake) takeAll(ctx context.Context, body *eventReader) error {
	if err := in.begin(ctx); err != nil {
		return err
	}
	for {
		events, ended, err := body.next()
		in.note(events)
		last := ended && err == nil && in.ends(body.done)
		if len(events) > 0 || last {
			if err := in.take(ctx, events, last); err != nil {
				return err
			}
		}
		switch {
		case err != nil:
			return err
		case ended:
			return nil
		}
	}
}

// begin finds out where the producer stands. A later epoch fences the earlier one off, whatever else it brings.
func (in *intake) begin(ctx context.Context) error {
	if err := in.enter(ctx); err != nil {
		return err
	}
	defer in.leave()
	for {
		if err := in.stand(ctx); !errors.Is(err, broker.ErrFenced) {
			return err
		}
	}
}

func (in *intake) stand(ctx context.Context) error {
	if err := in.course.catchUp(ctx, in); err != nil {
		return err
	}
	next, epoch, _ := in.course.relay.Standing(in.claim.producer)
	if next > 0 { // else whoever opens the response, or feeds it first, looks
		if _, err := in.outcome(ctx); err != nil {
			return err
		}
	}
	switch in.place = in.claim.place; {
	case in.claim.epoch < epoch:
		return staleEpoch(epoch)
	case in.place < 0:
		in.place = next
	case in.place > next:
		return gap(in.place, next)
	}
	if next == 0 || in.claim.epoch == epoch {
		return nil
	}
	_, err := in.course.offer(ctx, in, &schema.Batch{Producer: in.claim.producer, Epoch: in.claim.epoch, Place: next})
	return err
}

func staleEpoch(now int64) error {
	return &schema.Error{
		Status: http.StatusForbidden, Type: schema.TypeInvalidRequest, Code: codeEpoch, Param: headerEpoch,
		Message: fmt.Sprintf("The producer was started anew: it is in epoch %d.", now),
	}
}

func gap(place, due int64) error {
	return &schema.Error{
		Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: codeGap, Param: headerPlace,
		Message: fmt.Sprintf("Event %d is due, what came begins at %d.", due, place),
	}
}

// note remembers whether what came last is terminal: that the body has ended may be known only later.
func (in *intake) note(events []jsontext.Value) {
	if len(events) > 0 {
		in.terminal = (&schema.Batch{Events: events}).Ends()
	}
}

// ends reports whether the producer has ended with the body.
func (in *intake) ends(done bool) bool {
	if in.claim.last != nil {
		return *in.claim.last
	}
	return done || in.terminal
}

// take stores what is new of some events.
func (in *intake) take(ctx context.Context, events []jsontext.Value, last bool) error {
	batch := &schema.Batch{Producer: in.claim.producer, Epoch: in.claim.epoch, Place: in.place, Last: last, Events: events}
	in.place = batch.Next()
	if err := in.enter(ctx); err != nil {
		return err
	}
	defer in.leave()
	for {
		stored, err := in.course.offer(ctx, in, batch)
		in.accepted += stored
		if !errors.Is(err, broker.ErrFenced) {
			return err
		}
	}
}

// refusal is what a producer is told of an error.
func (in *intake) refusal(ctx context.Context, err error) error {
	var refused *schema.Error
	var full *broker.FullError
	switch {
	case errors.Is(context.Cause(ctx), errDraining):
		return errDraining
	case errors.As(err, &refused), errors.As(err, &full):
		return err
	case ctx.Err() != nil:
		return context.Canceled // it has gone
	}
	return causedError{cause: err, shown: overloaded("The log does not answer. Ask for the producer's place, and go on from there.")}
}

// fed returns who feeds a response. It opens the response if there is none: then the producer feeds it alone.
func (in *intake) fed(ctx context.Context, first *schema.Batch) ([]string, error) {
	cmd, err := in.command(ctx)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return in.open(ctx, first)
	case errors.Is(err, broker.ErrGone):
		return nil, erased("id")
	case err != nil:
		return nil, fmt.Errorf("look for %s: %w", in.ref, err)
	}
	return producersOf(cmd)
}

// command returns what the response was made from.
func (in *intake) command(ctx context.Context) (*schema.Command, error) {
	ctx, cancel := in.finding(ctx)
	defer cancel()
	return in.server.cfg.Library.Command(ctx, in.ref)
}

// outcome returns the response as it ended, nil as long as it has not, and refuses whoever feeds one that was deleted.
func (in *intake) outcome(ctx context.Context) (*schema.State, error) {
	ctx, cancel := in.finding(ctx)
	defer cancel()
	state, err := in.server.cfg.Ingest.Ended(ctx, in.ref)
	switch {
	case errors.Is(err, hub.ErrGone), errors.Is(err, hub.ErrExpired):
		return nil, erased("id")
	case err != nil && !errors.Is(err, hub.ErrNotFound): // not begun yet, or no longer: the log says so when it is read
		return nil, fmt.Errorf("look at %s: %w", in.ref, err)
	case state == nil:
		in.course.looked = time.Now()
	}
	return state, nil
}

// ended refuses events for a response that has ended.
func (in *intake) ended(ctx context.Context) error {
	state, err := in.outcome(ctx)
	if err != nil || state == nil {
		return err
	}
	resp := state.Response()
	why := resp.Status
	if resp.Error != nil {
		why += ": " + resp.Error.Message
	}
	return &schema.Error{
		Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: codeEnded, Message: "The response has ended, as " + why,
	}
}
