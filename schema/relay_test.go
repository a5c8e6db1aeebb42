package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// relayFor returns the relay of a response that has begun, and the events with which it did.
func relayFor(t testing.TB, producers ...string) (*Relay, []Event) {
	t.Helper()
	q := NewSequencer(&State{})
	var begun []Event
	for _, e := range []Event{createdEvent(t, testCommand("resp_1")), {Type: InProgress}} {
		out, err := q.Push("gateway", e)
		if err != nil {
			t.Fatal(err)
		}
		begun = append(begun, out...)
	}
	return NewRelay(q, producers), begun
}

// finishRelay ends the response as the relay says.
func finishRelay(t testing.TB, r *Relay) []Event {
	t.Helper()
	end, said, ok := r.Outcome()
	if !ok {
		t.Fatalf("the response is not to end: %s have not ended", r.Missing())
	}
	out, err := r.seq.Finish(end, func(resp *Response) {
		wellEnded(resp)
		resp.Error, resp.IncompleteDetails, resp.Usage = said.Error, said.IncompleteDetails, r.Usage()
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// told writes what a producer says as batches of one event each, the last of which ends it.
func told(producer string, events ...string) (batches []*Batch) {
	for i, e := range events {
		batches = append(batches, &Batch{
			Producer: producer, Place: int64(i), Last: i == len(events)-1, Events: []jsontext.Value{jsontext.Value(e)},
		})
	}
	return batches
}

// The smallest programs that have everything which can get in each other's way: a sidecar's list, a model's text and usage in
// a lifecycle of its own, and a gateway's tool call.
var smallPrograms = map[string][]*Batch{
	"mcp": told("mcp",
		`{"type":"response.mcp_list_tools.in_progress","output_index":0,"item_id":"x"}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"id":"x","type":"mcp_list_tools","server_label":"dice","tools":[]}}`),
	"model": told("model",
		`{"type":"response.created","sequence_number":0,"response":{"id":"resp_9"}}`,
		`{"type":"response.output_item.added","output_index":0,"item":{"id":"x","type":"message","role":"assistant","content":[]}}`,
		`{"type":"response.output_text.delta","output_index":0,"item_id":"x","content_index":0,"delta":"four"}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"id":"x","type":"message","role":"assistant","content":[{"type":"output_text","text":"four"}]}}`,
		`{"type":"response.completed","sequence_number":4,"response":{"id":"resp_9","status":"completed","usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4}}}`),
	"gateway": told("gateway",
		`{"type":"response.output_item.added","output_index":0,"item":{"id":"y","type":"mcp_call","server_label":"dice","name":"roll"}}`,
		`{"type":"response.mcp_call_arguments.done","output_index":0,"item_id":"y","arguments":"{}"}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"id":"y","type":"mcp_call","server_label":"dice","name":"roll","arguments":"{}","output":"4"}}`),
}

// interleavings calls yield with every way to merge the programs, each in its own order.
func interleavings(programs [][]*Batch, prefix []*Batch, yield func([]*Batch)) {
	done := true
	for i, p := range programs {
		if len(p) == 0 {
			continue
		}
		done = false
		rest := append([][]*Batch{}, programs...)
		rest[i] = p[1:]
		interleavings(rest, append(slices.Clip(prefix), p[0]), yield)
	}
	if done {
		yield(prefix)
	}
}

// Every interleaving of the small programs, 2 520 of them, is one legal response with the same items and the same usage.
func TestRelay_EveryInterleavingIsLegal(t *testing.T) {
	t.Parallel()
	programs := [][]*Batch{smallPrograms["mcp"], smallPrograms["model"], smallPrograms["gateway"]}
	n := 0
	interleavings(programs, nil, func(feed []*Batch) {
		n++
		s, err := CheckStream(framesOf(t, relayed(t, t, []string{"mcp", "model", "gateway"}, feed)))
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for _, it := range s.Items() {
			kinds[it.Type]++
		}
		if diff := cmp.Diff(map[string]int{KindListTools: 1, KindMessage: 1, KindMCPCall: 1}, kinds); diff != "" {
			t.Fatalf("items of %s:\n%s", order(feed), diff)
		}
		if u := s.Response().Usage; u == nil || u.TotalTokens != 4 {
			t.Fatalf("usage of %s: %+v", order(feed), u)
		}
	})
	if n != 2520 {
		t.Errorf("%d interleavings, there are 10!/(2!·5!·3!) = 2520", n)
	}
}

func order(feed []*Batch) string {
	var names []string
	for _, b := range feed {
		names = append(names, b.Producer)
	}
	return strings.Join(names, " ")
}

// genBatches cuts a program into batches, some of which come twice.
func genBatches(t *rapid.T, p program) []*Batch {
	var batches []*Batch
	at := 0
	for at < len(p.events) || len(batches) == 0 {
		n := rapid.IntRange(0, len(p.events)-at).Draw(t, "batch")
		b := &Batch{Producer: p.producer, Place: int64(at)}
		for i := range p.events[at : at+n] {
			raw, err := json.Marshal(&p.events[at+i])
			if err != nil {
				t.Fatal(err)
			}
			b.Events = append(b.Events, raw)
		}
		at += n
		b.Last = at == len(p.events)
		batches = append(batches, b)
		if rapid.Bool().Draw(t, "again") {
			batches = append(batches, batches[rapid.IntRange(0, len(batches)-1).Draw(t, "which")])
		}
	}
	return batches
}

// Random programs of any size, cut into batches anyhow, some sent twice, interleaved anyhow: one legal response with all items of
// all of them. Whoever takes over and reads the batches again comes to the same events.
func TestRelay_AnyInterleavingIsLegal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		programs := genPrograms(rt)
		var names []string
		var queues [][]*Batch
		for _, p := range programs {
			names, queues = append(names, p.producer), append(queues, genBatches(rt, p))
		}
		var feed []*Batch
		for open := nonEmpty(queues); len(open) > 0; open = nonEmpty(queues) {
			i := rapid.SampledFrom(open).Draw(rt, "producer")
			feed, queues[i] = append(feed, queues[i][0]), queues[i][1:]
		}
		frames := framesOf(t, relayed(t, rt, names, feed))
		s, err := CheckStream(frames)
		if err != nil {
			rt.Fatalf("%v\n%s", err, frames)
		}
		sameItems(rt, programs, s)
		if again := framesOf(t, relayed(t, rt, names, feed)); string(again) != string(frames) {
			rt.Fatalf("a second relay says otherwise:\n%s", cmp.Diff(string(frames), string(again)))
		}
	})
}

