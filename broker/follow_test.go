package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// A follower on another node than the writer's gets every byte of the log, from before it came and from after, and the same
// bytes once the response is sealed.
func TestFollow_OnAnotherNode(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	writing, reading := mustOpen(t, external(host(t, s))), mustOpen(t, external(host(t, s)))
	h := mustBegin(t, writing, "resp_follow")
	w := mustWriter(t, writing, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))

	f, err := reading.Follow(testContext(t), h.Ref, -1)
	must(t, err)
	defer f.Close()
	got, err := f.Next(testContext(t))
	must(t, err)
	got = bytes.Clone(got)
	for n := int64(2); n < 500; n++ {
		must(t, w.Append(testContext(t), delta(n)))
	}
	must(t, w.Flush(testContext(t)))
	want := frames(mustRead(t, reading, h.Ref).Records)
	for len(got) < len(want) {
		more, err := f.Next(testContext(t))
		must(t, err)
		got = append(got, more...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, not the %d of the log", len(got), len(want))
	}
}

// A sealed response is followed from its archive to the end, from any cursor; an unknown one is not found.
func TestFollow_Sealed(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	writing, reading := mustOpen(t, external(host(t, s))), mustOpen(t, external(host(t, s)))
	h := mustBegin(t, writing, "resp_finished")
	w := mustWriter(t, writing, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), schema.Event{Type: schema.InProgress, SequenceNumber: 1, Response: &schema.Response{ID: "resp_finished", Status: "in_progress"}}))
	must(t, w.Commit(testContext(t), schema.RecordEvents, nil, schema.Event{Type: schema.Completed, SequenceNumber: 2, Response: &schema.Response{ID: "resp_finished", Status: "completed"}}))
	must(t, w.Seal(testContext(t), true))

	f, err := reading.Follow(testContext(t), h.Ref, 0)
	must(t, err)
	defer f.Close()
	var got []byte
	for err == nil {
		var more []byte
		more, err = f.Next(testContext(t))
		got = append(got, more...)
	}
	if want := frames(mustRead(t, reading, h.Ref).Records[1:]); !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
		t.Errorf("%v behind\n%s\nnot\n%s", err, got, want)
	}
	if _, err := reading.Follow(context.Background(), mustRef(t, "resp_unknown"), -1); !errors.Is(err, hub.ErrNotFound) {
		t.Error(err)
	}
}

// New runs are refused when a log is nearly full, while open ones go on.
func TestEnqueue_LeavesRoomForOpenRuns(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Partitions, c.LogBytes = 1, 1<<20 })
	w := mustWriter(t, b, mustBegin(t, b, "resp_open"), 1, "n1")
	must(t, b.Enqueue(testContext(t), command("resp_first"), nil))
	must(t, w.Commit(testContext(t), schema.RecordResult, make([]byte, 800<<10), delta(1)))
	waitUntil(t, "the level has been seen", func() bool {
		return errors.Is(b.Enqueue(testContext(t), command("resp_second"), nil), ErrFull) ||
			errors.Is(b.Enqueue(testContext(t), command("resp_third"), nil), ErrFull)
	})
	must(t, w.Commit(testContext(t), schema.RecordResult, make([]byte, 100<<10), delta(2)))
}

// A queue that is full says so at once, and has not taken the command.
func TestEnqueue_FullQueue(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.RunBytes = 4096 })
	must(t, b.Enqueue(testContext(t), command("resp_fits"), nil))
	if err := b.Enqueue(testContext(t), command("resp_large"), make([]byte, 8192)); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	job, err := b.Claim(testContext(t))
	must(t, err)
	if job.Command.Response != "resp_fits" {
		t.Error(job.Command.Response)
	}
}
