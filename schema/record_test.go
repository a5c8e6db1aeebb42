package schema

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// storedRecord is a record as the log's headers and payload hold it, in testdata/records.
type storedRecord struct {
	Version int    `json:"version"`
	Kind    Kind   `json:"kind"`
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
	Attempt int    `json:"attempt"`
	Nonce   string `json:"nonce"`
	Time    int64  `json:"time"`
	Taken   string `json:"taken"`
	Chain   string `json:"chain"`
	Body    string `json:"body"`
	Frames  string `json:"frames"`
}

// fixedLog reads the log of testdata/records that has a record of every kind but try.
func fixedLog(t *testing.T) (Ref, []Record) {
	t.Helper()
	return readLog(t, "v1", "resp_fixed1")
}

func readLog(t *testing.T, name, response string) (Ref, []Record) {
	t.Helper()
	var log []Record
	for line := range bytes.Lines(must(os.ReadFile("testdata/records/" + name + ".jsonl"))(t)) {
		var s storedRecord
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		if s.Version != FormatVersion {
			t.Fatalf("version %d in a file of version %d", s.Version, FormatVersion)
		}
		rec := Record{
			Version: s.Version, Kind: s.Kind, First: s.First, Last: s.Last, Attempt: s.Attempt, Nonce: s.Nonce, Time: s.Time,
			Body: []byte(s.Body), Frames: []byte(s.Frames),
		}
		if s.Taken != "" {
			rec.Taken = map[string]int64{"wiki": 2, "model": 7}
		}
		if got := FormatTaken(rec.Taken); got != s.Taken {
			t.Errorf("taken is written %s, for ever %s", got, s.Taken)
		}
		if n := copy(rec.Chain[:], must(hex.DecodeString(s.Chain))(t)); n != len(rec.Chain) {
			t.Fatalf("chain of %d bytes", n)
		}
		log = append(log, rec)
	}
	return must(NewRef("t1", response))(t), log
}

// The record format is for ever: a log that was written once is chained and folded the same by every later release. If
// this test fails the code is wrong, never the file: it must not be rewritten.
func TestRecord_FormatIsForEver(t *testing.T) {
	t.Parallel()
	ref, log := fixedLog(t)
	if got := fmt.Sprintf("%x", Genesis(ref)); got != "4513db435ec0778d4a27f239ec7f00843ae3594e5fb8fc19c6d1a88529f67ccd" {
		t.Errorf("genesis is %s", got)
	}
	prev := Genesis(ref)
	for i := range log {
		if got := log[i].Link(prev); got != log[i].Chain {
			t.Errorf("record %d: chain is %x, for ever %x", i, got, log[i].Chain)
		}
		prev = log[i].Chain
	}
	run := must(FoldRun(ref, log))(t)
	if len(run.Turn.Calls) != 1 || run.Nonce != "nonce1" || *run.Results["c1"].Output != "4" || run.Command.Tenant != "t1" {
		t.Errorf("folded: %+v", run)
	}
	if items := run.State.Items(); !run.State.Ended() || len(items) != 1 || items[0].Text() != "Grüß Gott\u2028" {
		t.Errorf("items: %+v", items)
	}
}

// Tries that have failed are folded until their turn ends, and an attempt that has only failed has got nowhere. The log is as
// much for ever as the other.
func TestRecord_TriesAreForEver(t *testing.T) {
	t.Parallel()
	ref, log := readLog(t, "v1-tries", "resp_fixed2")
	run := must(FoldRun(ref, log))(t)
	want := []Try{
		{
			Turn: 2, Number: 1, Upstream: "main", Began: 1700000000011, Took: 28, Status: 429, RetryAfter: 7000,
			Error: ResponseError{Code: CodeRateLimit, Message: "upstream main refuses more for now", Type: TypeRateLimit},
		},
		{
			Turn: 2, Number: 2, Upstream: "spare", Began: 1700000008011, Took: 28, Shown: true, Status: 502,
			Error: ResponseError{Code: CodeUpstreamProtocol, Message: "upstream spare stopped before the end of its answer", Type: TypeUpstream},
		},
	}
	if diff := cmp.Diff(want, run.Tries); diff != "" || run.Turn.Upstream != "main" {
		t.Errorf("turn %+v, tries (-want +got):\n%s", run.Turn, diff)
	}
	for i, n := range []int{3, 5} {
		if raw := must(json.Marshal(want[i]))(t); !bytes.Equal(raw, log[n].Body) {
			t.Errorf("a try is written %s, for ever %s", raw, log[n].Body)
		}
	}
	if run.Attempt != 2 || run.Idle != 1 {
		t.Errorf("attempt %d, idle %d", run.Attempt, run.Idle)
	}
	run.EndTurn(Turn{Number: 2})
	if len(run.Tries) > 0 {
		t.Errorf("tries behind their turn: %+v", run.Tries)
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

// The chain sees every bit: of version, kind, numbers, attempt, nonce, time, taken, body, frames, and of the link before.
func TestRecord_ChainSeesEveryBit(t *testing.T) {
	t.Parallel()
	_, log := fixedLog(t)
	fields := []func(*Record, *Digest, func([]byte) []byte){
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Kind = Kind(flip([]byte(r.Kind))) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.First = flipped(r.First, flip) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Last = flipped(r.Last, flip) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Attempt = int(flipped(int64(r.Attempt), flip)) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Nonce = string(flip([]byte(r.Nonce))) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Version = int(flipped(int64(r.Version), flip)) },
		func(r *Record, _ *Digest, flip func([]byte) []byte) { r.Time = flipped(r.Time, flip) },
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