// relayed returns the whole response that a relay makes of a feed; a batch that it refuses is told to judge.
func relayed(t *testing.T, judge interface{ Fatalf(string, ...any) }, names []string, feed []*Batch) []Event {
	t.Helper()
	r, out := relayFor(t, names...)
	for _, b := range feed {
		events, err := r.Take(b)
		if err != nil {
			judge.Fatalf("%s at %d: %v", b.Producer, b.Place, err)
		}
		out = append(out, events...)
	}
	return append(out, finishRelay(t, r)...)
}

// What a producer may say in company it may say alone, and the other way round: the rehearsal refuses at the same place.
func TestRelay_RehearsalAgrees(t *testing.T) {
	t.Parallel()
	ref, err := NewRef("t1", "resp_1")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := genProgram(rt, "p0")
		if len(p.events) > 0 && rapid.Bool().Draw(rt, "spoil") {
			i := rapid.IntRange(0, len(p.events)-1).Draw(rt, "at")
			p.events = append(p.events[:i:i], p.events[i+1:]...)
		}
		batches := genBatches(rt, p)
		alone, company := Rehearse(ref, "p0"), func() *Relay { r, _ := relayFor(t, "other", "p0"); return r }()
		for _, b := range batches {
			_, err := alone.Take(b)
			_, inCompany := company.Take(b)
			if fmt.Sprint(err) != fmt.Sprint(inCompany) {
				rt.Fatalf("alone: %v, in company: %v", err, inCompany)
			}
			if err != nil {
				return
			}
		}
	})
}

