package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// owner is an attempt at a run, as a producer makes it: every event goes through the sequencer.
type owner struct {
	testing.TB
	w    *Writer
	fold *schema.Run
	seq  *schema.Sequencer
}

// mustOwn claims the log.
func mustOwn(tb testing.TB, b *Broker, ref schema.Ref, nonce string) *owner {
	tb.Helper()
	h := mustRead(tb, b, ref)
	fold, err := schema.FoldRun(ref, h.Records)
	must(tb, err)
	o := &owner{tb, mustWriter(tb, b, h, fold.Attempt+1, nonce), fold, schema.NewSequencer(&fold.State)}
	events, err := o.seq.Push("gateway", schema.Event{Type: schema.InProgress})
	must(tb, err)
	must(tb, o.w.Commit(testContext(tb), schema.RecordClaim, []byte(`{"node":"owner"}`), events...))
	return o
}

// next gives out the events of one more delta of a message.
func (o *owner) next(text string) []schema.Event {
	o.Helper()
	events, err := o.seq.Push("model", schema.Event{Type: schema.TextDelta, ItemID: "m", Delta: &text})
	must(o, err)
	return events
}

func (o *owner) say(text string) {
	o.Helper()
	must(o, o.w.Append(testContext(o), o.next(text)...))
	must(o, o.w.Flush(testContext(o)))
}

// finish ends the response as completed.
func (o *owner) finish() {
	o.Helper()
	events, err := o.fold.End(o.seq, schema.Completed, func(r *schema.Response) {
		r.Status, r.CompletedAt = schema.StatusCompleted, new(r.CreatedAt)
	})
	must(o, err)
	must(o, o.w.Append(testContext(o), events...))
	must(o, o.w.Flush(testContext(o)))
}

// obey ends the response as cancelled when it is asked to, as a producer does.
func (o *owner) obey(b *Broker) {
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		err := b.Cancels(ctx, func(ref schema.Ref) {
			if ref == o.w.place.ref {
				close(told)
			}
		})
		if err != nil {
			o.Error(err)
		}
	})
	running.Go(func() {
		select {
		case <-told:
		case <-ctx.Done():
			return
		}
		events, err := o.fold.Cancel(o.seq)
		if err == nil {
			err = o.w.Append(ctx, events...)
		}
		if err != nil {
			o.Error(err)
		}
	})
	o.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// mustEnd reads the log and returns the response; a client would accept every byte of it.
func mustEnd(tb testing.TB, b *Broker, ref schema.Ref) (*schema.Response, []schema.Record) {
	tb.Helper()
	h := mustRead(tb, b, ref)
	state, err := schema.CheckStream(frames(h.Records))
	must(tb, err)
	return state.Response(), h.Records
}

func wantCancelled(tb testing.TB, b *Broker, ref schema.Ref, attempts int) []schema.Record {
	tb.Helper()
	resp, records := mustEnd(tb, b, ref)
	if resp.Status != schema.StatusCancelled || resp.Error != nil || resp.Usage != nil {
		tb.Errorf("status %s, error %+v, usage %+v", resp.Status, resp.Error, resp.Usage)
	}
	if last := records[len(records)-1]; last.Attempt != attempts || !schema.Ends(last.Frames) {
		tb.Errorf("the last record is of attempt %d, not %d: %s", last.Attempt, attempts, last.Frames)
	}
	return records
}

func sealed(tb testing.TB, b *Broker, ref schema.Ref) bool {
	tb.Helper()
	_, found, err := source{b}.Sealed(testContext(tb), ref)
	must(tb, err)
	return found
}

// impatient leaves owners no time, for tests of those that do not answer.
func impatient(c *Config) { c.CancelPatience = 50 * time.Millisecond }

// patient waits for owners for as long as the test does.
func patient(c *Config) { c.CancelPatience = patience }

// A run that nobody has begun to work at is claimed and ended in one record, and sealed; its job finds nothing to do.
func TestCancel_Unclaimed(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, patient)
	h := mustBegin(t, b, "resp_unclaimed")
	must(t, b.Cancel(testContext(t), h.Ref))
	records := wantCancelled(t, b, h.Ref, 1)
	if len(records) != 2 || records[1].Kind != schema.RecordClaim {
		t.Errorf("%d records, the last of kind %s", len(records), records[len(records)-1].Kind)
	}
	if !sealed(t, b, h.Ref) {
		t.Error("not sealed")
	}
	must(t, mustWriter(t, b, mustRead(t, b, h.Ref), 2, "late").Seal(testContext(t), true))
	if asked, err := b.CancelAsked(testContext(t), h.Ref); asked || err != nil {
		t.Errorf("the owner of a run without one was asked: %t, %v", asked, err)
	}
}

