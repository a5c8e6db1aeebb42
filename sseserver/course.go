package sseserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// course is how far a producer has come, as this node has read it: a rehearsal of all that is stored of it, so that what breaks
// a rule is refused before it is stored. It is a copy: what another node has stored since is found out by the fence.
//
// One request at a time has it: see [intake.enter]. Only next is everybody's.
type course struct {
	turn     *semaphore.Weighted
	relay    *schema.Relay // nil: to be read again, from the start
	position uint64        // of the last batch that was read
	declared bool          // the response is known to be fed by this producer
	looked   time.Time     // when the response was last seen not to have ended
	broken   error         // why nothing that comes now can help: the relay has stopped, or will

	next atomic.Int64 // the place that is due: all before it is stored. -1 until it is known
}

func newCourse() *course {
	c := &course{turn: semaphore.NewWeighted(1)}
	c.next.Store(-1)
	return c
}

// lookEvery is how often a body that goes on and on is held against the end of its response.
const lookEvery = 250 * time.Millisecond

// catchUp reads what is stored of the producer and not known here.
func (c *course) catchUp(ctx context.Context, in *intake) error {
	if c.broken != nil {
		return c.broken
	}
	if c.relay == nil {
		c.relay, c.position = schema.Rehearse(in.ref, in.claim.producer), 0
	}
	for c.broken == nil {
		sent, err := c.read(ctx, in)
		if err != nil {
			return err
		}
		if sent == nil {
			break
		}
		c.position = sent.Position
		if !c.relay.Heeds(&sent.Batch) {
			continue
		}
		if _, err = c.relay.Take(&sent.Batch); err == nil {
			err = sent.Err
		}
		c.broken = stopped(err)
	}
	next, _, _ := c.relay.Standing(in.claim.producer)
	c.next.Store(next)
	return c.broken
}

// read returns the batch behind the last one that was read, nil where there is none.
func (c *course) read(ctx context.Context, in *intake) (*broker.Sent, error) {
	ctx, cancel := in.finding(ctx)
	defer cancel()
	return in.server.cfg.Ingest.NextSent(ctx, in.ref, in.claim.producer, c.position)
}

// stopped says why a relay that met this error takes nothing more.
func stopped(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schema.ErrOutputFull):
		return errFull
	}
	return &schema.Error{
		Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: schema.CodeOrder,
		Message: fmt.Sprintf("What the producer has sent cannot be gone on from: %s.", err),
	}
}

// offer stores what is new of a batch, as far as it follows the rules, and returns how many events that are.
func (c *course) offer(ctx context.Context, in *intake, batch *schema.Batch) (stored int64, err error) {
	if c.relay == nil {
		err = c.catchUp(ctx, in)
	}
	if err = cmp.Or(err, c.broken); err != nil {
		return 0, err
	}
	next, epoch, ended := c.relay.Standing(batch.Producer)
	fresh := max(batch.Next()-max(next, batch.Place), 0)
	switch {
	case batch.Epoch < epoch:
		return 0, staleEpoch(epoch)
	case batch.Place > next:
		return 0, gap(batch.Place, next)
	case in.claim.place < 0 && batch.Place < next: // the body began where the producer stood
		return 0, &schema.Error{
			Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: codeConflict, Param: headerProducer,
			Message: "Another process sends as this producer. Say where the body begins (" + headerPlace + "), or use a later epoch.",
		}
	case fresh == 0 && (ended || batch.Epoch == epoch && (!batch.Last || !c.relay.Repeats(batch))):
		return 0, nil
	case ended:
		return 0, &schema.Error{
			Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: codeClosed,
			Message: "The producer has said that it had ended.",
		}
	}
	rest := *batch
	rest.Events, rest.Place = batch.Events[len(batch.Events)-int(fresh):], next
	broken := c.rehearse(&rest)
	if len(rest.Events) == 0 && broken != nil {
		return 0, broken // so it opens no response either
	}
	if err := c.store(ctx, in, &rest); err != nil {
		c.relay, c.broken = nil, nil // it was rehearsed, and not stored
		return 0, err
	}
	return int64(len(rest.Events)), broken
}

func (c *course) store(ctx context.Context, in *intake, b *schema.Batch) error {
	if err := c.admit(ctx, in, b); err != nil {
		return err
	}
	position, err := in.server.cfg.Ingest.Ingest(ctx, in.ref, b, c.position)
	if err != nil {
		return err
	}
	c.position = position
	c.next.Store(b.Next())
	return nil
}

// rehearse takes a batch, and cuts it where it breaks a rule; the rehearsal has ended then.
func (c *course) rehearse(b *schema.Batch) error {
	_, err := c.relay.Take(b)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schema.ErrOutputFull): // no fault of the producer: its relay ends the response
		c.broken = errFull
		return nil
	}
	next, _, _ := c.relay.Standing(b.Producer)
	if next == b.Next() && b.Ends() {
		next-- // all was taken but this end: another event may be sent in its place
	}
	b.Events, b.Last = b.Events[:next-b.Place], false
	c.relay = nil
	return schema.Refuse(schema.CodeOrder, "", "Event %d of the producer: %s.", next, why(err))
}

// why says of a broken rule all but the number of the event, which is not the producer's own where events were derived.
func why(err error) string {
	v := (*schema.Violation)(nil)
	if !errors.As(err, &v) {
		return err.Error()
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s (%s)", v.Event, v.Why, v.Rule))
}

var errFull = &schema.Error{
	Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: codeEnded, Message: "The response's output has reached its limit.",
}

// admit refuses a batch for a response that takes nothing from this producer. The first event of a producer on its own opens its
// response.
func (c *course) admit(ctx context.Context, in *intake, first *schema.Batch) error {
	if !c.declared {
		producers, err := in.fed(ctx, first)
		if err != nil {
			return err
		}
		if err := declared(producers, first.Producer); err != nil {
			return err
		}
		c.declared = true
	}
	if time.Since(c.looked) < lookEvery {
		return nil
	}
	return in.ended(ctx)
}

func declared(producers []string, name string) error {
	switch {
	case len(producers) == 0:
		return &schema.Error{
			Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Code: codeNotFed,
			Message: "The response is made here: no producer feeds it.",
		}
	case !slices.Contains(producers, name):
		return &schema.Error{
			Status: http.StatusForbidden, Type: schema.TypeInvalidRequest, Code: codeProducer, Param: headerProducer,
			Message: "The response was opened for other producers.",
		}
	}
	return nil
}

// maxCourses bounds the courses that a node keeps; the one that was not used for longest goes first, and is read again. One of a
// thousand tokens holds 30 KiB (measured), the largest as much as an output may be.
const maxCourses = 1024

// courses are the producers that this node has heard of lately. It is safe for concurrent use.
type courses struct {
	known *lru.Cache[courseKey, *course]
}

type courseKey struct {
	ref      schema.Ref
	producer string
}

func newCourses() courses {
	known, err := lru.New[courseKey, *course](maxCourses)
	if err != nil {
		panic("sseserver: internal error: " + err.Error()) // the size is a constant
	}
	return courses{known}
}

// get returns the producer's course: what is known of it, or one that knows nothing.
func (cs courses) get(ref schema.Ref, producer string) *course {
	key := courseKey{ref, producer}
	fresh := newCourse()
	if _, there, _ := cs.known.PeekOrAdd(key, fresh); there {
		if c, ok := cs.known.Get(key); ok { // it is used now; another request may have dropped it meanwhile
			return c
		}
	}
	return fresh
}
