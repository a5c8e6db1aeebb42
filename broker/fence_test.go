package broker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// mustSlip appends a record behind the writers' backs, and returns its position.
func mustSlip(tb testing.TB, b *Broker, h *History, rec schema.Record) uint64 {
	tb.Helper()
	p, err := locate(h.Ref, b.partitions)
	must(tb, err)
	e := entry{rec}
	header, payload := e.encode()
	position, err := b.append(testContext(tb), &message{
		stream: p.logStream(), subject: p.log(), header: header, data: payload, expect: h.position,
		mine: func(*stored) bool { return false },
	})
	must(tb, err)
	return position
}

// slipTime is when the records were written that claimBy makes.
var slipTime = time.UnixMilli(1_700_000_000_000)

// claimBy is the record that an attempt would write behind h.
func claimBy(tb testing.TB, h *History, nonce string) schema.Record {
	tb.Helper()
	last := &h.Records[len(h.Records)-1]
	e := delta(last.Last + 1)
	frames, err := schema.AppendFrame(nil, &e)
	must(tb, err)
	rec := schema.Record{
		Kind: schema.RecordClaim, First: e.SequenceNumber, Last: e.SequenceNumber, Attempt: 1, Nonce: nonce,
		Body: []byte(`{}`), Frames: frames, Time: slipTime.UnixMilli(),
	}
	rec.Seal(last.Chain)
	return rec
}

// A record that is in the log already, because its acknowledgement was lost, counts as written, and is written once.
func TestFence_OwnRecordIsTakenAsStored(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_own")
	w := mustWriter(t, b, h, 1, "mine")
	w.now = func() time.Time { return slipTime }
	mustSlip(t, b, h, claimBy(t, h, "mine"))
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	must(t, w.Commit(testContext(t), schema.RecordTurn, []byte(`{}`), delta(2)))
	if n := len(mustRead(t, b, h.Ref).Records); n != 3 {
		t.Errorf("%d records, not 3", n)
	}
}

// Two workers may count the same attempt: the same claim with another nonce fences.
func TestFence_SameAttemptOtherNonce(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_twin")
	w := mustWriter(t, b, h, 1, "mine")
	mustSlip(t, b, h, claimBy(t, h, "twin"))
	if err := w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)); !errors.Is(err, ErrFenced) {
		t.Fatal(err)
	}
}

// A writer whose log has aged out under it stops with ErrGone, though an append that expects nothing would succeed.
func TestFence_AgedOutLogIsGone(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.LogAge = 500 * time.Millisecond })
	h := mustBegin(t, b, "resp_aged")
	w := mustWriter(t, b, h, 1, "n1")
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	waitUntil(t, "the log has aged out", func() bool {
		tip, err := b.tip(testContext(t), p)
		return err == nil && tip == 0
	})
	if err := w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	if _, err := b.Read(testContext(t), h.Ref); !errors.Is(err, ErrNotFound) {
		t.Fatalf("read of a log that was never sealed: %v", err)
	}
}

func waitUntil(tb testing.TB, what string, happened func() bool) {
	tb.Helper()
	var wait backoff
	for ctx := testContext(tb); !happened(); {
		if wait.wait(ctx) != nil {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// Begin is done once, by whoever comes first, and tells another log's beginning from its own however far the log has grown.
func TestBegin_SameRecordOrAnother(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_begin")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	mustBegin(t, b, "resp_begin")

	other := command("resp_begin")
	other.CreatedAt++
	rec, err := other.RequestRecord()
	must(t, err)
	if err := b.Begin(testContext(t), rec, other.Ref()); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
}

// Each answer of JetStream means one thing.
func TestJudge(t *testing.T) {
	t.Parallel()
	api := func(status int, code jetstream.ErrorCode) error {
		return fmt.Errorf("nats: %w", &jetstream.APIError{Code: status, ErrorCode: code})
	}
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{nats.ErrTimeout, again},
		{jetstream.ErrNoStreamResponse, again},
		{errors.New("something new"), again},
		{api(400, codeWrongLastBusy), again},
		{api(409, codeDuplicateInFly), again},
		{api(503, codeStoreFailed), again},
		{api(429, codeTooMany), again}, // else a stream that stalls would kill every writer
		{api(503, 10008), again},
		{api(404, codeNoStream), again},
		{api(400, codeWrongLast), doubt},
		{api(400, codeTooLarge), refused},
		{api(400, 10052), refused},
		{nats.ErrMaxPayload, refused},
		{nats.ErrConnectionClosed, refused},
	} {
		if got := judge(c.err); got != c.want {
			t.Errorf("%v: verdict %d, not %d", c.err, got, c.want)
		}
	}
}