// An owner that lives ends the response itself: no other attempt claims it.
func TestCancel_ByTheOwner(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, patient)
	h := mustBegin(t, b, "resp_owned")
	o := mustOwn(t, b, h.Ref, "owner")
	o.say("Once upon")
	o.obey(b)
	must(t, b.Cancel(testContext(t), h.Ref))
	wantCancelled(t, b, h.Ref, 1)
	if asked, err := b.CancelAsked(testContext(t), h.Ref); !asked || err != nil {
		t.Errorf("asked %t, %v", asked, err)
	}
}

// An owner that does not answer loses the log: the response ends with what it has said, and it can write no more.
func TestCancel_ByTheFence(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	h := mustBegin(t, b, "resp_deaf")
	o := mustOwn(t, b, h.Ref, "owner")
	o.say("Once upon")
	began := time.Now()
	must(t, b.Cancel(testContext(t), h.Ref))
	if took := time.Since(began); took < b.cfg.CancelPatience {
		t.Errorf("the owner had %s", took)
	}
	wantCancelled(t, b, h.Ref, 2)
	resp, _ := mustEnd(t, b, h.Ref)
	if it := resp.Output[0]; it.Status != schema.StatusIncomplete || it.Text() != "Once upon" {
		t.Errorf("%+v", it)
	}
	if !sealed(t, b, h.Ref) {
		t.Error("not sealed")
	}
	if err := o.w.Append(testContext(t), o.next(" a time")...); err == nil {
		err = o.w.Flush(testContext(t))
		if !errors.Is(err, ErrFenced) {
			t.Error(err)
		}
	}
}

// An owner that appends as fast as it can, and does not answer, loses the log too.
func TestCancel_AgainstAFastWriter(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	h := mustBegin(t, b, "resp_fast")
	o := mustOwn(t, b, h.Ref, "owner")
	o.say("begin")
	var writing sync.WaitGroup
	writing.Go(func() {
		for o.w.Append(testContext(t), o.next("la ")...) == nil {
			if o.w.Flush(testContext(t)) != nil {
				return
			}
		}
	})
	must(t, b.Cancel(testContext(t), h.Ref))
	writing.Wait()
	if err := o.w.Err(); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	records := wantCancelled(t, b, h.Ref, 2)
	t.Logf("the owner was stopped behind %d records", len(records))
}

// A response that has ended keeps its end: nothing is written.
func TestCancel_Ended(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	h := mustBegin(t, b, "resp_over")
	o := mustOwn(t, b, h.Ref, "owner")
	o.say("The end")
	o.finish()
	_, before := mustEnd(t, b, h.Ref)
	must(t, b.Cancel(testContext(t), h.Ref))
	must(t, b.Cancel(testContext(t), h.Ref))
	resp, after := mustEnd(t, b, h.Ref)
	if resp.Status != schema.StatusCompleted || len(after) != len(before) {
		t.Errorf("status %s, %d records, before %d", resp.Status, len(after), len(before))
	}
}

// A response that only the archive has was ended long ago; one that nothing has is not found.
func TestCancel_AgedOutOrUnknown(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.LogAge = 2 * time.Second })
	h := mustBegin(t, b, "resp_old")
	o := mustOwn(t, b, h.Ref, "owner")
	o.finish()
	must(t, o.w.Seal(testContext(t), true))
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	waitUntil(t, "the log has aged out", func() bool {
		tip, err := b.tip(testContext(t), p)
		return err == nil && tip == 0
	})
	must(t, b.Cancel(testContext(t), h.Ref))
	if err := b.Cancel(testContext(t), mustRef(t, "resp_unknown")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// A run that was given back as planned has no owner to wait for.
func TestCancel_Released(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, patient)
	h := mustBegin(t, b, "resp_released")
	o := mustOwn(t, b, h.Ref, "owner")
	o.say("Once upon")
	must(t, o.w.Commit(testContext(t), schema.RecordRelease, nil))
	must(t, b.Cancel(testContext(t), h.Ref))
	wantCancelled(t, b, h.Ref, 2)
}

