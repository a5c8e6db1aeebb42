package sseserver

import (
	"bytes"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// storyID is a response whose bytes never change: its id, time and words are fixed.
const storyID = "resp_0193500000007000a000000000000001"

func mustRef(tb testing.TB, id string) schema.Ref {
	tb.Helper()
	ref, err := schema.NewRef("default", id)
	if err != nil {
		tb.Fatal(err)
	}
	return ref
}

func storyCommand(id string) *schema.Command {
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: "default", Response: id,
		CreatedAt: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC).UnixMilli(),
		Digest:    "d1e5", Request: []byte(`{"model":"demo","input":"Why change horses in midstream?"}`),
	}
}

// run is a response being told: it turns words into the frames of a legal sequence.
type run struct {
	tb  testing.TB
	cmd *schema.Command
	ref schema.Ref
	seq *schema.Sequencer
	// frames holds all so far, one each.
	frames [][]byte
}

// tell begins a response: its request record's frame is the first.
func tell(tb testing.TB, cmd *schema.Command) *run {
	tb.Helper()
	rec, err := cmd.RequestRecord()
	if err != nil {
		tb.Fatal(err)
	}
	state, err := schema.Fold(rec.Frames)
	if err != nil {
		tb.Fatal(err)
	}
	return &run{tb: tb, cmd: cmd, ref: cmd.Ref(), seq: schema.NewSequencer(state), frames: [][]byte{rec.Frames}}
}

// push returns the frames of one more event, and of what must stand before it.
func (r *run) push(e schema.Event) []byte {
	r.tb.Helper()
	events, err := r.seq.Push("model", e)
	return r.write(events, err)
}

func (r *run) write(events []schema.Event, err error) []byte {
	r.tb.Helper()
	if err != nil {
		r.tb.Fatal(err)
	}
	from := len(r.frames)
	for i := range events {
		frame, err := schema.AppendFrame(nil, &events[i])
		if err != nil {
			r.tb.Fatal(err)
		}
		r.frames = append(r.frames, frame)
	}
	return bytes.Join(r.frames[from:], nil)
}

func (r *run) begin() []byte { return r.push(schema.Event{Type: schema.InProgress}) }

func (r *run) open() []byte {
	return r.push(schema.Event{Type: schema.ItemAdded, Item: &schema.Item{ID: "m", Type: schema.KindMessage, Role: "assistant"}})
}

func (r *run) say(word string) []byte {
	return r.push(schema.Event{Type: schema.TextDelta, ItemID: "m", Delta: &word})
}

func (r *run) close() []byte {
	it := *r.seq.State().Open()
	it.ID, it.Status = "m", schema.StatusCompleted
	return r.push(schema.Event{Type: schema.ItemDone, Item: &it})
}

func (r *run) finish() []byte {
	events, err := r.seq.Finish(schema.Completed, func(resp *schema.Response) { resp.Status = schema.StatusCompleted })
	return r.write(events, err)
}

func (r *run) fail(why *schema.ResponseError) []byte {
	events, err := r.seq.Finish(schema.Failed, func(resp *schema.Response) {
		resp.Status, resp.Error = schema.StatusFailed, why
	})
	return r.write(events, err)
}

// all is every frame so far.
func (r *run) all() []byte { return bytes.Join(r.frames, nil) }

// whole tells a response to its end.
func whole(tb testing.TB, id string, words ...string) *run {
	tb.Helper()
	r := tell(tb, storyCommand(id))
	r.begin()
	r.open()
	for _, w := range words {
		r.say(w)
	}
	r.close()
	r.finish()
	return r
}