// Each rule that a producer can break is named when it is.
func TestRelay_NamesTheBrokenRule(t *testing.T) {
	t.Parallel()
	for rule, program := range map[string][]string{
		lawInItem:  {`{"type":"response.output_text.annotation.added","output_index":3,"annotation":{}}`},
		lawAdded:   {`{"type":"response.output_item.added","output_index":0}`},
		lawGrammar: {smallMessage("added"), smallMessage("done"), `{"type":"response.output_text.delta","item_id":"m","delta":"more"}`},
		lawIDs:     {smallMessage("added"), smallMessage("added")},
		lawType:    {`{"type":"two words"}`},
		lawError:   {`{"type":"response.fancy","error":{"message":"x"}}`},
		lawClosed:  {smallMessage("added"), `{"type":"response.completed","response":{"id":"r","status":"completed"}}`},
		lawTerminal: {
			`{"type":"response.completed"}`,
		},
		lawText: {
			`{"type":"response.output_item.added","output_index":0,"item":{"id":"f","type":"function_call","name":"f","call_id":"c","arguments":""}}`,
			`{"type":"response.function_call_arguments.delta","item_id":"f","delta":"{\"a\":1}"}`,
			`{"type":"response.function_call_arguments.done","item_id":"f","arguments":"{\"a\":2}"}`,
		},
	} {
		r, _ := relayFor(t, "p")
		var err error
		for _, b := range told("p", program...) {
			if _, err = r.Take(b); err != nil {
				break
			}
		}
		v, ok := errors.AsType[*Violation](err)
		if !ok || v.Rule != rule || v.Producer != "p" {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func smallMessage(what string) string {
	return `{"type":"response.output_item.` + what + `","output_index":0,"item":{"id":"m","type":"message","role":"assistant","content":[]}}`
}

func TestRelay_Course(t *testing.T) {
	t.Parallel()
	said := told("p", smallMessage("added"), smallMessage("done"))
	r, _ := relayFor(t, "p")
	mustTake := func(b *Batch, want int) {
		t.Helper()
		out, err := r.Take(b)
		if err != nil || len(out) != want {
			t.Fatalf("%d events, %v; want %d", len(out), err, want)
		}
	}
	mustTake(said[0], 1)
	mustTake(said[0], 0) // twice
	mustTake(&Batch{Producer: "stranger", Events: said[0].Events}, 0)
	if r.Heeds(&Batch{Producer: "stranger"}) || !r.Heeds(said[1]) {
		t.Error("a stranger is heeded, or nobody is")
	}
	var gap *GapError
	if _, err := r.Take(&Batch{Producer: "p", Place: 2, Events: said[1].Events}); !errors.As(err, &gap) || gap.Due != 1 {
		t.Fatalf("a hole: %v", err)
	}
	mustTake(&Batch{Producer: "p", Epoch: 2, Place: 0, Events: said[0].Events}, 0) // started anew, says again what it said
	mustTake(&Batch{Producer: "p", Epoch: 1, Place: 1, Last: true, Events: said[1].Events}, 0)
	mustTake(&Batch{Producer: "p", Epoch: 2, Place: 1, Last: true, Events: said[1].Events}, 1)
	if r.Heeds(&Batch{Producer: "p", Epoch: 2, Place: 2}) {
		t.Error("a producer that has ended is heeded")
	}
	if next, epoch, ended := r.Standing("p"); next != 2 || epoch != 2 || !ended {
		t.Errorf("stands at %d in epoch %d, ended %t", next, epoch, ended)
	}
}

func TestRelay_Outcome(t *testing.T) {
	t.Parallel()
	end := func(kind, more string) string {
		return `{"type":"response.` + kind + `","response":{"id":"r","status":"` + kind + `"` + more + `}}`
	}
	for name, c := range map[string]struct {
		a, b []string
		want EventType
		why  string
	}{
		"whole":                 {[]string{end("completed", "")}, []string{smallMessage("added"), smallMessage("done")}, Completed, ""},
		"one failed":            {[]string{smallMessage("added"), end("failed", `,"error":{"code":"server_error","message":"out of memory"}`)}, nil, Failed, "out of memory"},
		"error event":           {[]string{`{"type":"error","code":"rate_limit_exceeded","message":"too much"}`}, nil, Failed, "too much"},
		"failed without a word": {[]string{end("failed", `,"error":null`)}, nil, Failed, "The producer reported an error."},
		"incomplete without a word": {
			[]string{end("incomplete", "")}, []string{smallMessage("added"), smallMessage("done")}, Incomplete, "max_output_tokens",
		},
		"cut short": {
			[]string{smallMessage("added"), end("incomplete", `,"incomplete_details":{"reason":"max_output_tokens"}`)},
			[]string{smallMessage("added"), smallMessage("done")}, Incomplete, "max_output_tokens",
		},
		"told by the end alone": {
			[]string{end("completed", `,"output":[{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]`)},
			[]string{smallMessage("added"), smallMessage("done")}, Completed, "",
		},
	} {
		r, out := relayFor(t, "a", "b")
		for _, b := range append(told("a", c.a...), told("b", c.b...)...) {
			events, err := r.Take(b)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out = append(out, events...)
		}
		got, said, ok := r.Outcome()
		if !ok || got != c.want || c.why != "" && !strings.Contains(string(must(json.Marshal(said))(t)), c.why) {
			t.Errorf("%s: %s %t %v %v", name, got, ok, said.Error, said.IncompleteDetails)
		}
	}
}
