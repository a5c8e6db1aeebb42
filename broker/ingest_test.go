package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/broker/publish"
	"github.com/midstream-dev/midstream/schema"
)

func batchOf(producer string, place int64, last bool, events ...string) *schema.Batch {
	b := &schema.Batch{Producer: producer, Place: place, Last: last}
	for _, e := range events {
		b.Events = append(b.Events, jsontext.Value(e))
	}
	return b
}

// What is stored is read as it was sent, and comes after what the sender knew, or not at all.
func TestIngest_BehindWhatItsSenderKnew(t *testing.T) {
	t.Parallel()
	b, ref, ctx := mustOpen(t), mustRef(t, "resp_fed"), testContext(t)
	first := batchOf("model", 0, false, `{"type":"response.created"}`, `{"type":"x"}`)
	at, err := b.Ingest(ctx, ref, first, 0)
	must(t, err)
	if _, err := b.Ingest(ctx, ref, batchOf("model", 0, false, `{"type":"y"}`), 0); !errors.Is(err, ErrFenced) {
		t.Fatalf("behind nothing, where something is: %v", err)
	}
	again, err := b.Ingest(ctx, ref, first, 0) // its acknowledgement was lost
	must(t, err)
	if again != at {
		t.Errorf("sent again, it stands at %d too, first at %d", again, at)
	}
	second := batchOf("model", 2, true, `{"type":"z"}`)
	_, err = b.Ingest(ctx, ref, second, at)
	must(t, err)

	got, err := b.NextSent(ctx, ref, "model", 0)
	must(t, err)
	if diff := cmp.Diff(first, &got.Batch); diff != "" || got.Position != at || got.Err != nil {
		t.Errorf("%d %v %s", got.Position, got.Err, diff)
	}
	got, err = b.NextSent(ctx, ref, "model", at)
	must(t, err)
	if diff := cmp.Diff(second, &got.Batch); diff != "" {
		t.Error(diff)
	}
	if none, err := b.NextSent(ctx, ref, "model", got.Position); none != nil || err != nil {
		t.Errorf("behind the end: %v %v", none, err)
	}
	if none, err := b.NextSent(ctx, ref, "mcp", 0); none != nil || err != nil {
		t.Errorf("of another producer: %v %v", none, err)
	}
}

// A feed gives the batches of all producers in the order in which they are stored, those from before it began and those that
// come, whoever reads.
func TestFeed_OneOrderForEverybody(t *testing.T) {
	t.Parallel()
	b, ref, ctx := mustOpen(t), mustRef(t, "resp_fed"), testContext(t)
	var stored []string
	at := map[string]uint64{}
	send := func(producer string, place int64) {
		position, err := b.Ingest(ctx, ref, batchOf(producer, place, false, `{"type":"x"}`), at[producer])
		must(t, err)
		at[producer] = position
		stored = append(stored, fmt.Sprint(producer, place))
	}
	read := func(f *Feed, n int) (got []string) {
		for range n {
			sent, err := f.Next(ctx)
			must(t, err)
			got = append(got, fmt.Sprint(sent.Producer, sent.Place))
		}
		return got
	}
	send("model", 0)
	send("mcp", 0)
	early, err := b.Feed(ref)
	must(t, err)
	defer early.Close()
	got := read(early, 2)
	for i := range 5 {
		send("model", int64(i+1))
		got = append(got, read(early, 1)...)
	}
	if diff := cmp.Diff(stored, got); diff != "" {
		t.Error(diff)
	}
	late, err := b.Feed(ref)
	must(t, err)
	defer late.Close()
	if diff := cmp.Diff(stored, read(late, len(stored))); diff != "" {
		t.Error(diff)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := late.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing more is there: %v", err)
	}
}

// What a producer stores by itself may be anything. It keeps its place in the order, and says what is wrong with it.
func TestReadSent_Garbage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header nats.Header
		data   string
		events int
		fails  bool
	}{
		"no headers":      {nil, `{"type":"a"}` + "\n" + `{"type":"b"}`, 2, false},
		"blank lines":     {nil, "\n\r\n" + `{"type":"a"}` + "\n\n", 1, false},
		"empty":           {nil, "", 0, false},
		"half a line":     {nil, `{"type":"a"}` + "\n" + `{"type":"b`, 1, true},
		"no object":       {nil, `[1]`, 0, true},
		"no type":         {nil, `{"delta":"a"}`, 0, true},
		"negative place":  {nats.Header{publish.HeaderPlace: {"-1"}}, `{"type":"a"}`, 1, true},
		"place in words":  {nats.Header{publish.HeaderPlace: {"one"}}, `{"type":"a"}`, 1, true},
		"epoch too large": {nats.Header{publish.HeaderEpoch: {"99999999999999999999"}}, `{"type":"a"}`, 1, true},
		"last in words":   {nats.Header{publish.HeaderLast: {"perhaps"}}, `{"type":"a"}`, 1, true},
	} {
		sent := readSent(&stored{subject: "ms.ingest.t1.resp_1.p", header: c.header, data: []byte(c.data)})
		if len(sent.Events) != c.events || (sent.Err != nil) != c.fails || sent.Producer != "p" {
			t.Errorf("%s: %d events of %s, %v", name, len(sent.Events), sent.Producer, sent.Err)
		}
	}
	ends := &stored{subject: "ms.ingest.t1.resp_1.p", data: []byte(`{"type":"response.completed"}`)}
	if sent := readSent(ends); !sent.Last {
		t.Error("a terminal event at the end does not end its producer")
	}
	ends.header = nats.Header{publish.HeaderLast: {"false"}}
	if sent := readSent(ends); sent.Last {
		t.Error("a producer that says that it goes on has ended")
	}
}

