package schema

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fixedLog is a small log with a record of every kind.
func fixedLog(t *testing.T) (Ref, []Record) {
	t.Helper()
	cmd := testCommand("resp_fixed1")
	log := []Record{must(cmd.RequestRecord())(t)}
	q := NewSequencer(must(Fold(log[0].Frames))(t))
	add := func(kind Kind, body string, events ...Event) {
		rec := Record{
			Kind: kind, First: log[len(log)-1].Last + 1, Attempt: 1, Nonce: "nonce1",
			Taken: map[string]int64{"wiki": 2, "model": 7}, Frames: framesOf(t, events),
		}
		if rec.Last = rec.First - 1 + int64(len(events)); body != "" {
			rec.Body = []byte(body)
		}
		rec.Seal(log[len(log)-1].Chain)
		log = append(log, rec)
	}
	push := func(e Event) []Event { return must(q.Push("model", e))(t) }
	add(RecordClaim, `{"node":"n1"}`, push(Event{Type: InProgress})...)
	add(RecordEvents, "", append(push(messageAdded("m")), push(textDelta("m", "Grüß Gott\u2028"))...)...)
	add(RecordIntent, `{"turn":1,"calls":[{"id":"c1","server_label":"dice","name":"roll","arguments":"{}"}]}`)
	add(RecordResult, `{"id":"c1","output":"4"}`)
	add(RecordEvents, "", append(must(q.Abort())(t), must(q.Finish(Completed, wellEnded))(t)...)...)
	return cmd.Ref(), log
}

// The record format is for ever: a log that was written once is read, chained and folded the same by every later
// release. If this test fails, the code is wrong, never the file: it must not be rewritten.
func TestRecord_FormatIsForEver(t *testing.T) {
	t.Parallel()
	ref, log := fixedLog(t)
	var got bytes.Buffer
	fmt.Fprintf(&got, "genesis %s %x\n", ref, Genesis(ref))
	for i := range log {
		r := &log[i]
		fmt.Fprintf(&got, "record version=%d kind=%s first=%d last=%d attempt=%d nonce=%s taken=%s chain=%x\nbody %q\nframes %q\n",
			FormatVersion, r.Kind, r.First, r.Last, r.Attempt, r.Nonce, FormatTaken(r.Taken), r.Chain, r.Body, r.Frames)
	}
	want := must(os.ReadFile("testdata/records/v1.txt"))(t)
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Fatalf("the format has changed (-for ever +now):\n%s", diff)
	}
	run := must(FoldRun(ref, log))(t)
	if !run.State.Ended() || run.Nonce != "nonce1" || len(run.Intent.Calls) != 1 || *run.Results["c1"].Output != "4" {
		t.Errorf("folded: %+v", run)
	}
}

// A log folds only whole, in order, and from its own request record.
func TestFoldRun_RefusesEveryOtherLog(t *testing.T) {
	t.Parallel()
	ref, log := fixedLog(t)
	other := must(NewRef("t2", ref.Response()))(t)
	for name, fold := range map[string]func() (*Run, error){
		"of another tenant":     func() (*Run, error) { return FoldRun(other, log) },
		"empty":                 func() (*Run, error) { return FoldRun(ref, nil) },
		"without its request":   func() (*Run, error) { return FoldRun(ref, log[1:]) },
		"with a hole":           func() (*Run, error) { return FoldRun(ref, append(log[:2:2], log[3:]...)) },
		"with a record twice":   func() (*Run, error) { return FoldRun(ref, append(log[:2:2], log[1:]...)) },
		"in another order":      func() (*Run, error) { return FoldRun(ref, append(log[:3:3], log[4], log[3], log[5])) },
		"with a second request": func() (*Run, error) { return FoldRun(ref, append(log[:1:1], log[0])) },
	} {
		if _, err := fold(); err == nil {
			t.Errorf("a log %s: accepted", name)
		}
	}
}

// The chain sees every bit: of kind, numbers, attempt, nonce, taken, body, frames, and of the link before.
func TestRecord_ChainSeesEveryBit(t *testing.T) {
	t.Parallel()
	_, log := fixedLog(t)
	fields := []func(*Record, *Digest, func([]byte) []byte){
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Kind = Kind(flip([]byte(r.Kind))) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.First = flipped(r.First, flip) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Last = flipped(r.Last, flip) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Attempt = int(flipped(int64(r.Attempt), flip)) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Nonce = string(flip([]byte(r.Nonce))) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) {
			r.Taken = map[string]int64{"model": flipped(7, flip)}
		},
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Body = flip(r.Body) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Frames = flip(r.Frames) },
		func(_ *Record, d *Digest, flip func([]byte) []byte) { copy(d[:], flip(d[:])) },
	}
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(1, len(log)-1).Draw(rt, "record")
		r, prev := log[i], log[i-1].Chain
		if err := r.Verify(prev); err != nil {
			rt.Fatal(err)
		}
		field := rapid.IntRange(0, len(fields)-1).Draw(rt, "field")
		fields[field](&r, &prev, func(b []byte) []byte {
			if len(b) == 0 {
				return []byte{0}
			}
			b = bytes.Clone(b)
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			return b
		})
		if err := r.Verify(prev); err == nil {
			rt.Fatalf("field %d of record %d: a flipped bit is not seen", field, i)
		}
	})
}

// flipped returns a number with one bit changed.
func flipped(n int64, flip func([]byte) []byte) int64 {
	var out int64
	for _, b := range flip(num(n)) {
		out = out<<8 | int64(b)
	}
	return out
}

// Bytes cannot move from one field to the next without a trace: each has its length before it.
func TestRecord_FieldsDoNotRunTogether(t *testing.T) {
	t.Parallel()
	a := Record{Kind: RecordEvents, Nonce: "ab", Body: []byte("c"), Frames: []byte("d")}
	b := Record{Kind: RecordEvents, Nonce: "a", Body: []byte("bc"), Frames: []byte("d")}
	c := Record{Kind: RecordEvents, Nonce: "ab", Body: nil, Frames: []byte("cd")}
	links := map[string]bool{}
	for _, r := range []Record{a, b, c} {
		d := r.Link(Digest{})
		links[hex.EncodeToString(d[:])] = true
	}
	if len(links) != 3 {
		t.Fatalf("%d different links of 3 different records: %s", len(links), strings.Join([]string{"nonce", "body", "frames"}, ", "))
	}
}
