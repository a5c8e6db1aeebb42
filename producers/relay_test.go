package producers

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// band is several producers of one response.
type band struct {
	*stage
	ref  schema.Ref
	next map[string]int64
	at   map[string]uint64
}

func (s *stage) band(producers ...string) *band {
	s.Helper()
	ref := s.create(fmt.Sprintf(`{"model":"m","midstream":{"producers":["%s"]}}`, strings.Join(producers, `","`)))
	return &band{s, ref, map[string]int64{}, map[string]uint64{}}
}

// send stores the next events of a producer as one batch.
func (b *band) send(producer string, events ...string) {
	b.Helper()
	batch := &schema.Batch{Producer: producer, Place: b.next[producer]}
	for _, e := range events {
		batch.Events = append(batch.Events, jsontext.Value(e))
	}
	batch.Last = batch.Ends()
	b.store(batch)
}

// end says that nothing more comes of a producer.
func (b *band) end(producer string) {
	b.Helper()
	b.store(&schema.Batch{Producer: producer, Place: b.next[producer], Last: true})
}

func (b *band) store(batch *schema.Batch) {
	b.Helper()
	at, err := b.broker.Ingest(b.Context(), b.ref, batch, b.at[batch.Producer])
	if err != nil {
		b.Fatal(err)
	}
	b.at[batch.Producer], b.next[batch.Producer] = at, batch.Next()
}

// shown waits until the response has shown so many events, and returns their bytes.
func (b *band) shown(events int64) []byte {
	b.Helper()
	var frames []byte
	b.until(func() bool {
		h, err := b.broker.Read(b.Context(), b.ref)
		if err != nil {
			return false
		}
		frames = nil
		for _, r := range h.Records {
			frames = append(frames, r.Frames...)
		}
		return h.Records[len(h.Records)-1].Last+1 >= events
	})
	return frames
}

const (
	listTold = `{"type":"response.output_item.done","sequence_number":2,"output_index":0,"item":{"id":"l","type":"mcp_list_tools","server_label":"dice","tools":[]}}`
	begins   = `{"type":"response.output_item.added","output_index":0,"item":{"id":"m","type":"message","role":"assistant","content":[]}}`
	says4    = `{"type":"response.output_text.delta","output_index":0,"item_id":"m","content_index":0,"delta":"four "}`
	says5    = `{"type":"response.output_text.delta","output_index":0,"item_id":"m","content_index":0,"delta":"five"}`
	saysAll  = `{"type":"response.output_item.done","output_index":0,"item":{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":"four five"}]}}`
	ends     = `{"type":"response.completed","sequence_number":9,"response":{"id":"resp_x","status":"completed","usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}}`
)

// Two producers, each with its own numbering and lifecycle, make one response.
func TestRelay_MergesProducers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	b := s.band("model", "mcp")
	b.send("model", `{"type":"response.created","response":{"id":"resp_x"}}`, begins, says4)
	b.send("mcp", listTold)
	b.send("model", says5, saysAll, ends)
	b.end("mcp")
	records := b.records(b.ref)
	resp := b.whole(records)
	if resp.Status != schema.StatusCompleted || len(resp.Output) != 2 || resp.Usage.TotalTokens != 3 {
		t.Errorf("%s, %d items, usage %+v", resp.Status, len(resp.Output), resp.Usage)
	}
	if len(s.model.asked) != 0 {
		t.Error("the model was asked, although others bring the events")
	}
}

// Where a finished text is another one than its deltas made, the deltas stand, since readers have them; operators are told.
func TestRelay_TextsThatDiffer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	log, _ := s.listen()
	defer s.node(t.Context())()
	b := s.band("model")
	b.send("model", begins, says4, strings.ReplaceAll(saysAll, "four five", "fourteen"), ends)
	if resp := b.whole(b.records(b.ref)); resp.Status != schema.StatusCompleted || resp.Output[0].Text() != "four " {
		t.Errorf("%s: %+v", resp.Status, resp.Output)
	}
	s.until(func() bool {
		return log.count("differ from their deltas, which stand") == 1 && log.count("events=1") == 1
	})
}

// A relay that goes away behind any event is taken over by one that says nothing twice, and leaves nothing out: the bytes are
// those of a relay that was never disturbed, but for the id.
func TestRelay_TakenOverAnywhere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	program := []struct{ producer, event string }{
		{"model", begins}, {"mcp", listTold}, {"model", says4}, {"model", says5}, {"model", saysAll}, {"model", ends},
	}
	shows := []int64{3, 3, 5, 6, 13, 13} // of the response behind each of them
	tell := func(cut int) []byte {
		stop := s.node(t.Context())
		b := s.band("model", "mcp")
		for i, p := range program {
			b.send(p.producer, p.event)
			if i == cut {
				b.shown(shows[i])
				stop()
				stop = s.node(t.Context())
			}
		}
		b.end("mcp")
		var frames []byte
		for _, r := range b.records(b.ref) {
			frames = append(frames, r.Frames...)
		}
		stop()
		return b.anonymous(frames)
	}
	want := tell(-1)
	for cut := range program {
		if got := tell(cut); !bytes.Equal(want, got) {
			t.Fatalf("taken over behind event %d:\n%s\nwant\n%s", cut, got, want)
		}
	}
}

