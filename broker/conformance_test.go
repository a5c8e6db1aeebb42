package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/broker/model"
	"github.com/midstream-dev/midstream/broker/sim"
	"github.com/midstream-dev/midstream/schema"
)

// log and writer are what the suite is about; the broker and its model both are one.
type log interface {
	Begin(context.Context, schema.Record, schema.Ref) error
	Read(context.Context, schema.Ref) ([]schema.Record, error)
	Writer(ctx context.Context, ref schema.Ref, attempt int, nonce string) (writer, error)
	Cancel(context.Context, schema.Ref) error
	Delete(context.Context, schema.Ref) error
}

type writer interface {
	Append(context.Context, ...schema.Event) error
	Commit(context.Context, schema.Kind, []byte, ...schema.Event) error
	Flush(context.Context) error
	Seal(context.Context, bool) error
	Err() error
	Close()
}

type modelLog struct{ *model.Log }

func (l modelLog) Writer(ctx context.Context, ref schema.Ref, attempt int, nonce string) (writer, error) {
	w, err := l.Log.Writer(ctx, ref, attempt, nonce)
	if err != nil {
		return nil, err
	}
	return w, nil
}

type brokerLog struct{ b *broker.Broker }

func (l brokerLog) Cancel(ctx context.Context, ref schema.Ref) error { return l.b.Cancel(ctx, ref) }
func (l brokerLog) Delete(ctx context.Context, ref schema.Ref) error { return l.b.Delete(ctx, ref) }

func (l brokerLog) Begin(ctx context.Context, rec schema.Record, ref schema.Ref) error {
	return l.b.Begin(ctx, rec, ref)
}

func (l brokerLog) Read(ctx context.Context, ref schema.Ref) ([]schema.Record, error) {
	h, err := l.b.Read(ctx, ref)
	if err != nil {
		return nil, err
	}
	return h.Records, nil
}

func (l brokerLog) Writer(ctx context.Context, ref schema.Ref, attempt int, nonce string) (writer, error) {
	h, err := l.b.Read(ctx, ref)
	if err != nil {
		return nil, err
	}
	return l.b.Writer(h, attempt, nonce), nil
}

func open(tb testing.TB, cfg broker.Config) *broker.Broker {
	tb.Helper()
	b, err := broker.Open(within(tb), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return b
}

func openEmbedded(tb testing.TB) log {
	return brokerLog{open(tb, broker.Config{DataDir: tb.TempDir(), SyncInterval: time.Minute, Partitions: 2, CancelPatience: patienceWithOwners})}
}

// patienceWithOwners is short: the owners of this suite answer nobody.
const patienceWithOwners = 20 * time.Millisecond

// openExternal is a broker on a NATS server that is reached over TCP.
func openExternal(tb testing.TB) log {
	tb.Helper()
	s, err := embed.Start(embed.Config{
		Dir: tb.TempDir(), Listen: "127.0.0.1:0", User: "midstream", Password: "only for tests", MaxPayload: schema.MaxPayload,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return brokerLog{open(tb, broker.Config{
		URL: s.URL(), User: "midstream", Password: "only for tests", Partitions: 2, SecretKey: bytes.Repeat([]byte{7}, 32),
		CancelPatience: patienceWithOwners,
	})}
}

// openSim is a broker on the server that stands in for NATS under faults: this suite is its licence.
func openSim(tb testing.TB) log {
	tb.Helper()
	s := sim.New(nil)
	tb.Cleanup(func() {
		if err := s.Err(); err != nil {
			tb.Error(err)
		}
	})
	return brokerLog{open(tb, broker.Config{
		Dial: s.NewLink("suite").Dial, Partitions: 2, SecretKey: bytes.Repeat([]byte{7}, 32), CancelPatience: patienceWithOwners,
	})}
}

// The model, the embedded log, the log on an existing NATS and the one on a simulated NATS keep the same promises.
func TestLog_Conformance(t *testing.T) {
	t.Parallel()
	for name, opener := range map[string]func(testing.TB) log{
		"model":    func(testing.TB) log { return modelLog{model.New()} },
		"embedded": openEmbedded,
		"external": openExternal,
		"sim":      openSim,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, opener(t))
		})
	}
}

// conform runs every case of the suite on its own response of one log.
func conform(t *testing.T, l log) {
	for name, run := range map[string]func(*bench){
		"unknown log":        unknownLog,
		"begin once":         beginOnce,
		"append in order":    appendInOrder,
		"private bodies":     privateBodies,
		"fence":              fence,
		"takeover continues": takeoverContinues,
		"seal again":         sealAgain,
		"closed":             closedWriter,
		"cancel":             cancelOnce,
		"cancel fences":      cancelFences,
		"delete":             deleteForEver,
	} {
		t.Run(name, func(t *testing.T) { run(newBench(t, l, "resp_"+strings.ReplaceAll(name, " ", "_"))) })
	}
}

