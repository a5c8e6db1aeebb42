package producers

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/broker/sim"
	"github.com/midstream-dev/midstream/schema"
)

// pointOf tells which moment of a response's life an operation is.
func pointOf(op *sim.Op) point {
	switch {
	case op.Kind != sim.Publish:
		return point(op.Kind)
	case strings.HasPrefix(op.Stream, "MS_LOG"):
		return atAppend
	case strings.HasPrefix(op.Stream, "MS_ARCHIVE"):
		return atSeal
	case op.Stream == "MS_RUNS":
		return atEnqueue
	case op.Stream == "MS_INGEST":
		return atIngest
	}
	return ""
}

// responseOf finds the response in a subject.
func responseOf(subject string) string {
	_, rest, ok := strings.Cut(subject, "resp_")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, ".")
	return "resp_" + id
}

// Fate implements [sim.Director].
func (w *world) Fate(op sim.Op) (fate sim.Fate) {
	defer func() { w.trace(op, fate) }()
	if w.ops++; w.ops > simOps {
		panic(fmt.Sprintf("%d operations in one bubble: somebody asks without a pause\n%s", w.ops, w.plan))
	}
	id := responseOf(op.Subject)
	if op.Kind == sim.Ack {
		w.acked(id)
	}
	if f, hit := w.leaderless(&op); hit {
		return f
	}
	f := w.meet(id, pointOf(&op))
	if op.Kind == sim.Republish && w.isDeaf(id) {
		return sim.Fate{Skip: true}
	}
	if f == nil {
		return sim.Fate{}
	}
	return f.fate(op.Client == "gateway")
}

// leaderless answers for streams that have no leader now.
func (w *world) leaderless(op *sim.Op) (sim.Fate, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm || !time.Now().Before(w.vacant) {
		return sim.Fate{}, false
	}
	switch op.Kind {
	case sim.Publish, sim.LeaderRead, sim.Erase, sim.Manage, sim.Pull:
		return fault{Action: w.vacancy}.fate(false), true
	}
	return sim.Fate{}, false
}

// meet counts a moment and returns the fault that strikes in it.
func (w *world) meet(id string, where point) *fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id == "" || where == "" || w.calm {
		return nil
	}
	key := id + " " + string(where)
	n := w.counts[key]
	w.counts[key]++
	for _, f := range w.scene(id).Faults {
		if f.Point == where && n >= f.N && n < f.N+f.Times {
			w.fired[f.Action]++
			w.strike(id, &f)
			return &f
		}
	}
	return nil
}

// strike does of a fault what is not for the operation alone.
func (w *world) strike(id string, f *fault) {
	switch f.Action {
	case deafHold:
		w.deaf[id] = time.Now().Add(f.For)
	case elect:
		w.vacant = time.Now().Add(f.For)
		w.vacancy = []action{lose, nobody, unavailable}[f.N%3]
	case restart:
		w.order(func() { w.server.Restart(f.For) })
	}
}

// isDeaf reports whether nobody hears of what is stored of a response now.
func (w *world) isDeaf(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.calm && time.Now().Before(w.deaf[id])
}

// fate is what a fault makes of an operation. The gateway is not killed: it is the one that is asked in the end.
func (f fault) fate(spared bool) sim.Fate {
	fate := map[action]sim.Fate{
		lose: {Skip: true, Mute: true}, mute: {Mute: true}, cutBefore: {Skip: true, Cut: true}, cutBehind: {Cut: true},
		busy: {Skip: true, Code: 10164}, doubted: {Skip: true, Code: 10071}, denied: {Code: 10071},
		unavailable: {Skip: true, Code: 10008}, nobody: {Skip: true, Code: 503},
		late: {Late: f.For}, slow: {Slow: f.For}, stale: {Stale: int(f.For)}, twice: {Twice: true, Slow: f.For},
		killBefore: {Skip: true, Kill: true}, killBehind: {Kill: true},
		holdBefore: {Hold: f.For, Late: f.For}, deafHold: {Hold: f.For, Late: f.For}, holdBehind: {Hold: f.For}, elect: {Skip: true, Mute: true},
	}[f.Action]
	if spared && fate.Kill {
		fate.Kill, fate.Cut = false, true
	}
	return fate
}

