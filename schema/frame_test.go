package schema

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/tmaxmax/go-sse"
	"pgregory.net/rapid"
)

// readAll reads an event stream with a reader that is not ours.
func readAll(t *testing.T, stream []byte) (events []sse.Event) {
	t.Helper()
	for e, err := range sse.Read(bytes.NewReader(stream), &sse.ReadConfig{MaxEventSize: 64 << 20}) {
		if err != nil {
			t.Fatalf("go-sse: %v\n%q", err, stream)
		}
		events = append(events, e)
	}
	return events
}

// Whatever text is in an event, its frame is read back as that event and nothing else: by CutFrame, and by a reader of
// event streams that nobody here wrote.
func FuzzFrame(f *testing.F) {
	for _, s := range snippets {
		f.Add("response.output_text.delta", s, int64(7))
	}
	f.Add("keepalive", "", int64(0))
	f.Add("x", "data: {}\n\n: comment\n\nid\n\n", int64(MaxNumber))
	f.Add("a\nid: 9", "", int64(1))
	f.Add("\ufeffevent", "\ufeff", int64(2))
	f.Fuzz(func(t *testing.T, name, text string, seq int64) {
		e := Event{Type: EventType(name), SequenceNumber: seq, Delta: &text, Annotation: quote(text)}
		frame, err := AppendFrame([]byte("before"), &e)
		if err != nil {
			if e.Type.legal() && e.Annotation != nil && seq >= 0 && seq <= MaxNumber {
				t.Fatalf("not written: %v", err)
			}
			return
		}
		frame = frame[len("before"):]
		cut, rest, err := CutFrame(append(bytes.Clone(frame), "event: next"...))
		if err != nil || string(rest) != "event: next" {
			t.Fatalf("cut: %v, rest %q", err, rest)
		}
		got, err := parseFrame(cut)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatalf("read back (-written +read):\n%s", diff)
		}
		want := []sse.Event{{LastEventID: strings.TrimSpace(string(frame[bytes.LastIndex(frame, idField)+5:])), Type: name, Data: string(cut.Data)}}
		if diff := cmp.Diff(want, readAll(t, append(bytes.Clone(frame), ": keep-alive\n\n"...))); diff != "" {
			t.Fatalf("go-sse (-written +read):\n%s", diff)
		}
	})
}

// quote returns s as JSON, or nil where it is not valid UTF-8.
func quote(s string) jsontext.Value {
	v, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return nil
	}
	if err := (*jsontext.Value)(&v).Format(jsontext.EscapeForJS(true)); err != nil {
		return nil
	}
	return v
}