// anonymous takes out of frames what differs between two responses: ids and times. The terminal event goes with its time.
func (b *band) anonymous(frames []byte) []byte {
	frames = bytes.ReplaceAll(frames, []byte(strings.TrimPrefix(b.ref.Response(), "resp_")), []byte("X"))
	lines := bytes.Split(frames, []byte("\n"))
	lines = slices.DeleteFunc(lines, func(l []byte) bool { return bytes.Contains(l, []byte(`"created_at"`)) })
	return bytes.Join(lines, []byte("\n"))
}

// What nobody can make into a legal response ends it, and the response says which rule was broken by whom.
func TestRelay_RefusesAndSaysWhy(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	for name, c := range map[string]struct {
		tell func(*band)
		code string
		why  string
	}{
		"rule broken": {func(b *band) { b.send("model", begins, saysAll, says4) }, schema.CodeOrder, "item-grammar"},
		"left open":   {func(b *band) { b.send("model", begins, says4); b.end("model") }, schema.CodeOrder, "items-closed"},
		"garbage":     {func(b *band) { b.send("model", begins, `{"type`) }, schema.CodeOrder, "not valid JSON"},
		"hole":        {func(b *band) { b.next["model"] = 5; b.send("model", begins) }, schema.CodeOrder, "event 0 is due"},
		"its failure": {func(b *band) {
			b.send("model", begins, says4, `{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"rate_limit_exceeded","message":"slow down"}}}`)
		}, schema.CodeRateLimit, "slow down"},
		"its silent failure": {func(b *band) {
			b.send("model", begins, says4, `{"type":"response.failed","response":{"id":"r","status":"failed"}}`)
		}, schema.CodeServer, "reported an error"},
	} {
		b := s.band("model", "mcp")
		c.tell(b)
		resp := b.whole(b.records(b.ref))
		if resp.Status != schema.StatusFailed || resp.Error.Code != c.code || !strings.Contains(resp.Error.Message, c.why) {
			t.Errorf("%s: %s %+v", name, resp.Status, resp.Error)
		}
	}
}

// What does not count does no harm either, be it unreadable: what a stranger sends, and a producer that was started anew since.
func TestRelay_IgnoresWhatDoesNotCount(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	b := s.band("model")
	b.store(&schema.Batch{Producer: "model", Epoch: 1, Events: []jsontext.Value{jsontext.Value(begins)}})
	for _, other := range []string{"model", "stranger"} {
		b.store(&schema.Batch{Producer: other, Place: b.next[other], Events: []jsontext.Value{jsontext.Value(`{"type`)}})
	}
	b.store(&schema.Batch{Producer: "model", Epoch: 1, Place: 1, Last: true, Events: []jsontext.Value{jsontext.Value(saysAll), jsontext.Value(ends)}})
	if resp := b.whole(b.records(b.ref)); resp.Status != schema.StatusCompleted || resp.Output[0].Text() != "four five" {
		t.Errorf("%s %+v", resp.Status, resp.Error)
	}
}

// Word of what is stored may be lost: nobody is called silent before the log was asked.
func TestRelay_LooksBeforeItGivesUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := s.band("model")
	b.send("model", begins)
	feed, err := s.broker.Feed(b.ref)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	y := &relaying{run: &run{node: &Node{Config: Config{ProducerIdle: time.Second}}}, feed: feed, heard: map[string]time.Time{}}
	y.merged = schema.Rehearse(b.ref, "model")
	y.began = time.Now().Add(-time.Hour)
	if sent, err := y.next(t.Context()); err != nil || sent == nil || len(sent.Events) != 1 {
		t.Fatalf("%+v, %v", sent, err)
	}
	if sent, err := y.next(t.Context()); !errors.As(err, new(*silentError)) {
		t.Errorf("%+v, %v", sent, err)
	}
}

// A producer that vanishes ends the response: what it has begun is incomplete, and the response says who was lost.
func TestRelay_LostProducer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.ProducerIdle = 50 * time.Millisecond
	b := s.band("model", "mcp")
	b.end("mcp")
	b.send("model", begins, says4)
	defer s.node(t.Context())()
	resp := b.whole(b.records(b.ref))
	if resp.Error == nil || resp.Error.Code != schema.CodeProducerLost || !strings.Contains(resp.Error.Message, "model") {
		t.Errorf("%s %+v", resp.Status, resp.Error)
	}
	if len(resp.Output) != 1 || resp.Output[0].Status != schema.StatusIncomplete {
		t.Errorf("output %+v", resp.Output)
	}
}

// A cancel ends a relay that waits for its producers.
func TestRelay_Cancelled(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	defer s.node(t.Context())()
	b := s.band("model")
	b.send("model", begins, says4)
	b.shown(5)
	if err := s.broker.Cancel(t.Context(), b.ref); err != nil {
		t.Fatal(err)
	}
	if resp := b.whole(b.records(b.ref)); resp.Status != schema.StatusCancelled {
		t.Errorf("status %s", resp.Status)
	}
}

// What the log has and the producers' batches do not make up again ends the response: nobody can go on with it.
func TestRelay_LogAheadOfWhatWasSent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	w := s.wreck(`{"model":"m","midstream":{"producers":["model"]}}`, 100)
	w.push("model", message(0, "never sent")[:2]...)
	defer s.node(t.Context())()
	resp := w.salvage()
	if resp.Status != schema.StatusFailed || resp.Error.Code != schema.CodeServer {
		t.Errorf("%s %+v", resp.Status, resp.Error)
	}
}
