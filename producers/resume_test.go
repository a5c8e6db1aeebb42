package producers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// keeper is a model server that keeps its calls: it goes on with them by itself, and tells them again to whoever asks.
type keeper struct {
	mu        sync.Mutex
	events    []string // of the call, whole
	holds     int      // how many events it tells for now
	more      chan struct{}
	made      int // calls
	taken     []string
	cancelled int
	forgets   bool
	cuts      int // tells so many events a connection, then breaks it off; 0: all
}

func newKeeper(events []string) *keeper {
	return &keeper{events: events, holds: len(events), more: make(chan struct{})}
}

// hold makes the server stop behind n events.
func (k *keeper) hold(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holds = n
}

// release lets it tell all.
func (k *keeper) release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holds = len(k.events)
	close(k.more)
	k.more = make(chan struct{})
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	k.mu.Lock()
	from, forgotten := 0, false
	switch {
	case strings.HasSuffix(r.URL.Path, "/cancel"):
		k.cancelled++
		k.mu.Unlock()
		return
	case r.Method == http.MethodPost:
		k.made++
		if !strings.Contains(string(body), `"background":true`) || !strings.Contains(string(body), `"store":true`) {
			forgotten = true
		}
	default:
		k.taken = append(k.taken, r.URL.RequestURI())
		forgotten = k.forgets
		if after := r.URL.Query().Get("starting_after"); after != "" {
			_, _ = fmt.Sscan(after, &from)
			from++
		}
	}
	k.mu.Unlock()
	if forgotten {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	k.tell(w, r, from)
}

func (k *keeper) tell(w http.ResponseWriter, r *http.Request, from int) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	for n := from; n < len(k.events); n++ {
		k.mu.Lock()
		holds, more, cuts := k.holds, k.more, k.cuts
		k.mu.Unlock()
		if cuts > 0 && n-from >= cuts {
			panic(http.ErrAbortHandler)
		}
		if n >= holds {
			select {
			case <-more:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprintf(w, "data: %s\n\n", k.events[n])
		_ = flush()
	}
}

// keptCall is a call that thinks, says a sentence in small deltas, and calls a function of the client.
func keptCall() []string {
	var events []string
	add := func(format string, args ...any) {
		events = append(events, fmt.Sprintf(`{"sequence_number":%d,`, len(events))+fmt.Sprintf(format, args...)+"}")
	}
	add(`"type":"response.created","response":{"id":"resp_far","status":"queued"}`)
	add(`"type":"response.in_progress","response":{"id":"resp_far","status":"in_progress"}`)
	add(`"type":"response.output_item.added","output_index":0,"item":{"id":"msg_far","type":"message","role":"assistant","content":[]}`)
	add(`"type":"response.content_part.added","output_index":0,"item_id":"msg_far","content_index":0,"part":{"type":"output_text","text":"","annotations":[]}`)
	for _, word := range keptWords {
		add(`"type":"response.output_text.delta","output_index":0,"item_id":"msg_far","content_index":0,"delta":%q`, word)
	}
	add(`"type":"response.output_text.done","output_index":0,"item_id":"msg_far","content_index":0,"text":%q`, strings.Join(keptWords, ""))
	add(`"type":"response.output_item.done","output_index":0,"item":{"id":"msg_far","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":%q,"annotations":[]}]}`, strings.Join(keptWords, ""))
	add(`"type":"response.output_item.added","output_index":1,"item":{"id":"fc_far","type":"function_call","call_id":"call_1","name":"f","arguments":""}`)
	add(`"type":"response.function_call_arguments.delta","output_index":1,"item_id":"fc_far","delta":"{\"a\":"`)
	add(`"type":"response.function_call_arguments.delta","output_index":1,"item_id":"fc_far","delta":"1}"`)
	add(`"type":"response.output_item.done","output_index":1,"item":{"id":"fc_far","type":"function_call","call_id":"call_1","name":"f","arguments":"{\"a\":1}","status":"completed"}`)
	add(`"type":"response.completed","response":{"id":"resp_far","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}`)
	return events
}

var keptWords = []string{"Change", " horses", " in", " mid", "stream", "."}

// kept puts the stage's runs before the server. Its own ids are not the client's.
func (s *stage) kept(k *keeper) {
	s.Helper()
	server := httptest.NewServer(k)
	s.Cleanup(server.Close)
	router, err := upstream.Open([]upstream.Config{{
		Name: "far", Dialect: "responses", BaseURL: server.URL, Resume: true, Pause: noPause,
	}})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(router.Close)
	s.config.Models = router
}

// logged counts the frames of a log.
func (s *stage) logged(ref schema.Ref) int64 {
	h, err := s.broker.Read(s.Context(), ref)
	if err != nil {
		return 0
	}
	return h.Records[len(h.Records)-1].Last + 1
}

const asksClient = `{"model":"m","input":"hi","tools":[{"type":"function","name":"f"}]}`

// wantKept checks that the response is what the server told once, under one id each, and that it was called once.
func (s *stage) wantKept(name string, k *keeper, records []schema.Record) {
	s.Helper()
	resp := s.whole(records)
	if resp.Status != schema.StatusCompleted || len(resp.Output) != 2 {
		s.Fatalf("%s: %s, error %+v, output %+v", name, resp.Status, resp.Error, resp.Output)
	}
	if text := resp.Output[0].Text(); text != strings.Join(keptWords, "") || resp.Output[0].Status != schema.StatusCompleted {
		s.Errorf("%s: said %q, %s", name, text, resp.Output[0].Status)
	}
	if call := resp.Output[1]; *call.Arguments != `{"a":1}` || call.CallID != "call_1" || call.Status != schema.StatusCompleted {
		s.Errorf("%s: call %+v", name, call)
	}
	if k.made != 1 || k.cancelled != 0 || resp.Usage.TotalTokens != 5 {
		s.Errorf("%s: %d calls were made, %d cancelled, usage %+v", name, k.made, k.cancelled, resp.Usage)
	}
}

// Wherever a model call is cut by a takeover, the next attempt takes it up: the client gets the very next token in the item that
// is open, every token once, and the upstream is called once.
func TestResume_AtEveryEvent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for n := 1; n < len(keptCall()); n++ {
		k := newKeeper(keptCall())
		k.hold(n)
		s.kept(k)
		ref := s.create(asksClient)
		stop := s.node(t.Context())
		var before int64
		s.until(func() bool { // what was told is in the log
			last := before
			before = s.logged(ref)
			return before >= int64(min(n, 2)) && before == last && s.noted(ref)
		})
		stop()
		k.release()
		stop = s.node(t.Context())
		records := s.records(ref)
		stop()
		s.wantKept(fmt.Sprintf("cut behind event %d", n), k, records)
		if len(k.taken) != 1 || k.taken[0] != "/responses/resp_far?stream=true" {
			t.Errorf("cut behind event %d: taken up by %q", n, k.taken)
		}
	}
}

