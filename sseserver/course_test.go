package sseserver

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// behind is the Ingest behind one that a test meddles with.
type behind = Ingest

// crowded is an Ingest that may be full.
type crowded struct {
	behind
	full atomic.Bool
}

func (c *crowded) Ingest(ctx context.Context, ref schema.Ref, batch *schema.Batch, behind uint64) (uint64, error) {
	if c.full.Load() {
		return 0, &broker.FullError{Bound: broker.BoundIngest}
	}
	return c.behind.Ingest(ctx, ref, batch, behind)
}

// send sends events of the producer p of f's response.
func (f *feeding) send(t *testing.T, s *site, events string, headers ...string) *http.Response {
	t.Helper()
	headers = append([]string{"Content-Type", "application/x-ndjson", headerProducer, "p", headerEnds, "false"}, headers...)
	return s.do(t, s.request(t, "POST", "/v1/responses/"+f.ref.Response()+"/events", events, headers...))
}

func mustBeDue(t *testing.T, resp *http.Response, status int, place int64) {
	t.Helper()
	if got := resp.Header.Get(headerNext); resp.StatusCode != status || got != strconv.FormatInt(place, 10) {
		t.Errorf("status %d, place %s is due: %s; want %d, %d", resp.StatusCode, got, read(t, resp), status, place)
	}
}

// What was refused for want of room is not stored, and the answer does not say so: who trims its buffer by it would lose events.
func TestCourse_FullStoresNothing(t *testing.T) {
	in := &crowded{}
	s := serveLive(t, func(c *Config) { in.behind = c.Broker.(Ingest); c.Ingest = in })
	f := feed(t, s)
	f.chunk(t, oneEvent+oneEvent)
	f.whole(t)
	mustBeDue(t, f.answer(t), 200, 2)
	in.full.Store(true)
	mustBeDue(t, f.send(t, s, oneEvent+oneEvent+oneEvent), 503, 2)
	in.full.Store(false)
	mustBeDue(t, f.send(t, s, oneEvent+oneEvent+oneEvent, headerPlace, "2"), 200, 5)
	f.stored(t, 5)
}

// A body that is open on one node meets what its producer has sent through another one meanwhile: it goes on behind it, and learns
// from it that the producer was started anew.
func TestCourse_TwoNodes(t *testing.T) {
	one, two := serveLive(t, ingesting), serveLive(t, ingesting)
	f := feed(t, one, headerPlace+": 0")
	f.chunk(t, oneEvent)
	f.stored(t, 1)
	mustBeDue(t, f.send(t, two, oneEvent+oneEvent, headerPlace, "0"), 200, 2)
	f.chunk(t, oneEvent+oneEvent)
	f.stored(t, 3)
	mustBeDue(t, f.send(t, two, oneEvent, headerPlace, "3", headerEpoch, "1"), 200, 4)
	f.chunk(t, oneEvent)
	resp := f.answer(t)
	mustBeDue(t, resp, 403, 4)
	mustRefuse(t, resp, 403, codeEpoch)
}

// Two processes that send as one producer, on one node, and do not say what stands where: a body that another one has come into is
// told, and nothing of it is taken for what the other has sent.
func TestCourse_TwoProcesses(t *testing.T) {
	s := serveLive(t, ingesting)
	f := feed(t, s)
	f.chunk(t, oneEvent)
	f.stored(t, 1)
	mustBeDue(t, f.send(t, s, oneEvent+oneEvent), 200, 3)
	f.chunk(t, oneEvent)
	resp := f.answer(t)
	mustBeDue(t, resp, 409, 3)
	mustRefuse(t, resp, 409, codeConflict)
}

// overtaken is an Ingest in which the earlier epoch is a little faster than the fence of the later one.
type overtaken struct {
	behind
	fenced bool
}

func (o *overtaken) Ingest(ctx context.Context, ref schema.Ref, batch *schema.Batch, behind uint64) (uint64, error) {
	if len(batch.Events) == 0 && !o.fenced {
		o.fenced = true
		other := *batch
		other.Epoch, other.Events = 0, []jsontext.Value{jsontext.Value(strings.TrimSpace(oneEvent))}
		if _, err := o.behind.Ingest(ctx, ref, &other, behind); err != nil {
			return 0, err
		}
	}
	return o.behind.Ingest(ctx, ref, batch, behind)
}

