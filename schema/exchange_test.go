package schema

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// An exchange holds what was asked and said, each under an id that leads back here; it reads the same from a log that has
// ended and from one that runs.
func TestReadExchange(t *testing.T) {
	t.Parallel()
	cmd := &Command{
		Version: FormatVersion, Tenant: "t", Response: "resp_1", CreatedAt: 1000, Thread: []string{"resp_0"},
		Request: []byte(`{"model":"m","input":[{"role":"user","content":"hi"},{"id":"msg_own","role":"user","content":"there"}]}`),
	}
	begun, err := cmd.RequestRecord()
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{begun}
	fold, err := FoldRun(cmd.Ref(), records)
	if err != nil {
		t.Fatal(err)
	}
	seq := NewSequencer(&fold.State)
	text := "hello"
	add := func(events []Event, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		rec := Record{Kind: RecordEvents, First: fold.State.Next() - int64(len(events))}
		for i := range events {
			if rec.Frames, err = AppendFrame(rec.Frames, &events[i]); err != nil {
				t.Fatal(err)
			}
		}
		records = append(records, rec)
	}
	kinds := func(items []Item) (list []string) {
		for _, it := range items {
			list = append(list, it.ID+" "+it.Text())
		}
		return list
	}
	want := []string{InputID("resp_1", KindMessage, 0) + " hi", "msg_own there"}
	check := func(want []string) {
		t.Helper()
		x, err := ReadExchange(cmd.Ref(), records)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, kinds(x.Items())); diff != "" {
			t.Errorf("items (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"resp_0", "resp_1"}, x.Thread()); diff != "" {
			t.Errorf("thread (-want +got):\n%s", diff)
		}
	}
	check(want)
	add(seq.Push("p", Event{Type: InProgress}))
	add(seq.Push("p", Event{Type: ItemAdded, Item: &Item{ID: "a", Type: KindMessage}}))
	add(seq.Push("p", Event{Type: TextDelta, ItemID: "a", Delta: &text}))
	want = append(want, ItemID("resp_1", KindMessage, 0)+" hello")
	check(want)
	add(seq.Push("p", Event{Type: ItemDone, Item: &Item{ID: "a", Type: KindMessage}}))
	add(seq.Finish(Completed, func(r *Response) { r.Status = StatusCompleted }))
	records = append(records, Record{Kind: RecordRelease}) // a record without frames may come last
	check(want)
}

// A response that an upstream has failed tells how long that asks to be left alone; one that failed for another reason, or
// that has not ended, does not, whatever its tries say.
func TestRetryAt(t *testing.T) {
	t.Parallel()
	busy := ResponseError{Code: CodeRateLimit, Type: TypeRateLimit, Message: "too many"}
	lost := ResponseError{Code: "upstream_unavailable", Type: TypeUpstream, Message: "not there"}
	for name, c := range map[string]struct {
		tries []Try
		ended *ResponseError
		want  int64 // milliseconds since 1970; 0 for no word
	}{
		"it asks":            {[]Try{{Error: busy, Began: 1000, Took: 20, RetryAfter: 7000}}, &busy, 8020},
		"it asked before":    {[]Try{{Error: busy, Began: 1000, RetryAfter: 7000}, {Error: lost, Began: 9000}}, &busy, 8000},
		"it asks for more":   {[]Try{{Error: busy, Began: 1, RetryAfter: 1}, {Error: busy, Began: 1000, RetryAfter: 2000}}, &busy, 3000},
		"another failed it":  {[]Try{{Error: busy, Began: 1000, RetryAfter: 7000}, {Error: lost, Began: 9000}}, &lost, 0},
		"it does not say":    {[]Try{{Error: busy, Began: 1000}}, &busy, 0},
		"it has not ended":   {[]Try{{Error: busy, Began: 1000, RetryAfter: 7000}}, nil, 0},
		"no upstream did it": {nil, &busy, 0},
	} {
		cmd := testCommand("resp_1")
		cmd.Request = []byte(`{"model":"m","input":"hi"}`)
		records := []Record{must(cmd.RequestRecord())(t)}
		fold := must(FoldRun(cmd.Ref(), records))(t)
		for _, try := range c.tries {
			records = append(records, Record{Kind: RecordTry, Body: must(json.Marshal(try))(t)})
		}
		if c.ended != nil {
			seq := NewSequencer(&fold.State)
			events := must(seq.Push("p", Event{Type: InProgress}))(t)
			events = append(events, must(seq.Finish(Failed, func(r *Response) { r.Status, r.Error = StatusFailed, c.ended }))(t)...)
			rec := Record{Kind: RecordEvents}
			for i := range events {
				rec.Frames = must(AppendFrame(rec.Frames, &events[i]))(t)
			}
			records = append(records, rec)
		}
		at, err := RetryAt(records)
		if got := at.UnixMilli(); err != nil || at.IsZero() != (c.want == 0) || c.want != 0 && got != c.want {
			t.Errorf("%s: %v, %v, want %d", name, at, err, c.want)
		}
	}
}