// noted reports whether the log has the call's id.
func (s *stage) noted(ref schema.Ref) bool {
	h, err := s.broker.Read(s.Context(), ref)
	if err != nil {
		return false
	}
	for _, rec := range h.Records {
		if rec.Kind == schema.RecordCall {
			return true
		}
	}
	return false
}

// A call may be cut by several takeovers; those that get on with it count as no failed attempts, however many.
func TestResume_OverManyTakeovers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	k := newKeeper(keptCall())
	s.kept(k)
	ref := s.create(asksClient)
	for n := 4; n <= 4+len(keptWords); n++ { // a word a takeover
		k.hold(n)
		stop := s.node(t.Context())
		s.until(func() bool { return s.logged(ref) >= int64(n) })
		stop()
	}
	k.release()
	stop := s.node(t.Context())
	records := s.records(ref)
	stop()
	s.wantKept("many takeovers", k, records)
}

// A connection that breaks off in the middle of an answer is made again behind the last event, on the same node.
func TestResume_WithoutATakeover(t *testing.T) {
	t.Parallel()
	for _, cuts := range []int{len(keptCall()) / 2, len(keptCall()) - 1, len(keptCall())/3 + 1} {
		s := newStage(t)
		k := newKeeper(keptCall())
		k.cuts = cuts
		s.kept(k)
		stop := s.node(t.Context())
		records := s.records(s.create(asksClient))
		stop()
		s.wantKept(fmt.Sprintf("cut every %d", cuts), k, records)
		if len(k.taken) == 0 || !strings.HasSuffix(k.taken[0], fmt.Sprintf("starting_after=%d", cuts-1)) {
			t.Errorf("cut every %d: taken up by %q", cuts, k.taken)
		}
	}
}

// What the upstream has forgotten is closed as incomplete and made again, as where it cannot resume at all.
func TestResume_OfAForgottenCall(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	k := newKeeper(keptCall())
	s.kept(k)
	k.hold(6)
	ref := s.create(asksClient)
	stop := s.node(t.Context())
	s.until(func() bool { return s.logged(ref) >= 6 })
	stop()
	k.forgets = true
	k.release()
	stop = s.node(t.Context())
	resp := s.whole(s.records(ref))
	stop()
	if resp.Status != schema.StatusCompleted || len(resp.Output) != 3 || resp.Output[0].Status != schema.StatusIncomplete || k.made != 2 {
		t.Errorf("%s, error %+v, output %+v, %d calls", resp.Status, resp.Error, resp.Output, k.made)
	}
}

// An upstream that tells a call otherwise than it did is not believed: what clients have seen stands.
func TestResume_OfACallThatDiffers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	k := newKeeper(keptCall())
	s.kept(k)
	k.hold(6)
	ref := s.create(asksClient)
	stop := s.node(t.Context())
	s.until(func() bool { return s.logged(ref) >= 6 })
	stop()
	k.events[4] = strings.Replace(k.events[4], "Change", "Swap", 1)
	k.release()
	stop = s.node(t.Context())
	resp := s.whole(s.records(ref))
	stop()
	if resp.Status != schema.StatusCompleted || len(resp.Output) != 3 || resp.Output[0].Status != schema.StatusIncomplete ||
		k.made != 2 || k.cancelled != 1 {
		t.Errorf("%s, error %+v, output %+v, %d calls, %d cancelled", resp.Status, resp.Error, resp.Output, k.made, k.cancelled)
	}
}

// A run that ends while its call goes on ends the call too: closing the connection would not.
func TestResume_ACancelReachesTheUpstream(t *testing.T) {
	t.Parallel()
	for name, owned := range map[string]bool{"by its owner": true, "by a later attempt": false} {
		s := newStage(t, patient)
		k := newKeeper(keptCall())
		s.kept(k)
		k.hold(6)
		ref := s.create(asksClient)
		stop := s.node(t.Context())
		s.until(func() bool { return s.logged(ref) >= 6 })
		if !owned {
			stop()
		}
		ctx, release := context.WithTimeout(t.Context(), patience)
		if err := s.broker.Cancel(ctx, ref); err != nil {
			t.Fatal(err)
		}
		release()
		if !owned {
			stop = s.node(t.Context())
		}
		s.until(func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.cancelled == 1
		})
		stop()
		if resp := s.whole(s.records(ref)); resp.Status != schema.StatusCancelled {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}