// A producer with nothing but a connection: its events are stored once, in order, whatever is cut, and its end is marked.
func TestPublish_IntoTheFeed(t *testing.T) {
	t.Parallel()
	b, ref, ctx := mustOpen(t), mustRef(t, "resp_fed"), testContext(t)
	s, err := publish.New(publish.Config{
		Conn: b.conns.publish, Tenant: ref.Tenant(), Response: ref.Response(), Producer: "model", Epoch: 3, Buffer: 100,
	})
	must(t, err)
	defer s.Close()
	const n = 500
	for i := range n {
		must(t, s.Send(ctx, fmt.Appendf(nil, `{"type":"x","n":%d}`, i)))
	}
	must(t, s.End(ctx))
	if s.Next() != n {
		t.Errorf("%d events stored", s.Next())
	}
	f, err := b.Feed(ref)
	must(t, err)
	defer f.Close()
	for at := int64(0); ; {
		sent, err := f.Next(ctx)
		must(t, err)
		if sent.Err != nil || sent.Place != at || sent.Epoch != 3 {
			t.Fatalf("batch at %d of epoch %d, %d due: %v", sent.Place, sent.Epoch, at, sent.Err)
		}
		for i, e := range sent.Events {
			if want := fmt.Sprintf(`{"type":"x","n":%d}`, at+int64(i)); string(e) != want {
				t.Fatalf("%s, want %s", e, want)
			}
		}
		if at = sent.Next(); sent.Last {
			break
		}
	}
	for _, bad := range []string{"", "[]", "{\n}", `{"type":"` + string(make([]byte, publish.MaxEvent)) + `"}`} {
		if err := s.Send(ctx, []byte(bad)); !errors.Is(err, publish.ErrEvent) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	s.Close()
	if err := s.Flush(ctx); err == nil {
		if err = s.Send(ctx, []byte("{}")); !errors.Is(err, publish.ErrClosed) {
			t.Errorf("send behind the end: %v", err)
		}
	}
}

// Where a message ends is chance: a terminal event that happens to be its last one ends a lifecycle of the producer, and not the
// producer.
func TestPublish_EndsWithEnd(t *testing.T) {
	t.Parallel()
	b, ref, ctx := mustOpen(t), mustRef(t, "resp_fedtwice"), testContext(t)
	s, err := publish.New(publish.Config{Conn: b.conns.publish, Tenant: ref.Tenant(), Response: ref.Response(), Producer: "model"})
	must(t, err)
	defer s.Close()
	for range 2 {
		must(t, s.Send(ctx, []byte(`{"type":"response.completed","response":{"id":"r","status":"completed"}}`)))
		must(t, s.Flush(ctx))
	}
	must(t, s.End(ctx))
	f, err := b.Feed(ref)
	must(t, err)
	defer f.Close()
	for i := range 3 {
		sent, err := f.Next(ctx)
		must(t, err)
		if sent.Err != nil || sent.Last != (i == 2) {
			t.Errorf("message %d of %d events: last %t, %v", i, len(sent.Events), sent.Last, sent.Err)
		}
	}
}

// JetStream looks at Nats-Msg-Id, for 100 ms and across all producers: an id that two messages share loses the second one.
// docs/ingest.md says so.
func TestIngest_MessageID(t *testing.T) {
	t.Parallel()
	b, ctx := mustOpen(t), testContext(t)
	js, err := jetstream.New(b.conns.publish)
	must(t, err)
	dropped := func(producer, id string) bool {
		t.Helper()
		subject, err := publish.Subject("t1", "resp_fed", producer)
		must(t, err)
		ack, err := js.Publish(ctx, subject, []byte(`{"type":"x"}`), jetstream.WithMsgID(id))
		must(t, err)
		return ack.Duplicate
	}
	for n := 0; ; n++ { // a slow machine may let the window pass
		began, id := time.Now(), fmt.Sprint(n)
		first, second := dropped("model", id), dropped("mcp", id)
		switch {
		case first:
			t.Fatal("a new id was taken for one that was there")
		case second:
			return
		case time.Since(began) < 50*time.Millisecond:
			t.Fatal("another producer's message with the same id was stored")
		}
	}
}

// [DONE] ends a producer over NATS as it does by HTTP, and is no event.
func TestSent_Done(t *testing.T) {
	t.Parallel()
	for data, last := range map[string]bool{
		"{\"type\":\"x\"}\n[DONE]\n": true,
		"{\"type\":\"x\"}\n[DONE]":   true,
		"{\"type\":\"x\"}\n":         false,
	} {
		sent := readSent(&stored{subject: "ms.ingest.default.resp_fed.p", data: []byte(data)})
		if sent.Err != nil || sent.Last != last || len(sent.Events) != 1 {
			t.Errorf("%q: %d events, last %t, %v", data, len(sent.Events), sent.Last, sent.Err)
		}
	}
	if sent := readSent(&stored{subject: "ms.ingest.default.resp_fed.p", data: []byte("[DONE]")}); sent.Err != nil || !sent.Last {
		t.Errorf("alone: last %t, %v", sent.Last, sent.Err)
	}
}