// bench is one response of the log under test.
type bench struct {
	*testing.T
	log
	ref schema.Ref
	cmd *schema.Command
}

func newBench(t *testing.T, l log, response string) *bench {
	cmd := newCommand(response)
	return &bench{t, l, cmd.Ref(), cmd}
}

func newCommand(response string) *schema.Command {
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: "t1", Response: response, CreatedAt: 1_700_000_000_000,
		Digest: strings.Repeat("0", 64), Request: []byte(`{"model":"m","input":"hello"}`),
	}
}

func within(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func (b *bench) ctx() context.Context { return within(b.T) }

func (b *bench) want(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("error %v, not %v", err, want)
	}
}

func (b *bench) begin() {
	b.Helper()
	rec, err := b.cmd.RequestRecord()
	b.want(err, nil)
	b.want(b.Begin(b.ctx(), rec, b.ref), nil)
}

func (b *bench) writer(nonce string) writer {
	b.Helper()
	w, err := b.Writer(b.ctx(), b.ref, 1, nonce)
	b.want(err, nil)
	b.Cleanup(w.Close)
	return w
}

func (b *bench) records() []schema.Record {
	b.Helper()
	records, err := b.Read(b.ctx(), b.ref)
	b.want(err, nil)
	return records
}

func token(n int64) schema.Event {
	text := fmt.Sprintf("token %d", n)
	return schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &text}
}

func tokens(first, last int64) (events []schema.Event) {
	for n := first; n <= last; n++ {
		events = append(events, token(n))
	}
	return events
}

// A log that nobody began is not found, to read or to write.
func unknownLog(b *bench) {
	_, err := b.Read(b.ctx(), b.ref)
	b.want(err, broker.ErrNotFound)
	_, err = b.Writer(b.ctx(), b.ref, 1, "n1")
	b.want(err, broker.ErrNotFound)
}

// A log is begun once; the same beginning again is no error, another one is.
func beginOnce(b *bench) {
	b.begin()
	b.begin()
	b.cmd.CreatedAt++
	rec, err := b.cmd.RequestRecord()
	b.want(err, nil)
	b.want(b.Begin(b.ctx(), rec, b.ref), broker.ErrExists)
	if n := len(b.records()); n != 1 {
		b.Errorf("%d records", n)
	}
}

// Events are in the log in order; one that is not next is refused, and harms nothing.
func appendInOrder(b *bench) {
	b.begin()
	w := b.writer("n1")
	b.want(w.Append(b.ctx(), token(2)), broker.ErrOrder)
	b.want(w.Append(b.ctx(), tokens(1, 700)...), nil)
	b.want(w.Commit(b.ctx(), schema.RecordEvents, nil, token(700)), broker.ErrOrder)
	b.want(w.Flush(b.ctx()), nil)
	if diff := cmp.Diff(wire(b, 0, 700), served(b.records())); diff != "" {
		b.Error(diff)
	}
}

// wire is the request record's frame and tokens first to last, as they go to clients.
func wire(b *bench, first, last int64) []string {
	rec, err := b.cmd.RequestRecord()
	b.want(err, nil)
	all := []string{string(rec.Frames)}
	for _, e := range tokens(first+1, last) {
		frame, err := schema.AppendFrame(nil, &e)
		b.want(err, nil)
		all = append(all, string(frame))
	}
	return all
}

// served is every frame of the records.
func served(records []schema.Record) (all []string) {
	for i := range records {
		for rest := records[i].Frames; len(rest) > 0; {
			_, tail, err := schema.CutFrame(rest)
			if err != nil {
				return append(all, err.Error())
			}
			all = append(all, string(rest[:len(rest)-len(tail)]))
			rest = tail
		}
	}
	return all
}

// Private bodies come back with their kind, apart from the frames, and stand behind what was appended before.
func privateBodies(b *bench) {
	b.begin()
	w := b.writer("n1")
	b.want(w.Append(b.ctx(), token(1)), nil)
	b.want(w.Commit(b.ctx(), schema.RecordTurn, []byte("one")), nil)
	b.want(w.Commit(b.ctx(), schema.RecordTurn, []byte("another")), nil)
	b.want(w.Commit(b.ctx(), schema.RecordResult, []byte("result"), tokens(2, 3)...), nil)
	var got []string
	for _, r := range b.records()[1:] {
		got = append(got, fmt.Sprintf("%s %d-%d %s", r.Kind, r.First, r.Last, r.Body))
	}
	if diff := cmp.Diff([]string{"events 1-1 ", "turn 2-1 one", "turn 2-1 another", "result 2-3 result"}, got); diff != "" {
		b.Error(diff)
	}
}

