package schema

import (
	"testing"

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