// CutFrame takes nothing that AppendFrame does not write, and never panics: what it takes is written the same again.
func FuzzCutFrame(f *testing.F) {
	for _, s := range framings {
		f.Add([]byte(s.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cut, rest, err := CutFrame(b)
		if err != nil {
			return
		}
		e, err := parseFrame(cut)
		if err != nil {
			return
		}
		again, err := AppendFrame(nil, &e)
		if err != nil {
			t.Fatalf("taken but not written: %v", err)
		}
		if e2 := must(ParseEvent(must2(CutFrame(again))(t).Data))(t); !cmp.Equal(e, e2) {
			t.Fatalf("written again:\n%s", cmp.Diff(e, e2))
		}
		if len(rest) >= len(b) {
			t.Fatal("nothing was cut")
		}
	})
}

func must2[T, U any](v T, _ U, err error) func(testing.TB) T { return must(v, err) }

// framings are the cases of the standard's event stream (WHATWG HTML 9.2.6, web-platform-tests eventsource) that matter
// to a reader of our own frames: it takes exactly the form that AppendFrame writes, since the log holds nothing else.
var framings = []struct {
	name, in string
	ok       bool
}{
	{"our own", "event: a\ndata: {\"type\":\"a\",\"sequence_number\":7}\nid: 7\n\n", true},
	{"two in a row", "event: a\ndata: {}\nid: 7\n\nevent: b\ndata: {}\nid: 8\n\n", true},
	{"cut behind the id", "event: a\ndata: {}\nid: 7\n", false},
	{"cut in the id", "event: a\ndata: {}\nid: ", false},
	{"id first", "id: 7\nevent: a\ndata: {}\n\n", false},
	{"id in the middle", "event: a\nid: 7\ndata: {}\n\n", false},
	{"no id", "event: a\ndata: {}\n\n", false},
	{"no event", "data: {}\nid: 7\n\n", false},
	{"empty event", "event: \ndata: {}\nid: 7\n\n", false},
	{"no data", "event: a\nid: 7\n\n", false},
	{"two data lines", "event: a\ndata: {}\ndata: {}\nid: 7\n\n", false},
	{"two ids", "event: a\ndata: {}\nid: 6\nid: 7\n\n", false},
	{"two events", "event: a\nevent: b\ndata: {}\nid: 7\n\n", false},
	{"CRLF", "event: a\r\ndata: {}\r\nid: 7\r\n\r\n", false},
	{"CR", "event: a\rdata: {}\rid: 7\r\r", false},
	{"no space behind the colon", "event:a\ndata:{}\nid:7\n\n", false},
	{"two spaces behind the colon", "event:  a\ndata: {}\nid: 7\n\n", false},
	{"a comment inside", "event: a\n: c\ndata: {}\nid: 7\n\n", false},
	{"a retry line", "event: a\ndata: {}\nretry: 1\nid: 7\n\n", false},
	{"a byte order mark", "\ufeffevent: a\ndata: {}\nid: 7\n\n", false},
	{"id with a sign", "event: a\ndata: {}\nid: +7\n\n", false},
	{"id with a leading zero", "event: a\ndata: {}\nid: 07\n\n", false},
	{"id with NUL", "event: a\ndata: {}\nid: 7\x00\n\n", false},
	{"nothing", "", false},
	{"only an end", "\n\n", false},
}

// The reader of frames takes exactly one form.
func TestCutFrame_TakesOneForm(t *testing.T) {
	t.Parallel()
	for _, c := range framings {
		if _, _, err := CutFrame([]byte(c.in)); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// An event type is one word of visible ASCII, so that it cannot forge a line.
func TestAppendFrame_RefusesForgedTypes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a\n", "a\r", "a\x00", "é", "\ufeffa", strings.Repeat("x", maxType+1)} {
		if _, err := AppendFrame(nil, &Event{Type: EventType(name)}); err == nil {
			t.Errorf("%q: written", name)
		}
	}
}

// A sequence number is written in one way only: digits, no sign, no leading zero, at most 2^53.
func FuzzParseSeq(f *testing.F) {
	for _, s := range []string{
		"0", "7", "9007199254740992", "9007199254740993", "", "-1", "+1", "01", "1e3", "0x1", "1.0", " 1", "1 ", "١", "1\x00",
		"99999999999999999999", strings.Repeat("1", 10_000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSeq(s)
		if err == nil && (n < 0 || n > MaxNumber || jsontext.Int(n).String() != s) {
			t.Fatalf("%q was read as %d", s, n)
		}
		if err != nil && len(err.Error()) > 256 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

// The quick way to write a delta gives the very bytes of the slow one.
func TestAppendFrame_WritesDeltasAsMarshalDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		e := Event{
			Type:           rapid.SampledFrom([]EventType{TextDelta, RefusalDelta, SummaryDelta, FunctionDelta, "x.delta"}).Draw(rt, "type"),
			SequenceNumber: rapid.Int64Range(0, MaxNumber).Draw(rt, "number"),
			ItemID:         rapid.SampledFrom([]string{"", "msg_1", "a\u2028\"b"}).Draw(rt, "id"),
		}
		indexes := []**int{&e.OutputIndex, &e.ContentIndex, &e.SummaryIndex, &e.AnnotationIndex}
		for _, i := range indexes[:rapid.IntRange(0, len(indexes)).Draw(rt, "indexes")] {
			*i = new(rapid.IntRange(0, 1000).Draw(rt, "index"))
		}
		texts := []**string{&e.Delta, &e.Text, &e.Refusal, &e.Arguments, &e.Input}
		for _, s := range texts[:rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 5}).Draw(rt, "texts")] {
			*s = new(genText(rt, "text"))
		}
		e.Logprobs = rapid.SampledFrom([][]jsontext.Value{nil, {}, {jsontext.Value(`{"token":"a"}`)}}).Draw(rt, "logprobs")
		e.Rest = rapid.SampledFrom([]jsontext.Value{nil, nil, jsontext.Value(`{"obfuscation":"x"}`)}).Draw(rt, "rest")
		want := must(json.Marshal(&e, oneForm))(t)
		got := must(appendEvent(nil, &e))(t)
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			rt.Fatalf("(-slow +quick):\n%s", diff)
		}
	})
}