// The older of two writers writes nothing behind the younger one's claim, and seals nothing.
func fence(b *bench) {
	b.begin()
	old, young := b.writer("old"), b.writer("young")
	b.want(old.Commit(b.ctx(), schema.RecordClaim, []byte("{}"), token(1)), nil)
	b.want(young.Commit(b.ctx(), schema.RecordClaim, []byte("{}"), token(1)), broker.ErrFenced)
	b.want(young.Commit(b.ctx(), schema.RecordClaim, []byte("{}"), token(1)), broker.ErrFenced)
	b.want(young.Seal(b.ctx(), true), broker.ErrFenced)
	b.want(young.Err(), broker.ErrFenced)
	b.want(old.Append(b.ctx(), token(2)), nil)
	b.want(old.Flush(b.ctx()), nil)
	for _, r := range b.records()[1:] {
		if r.Nonce != "old" {
			b.Errorf("a record by %q", r.Nonce)
		}
	}
}

// A later attempt goes on with the number that is due, and the chain goes on too.
func takeoverContinues(b *bench) {
	b.begin()
	w := b.writer("n1")
	b.want(w.Append(b.ctx(), tokens(1, 5)...), nil)
	b.want(w.Flush(b.ctx()), nil)
	w = b.writer("n2")
	b.want(w.Commit(b.ctx(), schema.RecordClaim, []byte("{}"), token(6)), nil)
	chain := schema.Genesis(b.ref)
	for _, r := range b.records() {
		b.want(r.Verify(chain), nil)
		chain = r.Chain
	}
	if diff := cmp.Diff(wire(b, 0, 6), served(b.records())); diff != "" {
		b.Error(diff)
	}
}

// Sealing twice, also by a later attempt, is one seal.
func sealAgain(b *bench) {
	b.begin()
	w := b.writer("n1")
	b.want(w.Append(b.ctx(), tokens(1, 5)...), nil)
	b.want(w.Seal(b.ctx(), true), nil)
	b.want(w.Seal(b.ctx(), true), nil)
	b.want(b.writer("n2").Seal(b.ctx(), true), nil)
	if n := len(served(b.records())); n != 6 {
		b.Errorf("%d frames", n)
	}
}

// A closed writer says that it is closed.
func closedWriter(b *bench) {
	b.begin()
	w := b.writer("n1")
	w.Close()
	w.Close()
	b.want(w.Append(b.ctx(), token(1)), broker.ErrClosed)
	b.want(w.Commit(b.ctx(), schema.RecordClaim, nil), broker.ErrClosed)
	b.want(w.Err(), broker.ErrClosed)
}

// A response that nobody works on is ended by a cancel, once; an unknown one is not found.
func cancelOnce(b *bench) {
	b.want(b.Cancel(b.ctx(), b.ref), broker.ErrNotFound)
	b.begin()
	b.want(b.Cancel(b.ctx(), b.ref), nil)
	b.want(b.Cancel(b.ctx(), b.ref), nil)
	if status, n := lastStatus(b), len(b.records()); status != schema.StatusCancelled || n != 2 {
		b.Errorf("status %s in %d records", status, n)
	}
}

// A cancel takes the log from an owner that does not answer: its stream ends, and it writes no more.
func cancelFences(b *bench) {
	b.begin()
	run, err := schema.FoldRun(b.ref, b.records())
	b.want(err, nil)
	events, err := schema.NewSequencer(&run.State).Push("gateway", schema.Event{Type: schema.InProgress})
	b.want(err, nil)
	w := b.writer("owner")
	b.want(w.Commit(b.ctx(), schema.RecordClaim, []byte("{}"), events...), nil)
	b.want(b.Cancel(b.ctx(), b.ref), nil)
	if err = w.Append(b.ctx(), token(2)); err == nil {
		err = w.Flush(b.ctx())
	}
	b.want(err, broker.ErrFenced)
	b.want(b.Cancel(b.ctx(), b.ref), nil)
	if status := lastStatus(b); status != schema.StatusCancelled {
		b.Error(status)
	}
}

// lastStatus checks the whole stream and returns the status at its end.
func lastStatus(b *bench) string {
	b.Helper()
	state, err := schema.CheckStream([]byte(strings.Join(served(b.records()), "")))
	b.want(err, nil)
	return state.Response().Status
}

// What was deleted is gone for everybody, and is not deleted twice; what never was is not found.
func deleteForEver(b *bench) {
	b.want(b.Delete(b.ctx(), b.ref), broker.ErrNotFound)
	b.begin()
	b.want(b.Delete(b.ctx(), b.ref), nil)
	b.want(b.Delete(b.ctx(), b.ref), broker.ErrGone)
	b.want(b.Cancel(b.ctx(), b.ref), broker.ErrGone)
	_, err := b.Read(b.ctx(), b.ref)
	b.want(err, broker.ErrGone)
	_, err = b.Writer(b.ctx(), b.ref, 1, "n1")
	b.want(err, broker.ErrGone)
}