// A producer that was started anew goes on behind whatever its earlier self has stored by then.
func TestCourse_OvertakenByItsEarlierSelf(t *testing.T) {
	s := serveLive(t, func(c *Config) { c.Ingest = &overtaken{behind: c.Broker.(Ingest)} })
	f := feed(t, s)
	f.chunk(t, oneEvent)
	f.whole(t)
	mustBeDue(t, f.answer(t), 200, 1)
	mustBeDue(t, f.send(t, s, oneEvent, headerEpoch, "1"), 200, 3)
	mustBeDue(t, f.send(t, s, oneEvent), 403, 3)
}

// The output of a response that is full is known to be so only once that is stored: what found no room may be sent again.
func TestCourse_FullOutput(t *testing.T) {
	in := &crowded{}
	s := serveLive(t, func(c *Config) { in.behind = c.Broker.(Ingest); c.Ingest = in })
	f := feed(t, s)
	f.chunk(t, `{"type":"response.output_item.added","item":{"id":"m","type":"message","content":[]}}`+"\n")
	f.whole(t)
	mustBeDue(t, f.answer(t), 200, 1)
	delta := `{"type":"response.output_text.delta","item_id":"m","delta":"` + strings.Repeat("x", schema.MaxEvent-100) + "\"}\n"
	place := int64(1)
	for ; place <= schema.MaxOutput/schema.MaxEvent; place++ {
		mustBeDue(t, f.send(t, s, delta), 200, place+1)
	}
	in.full.Store(true)
	mustBeDue(t, f.send(t, s, delta), 503, place)
	in.full.Store(false)
	mustBeDue(t, f.send(t, s, delta), 200, place+1)
	resp := f.send(t, s, delta)
	mustBeDue(t, resp, 409, place+1)
	mustRefuse(t, resp, 409, codeEnded)
}

// silent is an Ingest whose log does not answer.
type silent struct{ behind }

func (s silent) NextSent(ctx context.Context, _ schema.Ref, _ string, _ uint64) (*broker.Sent, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A log that does not answer is a reason to come back, and no place is known then: least of all 0.
func TestCourse_SilentLog(t *testing.T) {
	s := serveLive(t, func(c *Config) { c.Ingest, c.FindTimeout = silent{c.Broker.(Ingest)}, 20*time.Millisecond })
	f := &feeding{ref: freshCommand(t).Ref()}
	resp := f.send(t, s, oneEvent)
	if next, known := resp.Header[headerNext]; known {
		t.Errorf("%s is due, by a log that does not answer", next)
	}
	mustRefuse(t, resp, 503, schema.CodeOverloaded)
}

// A producer that opens a response starts a run, as who asks for one does; to go on with it costs nothing.
func TestCourse_OpeningIsARequest(t *testing.T) {
	s := serveLive(t, ingesting, func(c *Config) { c.RequestsPerMinute = 1 })
	f := feed(t, s)
	f.chunk(t, oneEvent)
	f.whole(t)
	mustBeDue(t, f.answer(t), 200, 1)
	other := &feeding{ref: freshCommand(t).Ref()}
	mustRefuse(t, other.send(t, s, oneEvent), 429, schema.CodeRateLimit)
	mustBeDue(t, f.send(t, s, oneEvent), 200, 2)
}

// A drain does not wait for a producer that has nothing to say: it is sent to another node, and knows from where to go on.
func TestCourse_Drain(t *testing.T) { mustDrain(t, serveLive(t, ingesting)) }

// mustDrain drains a server whose producer has sent one event and goes on.
func mustDrain(t *testing.T, s *site) {
	t.Helper()
	f := feed(t, s)
	f.chunk(t, oneEvent)
	f.stored(t, 1)
	if err := s.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	resp := f.answer(t)
	mustBeDue(t, resp, 503, 1)
	mustRefuse(t, resp, 503, schema.CodeUnavailable)
}

// lastMoment is an Ingest that answers when the request's time is over.
type lastMoment struct{ behind }

func (l lastMoment) Ingest(ctx context.Context, ref schema.Ref, batch *schema.Batch, behind uint64) (uint64, error) {
	at, err := l.behind.Ingest(context.WithoutCancel(ctx), ref, batch, behind)
	<-ctx.Done()
	return at, err
}

// What is stored as the drain begins is counted, and the drain does not wait for more either.
func TestCourse_DrainWhileItStores(t *testing.T) {
	mustDrain(t, serveLive(t, func(c *Config) { c.Ingest = lastMoment{c.Broker.(Ingest)} }))
}
