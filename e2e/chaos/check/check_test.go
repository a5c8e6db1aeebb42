package check

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

const (
	response = "resp_check"
	key      = "run/0"
)

// author writes a log as nodes would.
type author struct {
	t       *testing.T
	ref     schema.Ref
	run     *schema.Run
	seq     *schema.Sequencer
	records []schema.Record
	attempt int
	nonce   string
}

func newAuthor(t *testing.T) *author {
	t.Helper()
	cmd := &schema.Command{
		Version: schema.FormatVersion, Tenant: Tenant, Response: response, CreatedAt: 1_700_000_000_000,
		Digest: strings.Repeat("0", 64), Request: []byte(`{"model":"m","input":"hello"}`),
	}
	rec, err := cmd.RequestRecord()
	if err != nil {
		t.Fatal(err)
	}
	run, err := schema.FoldRun(cmd.Ref(), []schema.Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	return &author{t: t, ref: cmd.Ref(), run: run, seq: schema.NewSequencer(&run.State), records: []schema.Record{rec}}
}

func (a *author) record(kind schema.Kind, body any, events ...schema.Event) {
	a.t.Helper()
	last := a.records[len(a.records)-1]
	rec := schema.Record{Kind: kind, Time: last.Time + 100, Attempt: a.attempt, Nonce: a.nonce, First: last.Last + 1, Last: last.Last}
	for i := range events {
		frames, err := schema.AppendFrame(rec.Frames, &events[i])
		if err != nil {
			a.t.Fatal(err)
		}
		rec.Frames, rec.Last = frames, rec.Last+1
	}
	if body != nil {
		rec.Body, _ = json.Marshal(body)
	}
	rec.Seal(last.Chain)
	a.records = append(a.records, rec)
}

func (a *author) claim(nonce string) {
	a.attempt, a.nonce = a.attempt+1, nonce
	a.record(schema.RecordClaim, schema.Claim{Node: nonce}, a.push("gateway", schema.Event{Type: schema.InProgress})...)
}

func (a *author) push(producer string, events ...schema.Event) (out []schema.Event) {
	a.t.Helper()
	for _, e := range events {
		if e.Type == schema.InProgress && a.run.State.Running() {
			continue
		}
		more, err := a.seq.Push(producer, e)
		if err != nil {
			a.t.Fatal(err)
		}
		out = append(out, more...)
	}
	return out
}

// says is a whole message, one word a record.
func (a *author) says(words ...string) {
	item := schema.Item{ID: "m", Type: schema.KindMessage}
	a.record(schema.RecordEvents, nil, a.push("model", schema.Event{Type: schema.ItemAdded, Item: &item})...)
	for _, w := range words {
		a.record(schema.RecordEvents, nil, a.push("model", schema.Event{Type: schema.TextDelta, ItemID: "m", Delta: &w})...)
	}
	item.Content = schema.Content{schema.NewPart(schema.PartOutputText, strings.Join(words, ""))}
	a.record(schema.RecordEvents, nil, a.push("model", schema.Event{Type: schema.ItemDone, Item: &item})...)
}

// calls is a tool call with its intent, and how it ended.
func (a *author) calls(tool, failure string) {
	args := `{"key":"` + key + `"}`
	item := schema.Item{ID: "c", Type: schema.KindMCPCall, ServerLabel: "bank", Name: tool, Arguments: &args}
	began := a.push("model", schema.Event{Type: schema.ItemAdded, Item: &item}, schema.Event{Type: schema.CallArguments, ItemID: "c", Arguments: &args})
	a.record(schema.RecordEvents, nil, began...)
	id := a.run.State.Open().ID
	a.record(schema.RecordTurn, schema.Turn{Number: 1, Calls: []schema.Call{{ID: id, Label: "bank", Name: tool, Arguments: args}}})
	if failure == "outcome unknown" {
		a.claim("two")
	}
	done := item
	done.Status, done.Output, done.Error = schema.StatusCompleted, jsontext.Value(`"done"`), jsontext.Value("null")
	last := schema.Event{Type: schema.CallCompleted, ItemID: "c"}
	if failure != "" {
		last.Type, done.Status, done.Output = schema.CallFailed, schema.StatusFailed, jsontext.Value("null")
		done.Error = jsontext.Value(`{"type":"http_error","code":0,"message":"` + failure + `"}`)
	}
	a.record(schema.RecordEvents, nil, a.push("model", last, schema.Event{Type: schema.ItemDone, Item: &done})...)
}

func (a *author) ends() {
	a.t.Helper()
	events, err := a.run.End(a.seq, schema.Completed, func(r *schema.Response) {
		r.Status, r.CompletedAt = schema.StatusCompleted, new(int64(1_700_000_001))
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.record(schema.RecordEvents, nil, events...)
}

// story is a response of two words and a call, of which everything is right.
func story(t *testing.T, tool, failure string) *History {
	t.Helper()
	a := newAuthor(t)
	a.claim("one")
	a.says("w0 ", "w1 ")
	if tool != "" {
		a.calls(tool, failure)
	}
	a.ends()
	var frames []byte
	for _, r := range a.records {
		frames = append(frames, r.Frames...)
	}
	view := func(leader string) View {
		return View{leader, map[string][]schema.Record{response: slices.Clone(a.records)}}
	}
	return &History{
		Accounts: []Account{{
			Run: "run", Response: response, Text: "w0 w1 ", Frames: frames, Next: a.records[len(a.records)-1].Last + 1, Ended: true,
			Requests: 2, Resumes: []time.Duration{time.Millisecond},
		}},
		Views:      []View{view("n1"), view("n2")},
		Executions: map[string]int{},
		Once:       func(tool string) bool { return tool == "charge" },
	}
}

// TestCheck_Sound promises that a history without fault has none.
func TestCheck_Sound(t *testing.T) {
	for name, h := range map[string]*History{
		"words":   story(t, "", ""),
		"a call":  story(t, "charge", ""),
		"unknown": story(t, "charge", "outcome unknown"),
		"twice":   story(t, "look", ""),
	} {
		switch name {
		case "a call", "unknown":
			h.Executions[key] = 1
		case "twice":
			h.Executions[key] = 2
		}
		r := Check(h)
		if faults := r.Faults(); len(faults) > 0 || r.Completed != 1 || r.Responses != 1 {
			t.Errorf("%s: %s\n%s", name, r, strings.Join(faults, "\n"))
		}
	}
}

// TestCheck_Faults promises that each thing that must not be is found, under its name.
func TestCheck_Faults(t *testing.T) {
	records := func(h *History, change func([]schema.Record) []schema.Record) {
		for i := range h.Views {
			h.Views[i].Logs[response] = change(h.Views[i].Logs[response])
		}
	}
	for name, c := range map[string]struct {
		rule  string
		tool  string
		spoil func(h *History)
	}{
		"a record that is missing": {"gap", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record { return slices.Delete(r, 3, 4) })
		}},
		"a record twice": {"dup", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record { return slices.Insert(r, 3, r[2]) })
		}},
		"two records that changed places": {"dup", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record { r[3], r[4] = r[4], r[3]; return r })
		}},
		"a byte that changed": {"chain", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record {
				r[3].Frames = bytes.Replace(r[3].Frames, []byte("w0"), []byte("w9"), 1)
				return r
			})
		}},
		"a record of another owner": {"zombie", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record { r[4].Nonce = "zombie"; return r })
		}},
		"no end": {"terminal", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record { return r[:len(r)-1] })
		}},
		"a tail that a client saw": {"lost", "", func(h *History) {
			records(h, func(r []schema.Record) []schema.Record { return r[:len(r)-1] })
		}},
		"a response that a client saw": {"lost", "", func(h *History) {
			for _, v := range h.Views {
				delete(v.Logs, response)
			}
		}},
		"one server that is behind":  {"split", "", func(h *History) { h.Views[1].Logs[response] = h.Views[1].Logs[response][:4] }},
		"one server without the log": {"split", "", func(h *History) { delete(h.Views[1].Logs, response) }},
		"other words":                {"words", "", func(h *History) { h.Accounts[0].Text = "w0 w1 w2 " }},
		"other bytes at the client":  {"bytes", "", func(h *History) { h.Accounts[0].Frames[40]++ }},
		"a client without an end":    {"terminal", "", func(h *History) { h.Accounts[0].Ended = false }},
		"an answer out of place":     {"client", "", func(h *History) { h.Accounts[0].Faults = []string{"404"} }},
		"a tool that ran twice":      {"tool", "charge", func(h *History) { h.Executions[key] = 2 }},
		"a tool that never ran":      {"tool", "charge", func(h *History) { h.Executions[key] = 0 }},
		"a tool without an intent":   {"tool", "", func(h *History) { h.Executions[key] = 1 }},
	} {
		h := story(t, c.tool, "")
		c.spoil(h)
		if r := Check(h); len(r.Faults(c.rule)) == 0 {
			t.Errorf("%s: no fault of rule %q, but %v", name, c.rule, r.Faults())
		}
	}
}

// TestCheck_UnknownWithoutCause promises that an outcome may be unknown only where an attempt ended between call and result.
func TestCheck_UnknownWithoutCause(t *testing.T) {
	h := story(t, "charge", "outcome unknown, says who")
	h.Executions[key] = 1
	if r := Check(h); len(r.Faults("tool")) == 0 {
		t.Errorf("no fault: %s", r)
	}
}
