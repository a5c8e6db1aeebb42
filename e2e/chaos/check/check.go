package check

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// Check holds a history to every rule.
func Check(h *History) *Report {
	r := &Report{Failures: map[string]int{}, faults: map[string][]string{}}
	compareViews(r, h.Views)
	intents := map[string]bool{}
	for response, records := range h.Views[0].Logs {
		checkLog(r, h, response, records, intents)
	}
	for i := range h.Accounts {
		checkAccount(r, h, &h.Accounts[i])
	}
	for key := range h.Executions {
		if !intents[key] {
			r.faultf("tool", "%s ran, and no log has its intent", key)
		}
	}
	return r
}

// compareViews promises that every server has the same logs. The link of the last record stands for all before it, but what
// differs first is worth a name.
func compareViews(r *Report, views []View) {
	same := func(a, b schema.Record) bool { return a.Chain == b.Chain && bytes.Equal(a.Frames, b.Frames) }
	for _, v := range views[1:] {
		for response, records := range views[0].Logs {
			if other := v.Logs[response]; !slices.EqualFunc(records, other, same) {
				r.faultf("split", "%s has %d records of %s, %s has %d, and they differ", views[0].Leader, len(records), response, v.Leader, len(other))
			}
		}
		for response := range v.Logs {
			if views[0].Logs[response] == nil {
				r.faultf("split", "%s has %s, %s does not", v.Leader, response, views[0].Leader)
			}
		}
	}
}

// checkLog walks the log of one response. It goes on behind a fault, so as to count them all.
func checkLog(r *Report, h *History, response string, records []schema.Record, intents map[string]bool) {
	ref, err := schema.NewRef(Tenant, response)
	if err != nil {
		r.faultf("order", "%s is no id: %v", response, err)
		return
	}
	w := walk{report: r, history: h, response: response, chain: schema.Genesis(ref), calls: map[string]intent{}}
	for i := range records {
		w.record(&records[i])
	}
	w.end()
	r.Responses++
	r.Records += len(records)
	for _, c := range w.calls {
		intents[c.key] = true
	}
}

// walk is one log, as far as it was read.
type walk struct {
	report   *Report
	history  *History
	response string

	chain   schema.Digest
	due     int64
	attempt int
	nonce   string
	last    time.Time
	frames  []byte
	calls   map[string]intent // by item id
}

// intent is a call that the log tells of before it is made.
type intent struct {
	key, tool string
	attempt   int
}

func (w *walk) record(rec *schema.Record) {
	r := w.report
	if err := rec.Verify(w.chain); err != nil {
		r.faultf("chain", "%s: %v", w.response, err)
	}
	switch {
	case rec.First < w.due:
		r.faultf("dup", "%s: record %s %d-%d where %d is due", w.response, rec.Kind, rec.First, rec.Last, w.due)
	case rec.First > w.due:
		r.faultf("gap", "%s: record %s %d-%d where %d is due", w.response, rec.Kind, rec.First, rec.Last, w.due)
	}
	at := time.UnixMilli(rec.Time)
	w.owner(rec, at)
	w.intents(rec)
	w.chain, w.due, w.last = rec.Chain, rec.Last+1, at
	w.frames = append(w.frames, rec.Frames...)
}

// owner holds a record to the claim before it.
func (w *walk) owner(rec *schema.Record, at time.Time) {
	if rec.Kind == schema.RecordRequest {
		return
	}
	if rec.Kind == schema.RecordClaim {
		w.report.Attempts++
		if rec.Attempt <= w.attempt {
			w.report.faultf("zombie", "%s: claim of attempt %d behind that of %d", w.response, rec.Attempt, w.attempt)
		}
		if w.attempt > 0 {
			w.report.Takeovers = append(w.report.Takeovers, at.Sub(w.last))
		}
		w.attempt, w.nonce = rec.Attempt, rec.Nonce
		return
	}
	if rec.Attempt != w.attempt || rec.Nonce != w.nonce {
		w.report.faultf("zombie", "%s: record %s %d-%d of attempt %d (%s) behind the claim of %d (%s)",
			w.response, rec.Kind, rec.First, rec.Last, rec.Attempt, rec.Nonce, w.attempt, w.nonce)
	}
}

// end looks at the whole stream.
func (w *walk) end() {
	r := w.report
	r.Events += int(w.due)
	terminals := 0
	for _, kind := range []string{"completed", "failed", "incomplete"} {
		terminals += bytes.Count(w.frames, []byte("event: response."+kind+"\n"))
	}
	if terminals != 1 {
		r.faultf("terminal", "%s has %d terminal events", w.response, terminals)
		return
	}
	state, err := schema.CheckStream(w.frames)
	if err != nil {
		r.faultf("order", "%s: %v", w.response, err)
		return
	}
	answer := state.Response()
	switch answer.Status {
	case schema.StatusCompleted:
		r.Completed++
	case schema.StatusCancelled:
		r.Cancelled++
	default:
		r.Failed++
		if answer.Error != nil {
			r.Failures[answer.Error.Code]++
		}
	}
	w.words(state)
	w.executed(state)
}

// words promises that what the model said stands in the log once, as far as it went.
func (w *walk) words(state *schema.State) {
	i := slices.IndexFunc(w.history.Accounts, func(a Account) bool { return a.Response == w.response })
	if i < 0 {
		return
	}
	var said strings.Builder
	for _, it := range state.Items() {
		if it.Type == schema.KindMessage {
			said.WriteString(it.Text())
		}
	}
	want, whole := w.history.Accounts[i].Text, state.Response().Status == schema.StatusCompleted
	if whole && said.String() != want || !strings.HasPrefix(want, said.String()) {
		w.report.faultf("words", "%s says %.200q, which is not what the model said: %.60q…", w.response, said.String(), want)
	}
}

// checkAccount holds what a client got to the log.
func checkAccount(r *Report, h *History, a *Account) {
	r.Requests += a.Requests
	r.Resumes = append(r.Resumes, a.Resumes...)
	r.Stall = max(r.Stall, a.Stall)
	for _, text := range a.Faults {
		r.faultf("client", "%s: %s", a.Run, text)
	}
	if !a.Ended {
		r.faultf("terminal", "the client of %s (%s) has seen no end, only %d events", a.Run, a.Response, a.Next)
	}
	if a.Response == "" {
		return
	}
	for _, v := range h.Views {
		var logged []byte
		for _, rec := range v.Logs[a.Response] {
			logged = append(logged, rec.Frames...)
		}
		switch {
		case bytes.Equal(logged, a.Frames):
		case len(logged) < len(a.Frames) && bytes.HasPrefix(a.Frames, logged):
			r.faultf("lost", "%s: the client of %s has seen %d bytes, the log of %s has %d", a.Response, a.Run, len(a.Frames), v.Leader, len(logged))
		case a.Ended || !bytes.HasPrefix(logged, a.Frames):
			r.faultf("bytes", "%s: the client of %s got other bytes than the log of %s has", a.Response, a.Run, v.Leader)
		}
	}
}