// Of many that cancel at once, on two nodes, all get what they wanted, and there is one end.
func TestCancel_Races(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	nodes := []*Broker{mustOpen(t, external(host(t, s)), impatient), mustOpen(t, external(host(t, s)), impatient)}
	for n := range 10 {
		h := mustBegin(t, nodes[0], fmt.Sprintf("resp_race_%d", n))
		claimed := n%2 == 0
		if claimed {
			mustOwn(t, nodes[n/2%2], h.Ref, "owner").say("Once")
		}
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				if err := nodes[i%2].Cancel(testContext(t), h.Ref); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		resp, records := mustEnd(t, nodes[1], h.Ref)
		ends := slices.DeleteFunc(records, func(r schema.Record) bool { return !schema.Ends(r.Frames) })
		if resp.Status != schema.StatusCancelled || len(ends) != 1 {
			t.Errorf("status %s, %d ends", resp.Status, len(ends))
		}
	}
}

// A run that a worker claims while it is cancelled ends once, whoever was first.
func TestCancel_RacesWithAClaim(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	for n := range 10 {
		h := mustBegin(t, b, fmt.Sprintf("resp_claim_%d", n))
		w := mustWriter(t, b, h, 1, "worker")
		events, err := schema.NewSequencer(new(fold(t, h).State)).Push("gateway", schema.Event{Type: schema.InProgress})
		must(t, err)
		var claiming sync.WaitGroup
		claiming.Go(func() {
			if err := w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), events...); err != nil && !errors.Is(err, ErrFenced) {
				t.Error(err)
			}
		})
		must(t, b.Cancel(testContext(t), h.Ref))
		claiming.Wait()
		if resp, _ := mustEnd(t, b, h.Ref); resp.Status != schema.StatusCancelled {
			t.Error(resp.Status)
		}
	}
}

func fold(tb testing.TB, h *History) *schema.Run {
	tb.Helper()
	run, err := schema.FoldRun(h.Ref, h.Records)
	must(tb, err)
	return run
}

// A Cancel that died behind its claim leaves a log that the next one ends.
func TestCancel_GoesOnFromAnother(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	h := mustBegin(t, b, "resp_cut")
	mustOwn(t, b, h.Ref, "owner").say("Once upon")
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	c := &cancellation{b: b, place: p, nonce: "dead"}
	last, err := c.last(testContext(t))
	must(t, err)
	must(t, c.claim(testContext(t), last))
	must(t, b.Cancel(testContext(t), h.Ref))
	wantCancelled(t, b, h.Ref, 3)
}

// Whoever follows cancels hears of each, also of those that came while the connection was down.
func TestCancels_OutlastAnOutage(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	link := mustProxy(t, host(t, s))
	following, asking := mustOpen(t, external(link.address())), mustOpen(t, external(host(t, s)))
	heard := make(chan schema.Ref, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- following.Cancels(ctx, func(ref schema.Ref) { heard <- ref }) }()
	for n := range 6 {
		ref := mustRef(t, fmt.Sprintf("resp_asked_%d", n))
		p, err := locate(ref, asking.partitions)
		must(t, err)
		if n%2 == 1 {
			link.swallow()
		}
		must(t, asking.askOwner(testContext(t), p))
		waitUntil(t, "word has come", func() bool {
			select {
			case got := <-heard:
				return got == ref
			default:
				return false
			}
		})
	}
	cancel()
	must(t, <-done)
}

// How long a Cancel takes, printed and not judged: of a run without an owner, with one, and with one that does not answer.
func TestCancel_Latency(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	for name, prepare := range map[string]func(ref schema.Ref){
		"unclaimed": func(schema.Ref) {},
		"owner":     func(ref schema.Ref) { o := mustOwn(t, b, ref, "owner"); o.say("Once"); o.obey(b) },
		"fence":     func(ref schema.Ref) { mustOwn(t, b, ref, "owner").say("Once") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var took []time.Duration
			for n := range 10 {
				h := mustBegin(t, b, fmt.Sprintf("resp_%s_%d", name, n))
				prepare(h.Ref)
				began := time.Now()
				must(t, b.Cancel(testContext(t), h.Ref))
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			t.Logf("p50 %s, p95 %s, max %s", took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
		})
	}
}
