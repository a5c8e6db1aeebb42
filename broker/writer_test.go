package broker

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// What a writer was given is in the log in order, with dense numbers and an unbroken chain.
func TestWriter_AppendsInOrder(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_order")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{"node":"a"}`), delta(1)))
	for n := int64(2); n < 1000; n++ {
		must(t, w.Append(testContext(t), delta(n)))
	}
	must(t, w.Commit(testContext(t), schema.RecordTurn, []byte(`{}`)))
	must(t, w.Append(testContext(t), delta(1000)))
	must(t, w.Flush(testContext(t)))

	got := mustRead(t, b, h.Ref).Records
	want := int64(0)
	for rest, i := frames(got), 0; len(rest) > 0; i++ {
		f, tail, err := schema.CutFrame(rest)
		must(t, err)
		if f.ID != want {
			t.Fatalf("frame %d has id %d", want, f.ID)
		}
		want, rest = want+1, tail
	}
	if want != 1001 {
		t.Fatalf("%d frames, not 1001", want)
	}
	kinds := map[schema.Kind]int{}
	for i := range got {
		kinds[got[i].Kind]++
	}
	if kinds[schema.RecordEvents] >= 999 {
		t.Errorf("%d records of events: nothing was grouped", kinds[schema.RecordEvents])
	}
	delete(kinds, schema.RecordEvents)
	if diff := cmp.Diff(map[schema.Kind]int{schema.RecordRequest: 1, schema.RecordClaim: 1, schema.RecordTurn: 1}, kinds); diff != "" {
		t.Error(diff)
	}
}

func frames(records []schema.Record) []byte {
	var all []byte
	for i := range records {
		all = append(all, records[i].Frames...)
	}
	return all
}

// An event that is not the next one is refused, and the writer goes on with the one that is.
func TestWriter_RefusesAnEventOutOfOrder(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	w := mustWriter(t, b, mustBegin(t, b, "resp_hole"), 1, "n1")
	if err := w.Append(testContext(t), delta(2)); !errors.Is(err, ErrOrder) {
		t.Fatalf("event 2 where 1 is due: %v", err)
	}
	must(t, w.Append(testContext(t), delta(1)))
	must(t, w.Flush(testContext(t)))
}

// Of two writers of one log the later one's claim stops the earlier one, and nothing of that one comes behind the claim.
func TestWriter_FencedByAnotherClaim(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_fence")
	old, young := mustWriter(t, b, h, 1, "old"), mustWriter(t, b, h, 1, "young")
	must(t, young.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	err := old.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1))
	if !errors.Is(err, ErrFenced) || !errors.Is(old.Err(), ErrFenced) {
		t.Fatalf("commit behind a foreign claim: %v, then %v", err, old.Err())
	}
	if got := mustRead(t, b, h.Ref).Records; len(got) != 2 || got[1].Nonce != "young" {
		t.Fatalf("%d records, the last by %q", len(got), got[len(got)-1].Nonce)
	}
}

// A writer that appends nothing learns of the claim that fences it.
func TestWriter_HearsOfAForeignClaim(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_hear")
	old, young := mustWriter(t, b, h, 1, "old"), mustWriter(t, b, h, 1, "young")
	must(t, young.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	select {
	case <-old.Fenced():
	case <-testContext(t).Done():
		t.Fatal("not told")
	}
	if !errors.Is(old.Err(), ErrFenced) {
		t.Error(old.Err())
	}
	must(t, young.Err())
}