// history is what the server has stored of a response: the truth that all else is held against.
type history struct {
	records []fact
	sealed  bool
	batches []schema.Batch // of those who feed it
}

// fact is one stored record, as far as it bears on what is promised.
type fact struct {
	kind    schema.Kind
	attempt int
	nonce   string
	frames  []byte
	body    []byte
	chain   string
}

// Stored implements [sim.Director].
func (w *world) Stored(m sim.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.journal[responseOf(m.Subject)]
	switch {
	case strings.HasPrefix(m.Stream, "MS_LOG"):
		attempt, _ := strconv.Atoi(m.Get("Ms-Attempt"))
		body, _ := strconv.Atoi(m.Get("Ms-Body"))
		cut := len(m.Data) - body
		h.records = append(h.records, fact{
			schema.Kind(m.Get("Ms-Kind")), attempt, m.Get("Ms-Nonce"), m.Data[:cut], m.Data[cut:], m.Get("Ms-Chain"),
		})
	case strings.HasPrefix(m.Stream, "MS_ARCHIVE") && strings.HasSuffix(m.Subject, ".0"):
		h.sealed = true
	case m.Stream == "MS_INGEST":
		h.sent(m)
	}
}

func (w *world) begun(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.journal[id].records) > 0
}

func (w *world) ended(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.journal[id].ended()
}

func (h *history) ended() bool {
	for _, e := range h.records {
		if schema.Ends(e.frames) {
			return true
		}
	}
	return false
}

func (w *world) isSealed(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.journal[id].sealed
}

func (w *world) frames(id string) (all []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.journal[id].records {
		all = append(all, e.frames...)
	}
	return all
}

// acked: a job is acked only when its response is ended and sealed.
func (w *world) acked(id string) {
	w.mu.Lock()
	h := w.journal[id]
	fine := h == nil || h.ended() && h.sealed // nil: the job is gone already, and its subject with it
	w.mu.Unlock()
	if !fine {
		w.faultf("%s: its job is acked before it is ended and sealed", id)
	}
}

// claimed: whoever is contacted for a response is contacted by a node whose claim is in the log.
func (w *world) claimed(name, id, what string) {
	w.mu.Lock()
	fine := false
	for _, e := range w.journal[id].records {
		fine = fine || e.kind == schema.RecordClaim && bytes.Contains(e.body, []byte(`"`+name+`"`))
	}
	w.mu.Unlock()
	if !fine {
		w.faultf("%s: %s by %s, which has no claim in the log", id, what, name)
	}
}

// intended: a call is made only if its intent is in the log.
func (w *world) intended(id, args string) {
	escaped := []byte(strings.ReplaceAll(args, `"`, `\"`))
	w.mu.Lock()
	fine := false
	for _, e := range w.journal[id].records {
		fine = fine || e.kind == schema.RecordTurn && bytes.Contains(e.body, escaped)
	}
	w.made[args]++
	w.mu.Unlock()
	if !fine {
		w.faultf("%s: call of %s without an intent in the log", id, args)
	}
}

// witness looks on while a node's runs take their logs.
type witness struct {
	*broker.Broker
	p *process
}

// Writer implements [Queue]: a writer may be fenced only by a record that is not its own.
func (q witness) Writer(h *broker.History, attempt int, nonce string) *broker.Writer {
	w := q.Broker.Writer(h, attempt, nonce)
	known, id := len(h.Records), h.Ref.Response()
	go func() {
		<-w.Fenced()
		if errors.Is(w.Err(), broker.ErrFenced) && !q.p.w.foreign(id, known, nonce) {
			q.p.w.faultf("%s: attempt %d of %s was fenced by nobody", id, attempt, q.p.name)
		}
	}()
	return w
}

func (w *world) foreign(id string, known int, nonce string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.journal[id].records[known:] {
		if e.nonce != nonce {
			return true
		}
	}
	return false
}

// final reports whether a reader must not be told this.
func final(err error, begun bool) bool {
	var cursor *hub.CursorError
	switch {
	case err == nil:
		return false
	case errors.Is(err, hub.ErrNotFound):
		return begun
	}
	return errors.Is(err, hub.ErrGone) || errors.Is(err, hub.ErrExpired) || errors.As(err, &cursor)
}

var _ sim.Director = (*world)(nil)
