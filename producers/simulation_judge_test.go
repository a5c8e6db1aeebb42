package producers

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// judge holds one response, when all is over, to what is promised of it.
func (w *world) judge(i int) {
	s, id := w.plan.Scenes[i], responseID(i)
	ref, _ := schema.NewRef(simTenant, id)
	ctx, cancel := context.WithTimeout(w.ctx, simPatience)
	defer cancel()
	h, err := w.gateway.Read(ctx, ref) // verifies chain and numbers
	if err != nil {
		w.faultf("%s: %w", id, err)
		return
	}
	var sse []byte
	for _, r := range h.Records {
		sse = append(sse, r.Frames...)
	}
	state, err := schema.CheckStream(sse) // canonical order, one terminal event, last
	if err != nil {
		w.faultf("%s: %w", id, err)
		return
	}
	w.judgeJournal(id, h.Records)
	w.judgeOwners(id, h.Records)
	w.judgeEnd(s, id, h.Records, state.Response())
	w.judgeCalls(s, id, h.Records, state.Response())
	if len(s.Voices) > 0 {
		w.judgeFed(s, ref, h.Records, state.Response())
	}
	if s.Stores {
		w.judgeArchive(ctx, ref, sse)
	}
}

// judgeJournal: what was stored is there, as it was stored, and nothing else.
func (w *world) judgeJournal(id string, records []schema.Record) {
	w.mu.Lock()
	stored := w.journal[id].records
	w.mu.Unlock()
	same := len(stored) == len(records)
	for k := 0; same && k < len(records); k++ {
		same = hex.EncodeToString(records[k].Chain[:]) == stored[k].chain
	}
	if !same {
		w.faultf("%s: the log is not what was stored", id)
	}
}

// judgeOwners: behind a claim stands nothing of an earlier attempt.
func (w *world) judgeOwners(id string, records []schema.Record) {
	owner, attempt := "", 0
	for k, r := range records {
		if r.Kind == schema.RecordClaim {
			if r.Attempt != attempt+1 {
				w.faultf("%s: record %d claims attempt %d behind attempt %d", id, k, r.Attempt, attempt)
			}
			owner, attempt = r.Nonce, r.Attempt
		}
		if r.Nonce != owner || r.Attempt != attempt {
			w.faultf("%s: record %d is by %s, the owner is %s", id, k, r.Nonce, owner)
		}
	}
}

// judgeEnd: the response says what its model said, unless somebody has cancelled it, or it was tried in vain too often.
func (w *world) judgeEnd(s *scene, id string, records []schema.Record, resp *schema.Response) {
	switch resp.Status {
	case schema.StatusCompleted:
		if len(s.Voices) > 0 {
			return // judgeFed says what it must be
		}
		want := fmt.Sprintf("turn %d, and more", len(s.Turns))
		if last := resp.Output[len(resp.Output)-1]; last.Text() != want && !s.silent() {
			w.faultf("%s: ends with %q, not %q", id, last.Text(), want)
		}
	case schema.StatusCancelled:
		if s.Cancel == 0 {
			w.faultf("%s: cancelled by nobody", id)
		}
	default:
		claims := 0
		for _, r := range records {
			if r.Kind == schema.RecordClaim {
				claims++
			}
		}
		if resp.Error == nil || resp.Error.Code != schema.CodeAttempts || claims < DefaultMaxAttempts {
			w.faultf("%s: %s, %+v, %d claims", id, resp.Status, resp.Error, claims)
		}
	}
}

// silent: a turn without a call ends the response.
func (s *scene) silent() bool {
	for _, turn := range s.Turns {
		calls := false
		for _, a := range turn {
			calls = calls || a != say
		}
		if !calls {
			return true
		}
	}
	return false
}

// judgeCalls: a call that may not be repeated was made once at most; one whose outcome is told was made; and an outcome is
// unknown only where another attempt claimed the log between intent and result.
func (w *world) judgeCalls(s *scene, id string, records []schema.Record, resp *schema.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var wrong []string
	for _, it := range resp.Output {
		if it.Type != schema.KindMCPCall || it.Arguments == nil {
			continue
		}
		made, unknown := w.made[*it.Arguments], strings.Contains(string(it.Error), "outcome unknown")
		if unknown {
			w.fired["(outcome unknown)"]++
		}
		switch {
		case made > 1 && !s.Idempotent:
			wrong = append(wrong, fmt.Sprintf("made %d times", made))
		case it.Status == schema.StatusCompleted && made == 0:
			wrong = append(wrong, "completed, and was never made")
		case it.Status == schema.StatusCompleted && string(it.Output) != mustJSON("result of "+*it.Arguments):
			wrong = append(wrong, "has another result: "+string(it.Output))
		case unknown && s.Idempotent:
			wrong = append(wrong, "unknown, though it may be repeated")
		case unknown && !interrupted(it.ID, records):
			wrong = append(wrong, "unknown, though nobody interrupted it")
		}
	}
	for _, what := range wrong {
		w.errs = append(w.errs, fmt.Errorf("%s: a call: %s", id, what))
	}
}

func mustJSON(v string) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// interrupted reports whether an attempt began between a call's intent and its result.
func interrupted(item string, records []schema.Record) bool {
	intent := false
	for _, r := range records {
		switch {
		case r.Kind == schema.RecordTurn && bytes.Contains(r.Body, []byte(`"`+item+`"`)):
			intent = true
		case r.Kind == schema.RecordResult && bytes.Contains(r.Body, []byte(`"`+item+`"`)):
			return false
		case r.Kind == schema.RecordClaim && intent:
			return true
		}
	}
	return false
}

// judgeArchive: what was sealed is what was streamed. The hubs have let the response go by now.
func (w *world) judgeArchive(ctx context.Context, ref schema.Ref, sse []byte) {
	f, err := w.gateway.Follow(ctx, ref, -1)
	if err != nil {
		w.faultf("%s: archive: %w", ref, err)
		return
	}
	defer f.Close()
	var got []byte
	for {
		piece, err := f.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			w.faultf("%s: archive: %w", ref, err)
			return
		}
		got = append(got, piece...)
	}
	if !bytes.Equal(got, sse) {
		w.faultf("%s: the archive has %d bytes, the log %d", ref, len(got), len(sse))
	}
}
