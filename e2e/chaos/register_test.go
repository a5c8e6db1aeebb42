//go:build e2e

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
	"github.com/midstream-dev/midstream/schema"
)

// The size of the fight: so many writers, over so many logs.
const (
	registers       = 4
	fighters        = 3 // a log, each on one of two brokers
	readLimit       = 8 * time.Second
	appendLimit     = 4 * time.Second // at most: who is in a hurry learns less often how it went
	porcupineLimit  = 30 * time.Second
	registerSeed    = 23
	longestHold     = 6 // appends, before a writer lets another have a go
	registerPause   = 500 * time.Millisecond
	registerRequest = `{"model":"m","input":"hello"}`
)

// TestChaos_Register promises that a log is a register to which one can append behind what one has read, or not at all:
// linearizable, while servers die, lines break, and several writers fight for it.
func TestChaos_Register(t *testing.T) {
	c := &campaign{seed: registerSeed}
	c.prepare(t)
	ctx := withPatience(t, context.Background(), 30*time.Minute)
	if err := c.r.Start(withPatience(t, ctx, wellPatience)); err != nil {
		t.Fatal(err)
	}
	one, lines1 := openBroker(t, c.r, "w1")
	two, lines2 := openBroker(t, c.r, "w2")
	brokers := []*broker.Broker{one, two}
	var budget atomic.Int64
	budget.Store(appends * registers)
	all := make([]*register, registers)
	var fight sync.WaitGroup
	for i := range all {
		all[i] = newRegister(t, ctx, one, i)
		for n := range fighters {
			dice := c.dice("fighter", i*fighters+n)
			fight.Go(func() { all[i].fight(ctx, brokers[n%2], n, dice, &budget) })
		}
	}
	struck := c.unrest(ctx, append(lines1, lines2...), &budget)
	fight.Wait()
	for _, r := range all {
		r.judge(t)
	}
	t.Logf("seed %d: %d faults", c.seed, struck)
}

// unrest kills servers and breaks lines until the budget is used up.
func (c *campaign) unrest(ctx context.Context, lines []*rig.Line, budget *atomic.Int64) (struck int) {
	dice := c.dice("faults", 0)
	for rest(ctx, registerPause); budget.Load() > 0; rest(ctx, registerPause) {
		var f rig.Fault = rig.Cut{Lines: []*rig.Line{lines[dice.IntN(len(lines))]}}
		if dice.IntN(3) == 0 {
			f = rig.Kill{Victims: []*rig.Process{c.r.Servers[dice.IntN(len(c.r.Servers))].Process}}
		}
		f.Strike()
		if err := errors.Join(f.Heal(ctx), c.r.Well(withPatience(c.t, ctx, wellPatience))); err != nil {
			c.t.Fatalf("put right %s: %v", f, err)
		}
		struck++
	}
	return struck
}

// openBroker opens a broker over lines of its own.
func openBroker(t *testing.T, r *rig.Rig, name string) (*broker.Broker, []*rig.Line) {
	t.Helper()
	lines, err := r.Lay(name)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, l := range lines {
		urls = append(urls, "nats://"+l.Addr())
		t.Cleanup(l.Close)
	}
	b, err := broker.Open(withPatience(t, context.Background(), wellPatience), broker.Config{
		URL: strings.Join(urls, ","), User: rig.NodeUser, Password: rig.Password, Replicas: len(r.Servers), AckWait: r.AckWait, SecretKey: make([]byte, 32),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b, lines
}

// register is one log, and what was done to it.
type register struct {
	ref schema.Ref

	mu      sync.Mutex
	history []porcupine.Operation
	counts  map[string]int
}

// action is what a fighter asks: to append token behind expect, or, without a token, what stands last.
type action struct{ expect, token string }

// The outcomes of an action that is an append; a read's outcome is a token.
const (
	stored  = "stored"
	fenced  = "fenced"
	unknown = "unknown"
)

func newRegister(t *testing.T, ctx context.Context, b *broker.Broker, n int) *register {
	t.Helper()
	cmd := &schema.Command{
		Version: schema.FormatVersion, Tenant: check.Tenant, Response: fmt.Sprintf("resp_register%d", n), CreatedAt: 1_700_000_000_000,
		Digest: strings.Repeat("0", 64), Request: []byte(registerRequest),
	}
	rec, err := cmd.RequestRecord()
	if err == nil {
		err = b.Begin(ctx, rec, cmd.Ref())
	}
	if err != nil {
		t.Fatal(err)
	}
	return &register{ref: cmd.Ref(), counts: map[string]int{}}
}

// fight reads the log and appends behind what it has read until another writer does, again and again.
func (r *register) fight(ctx context.Context, b *broker.Broker, id int, dice *rand.Rand, budget *atomic.Int64) {
	for budget.Load() > 0 && ctx.Err() == nil {
		h := r.read(ctx, b, id)
		if h == nil {
			continue
		}
		last := &h.Records[len(h.Records)-1]
		nonce := fmt.Sprintf("%d-%d", id, dice.Uint64())
		w := b.Writer(h, last.Attempt+1, nonce)
		expect := tokenOf(last)
		for i := range 1 + dice.IntN(longestHold) {
			token := fmt.Sprintf("%s/%d", nonce, i)
			budget.Add(-1)
			if !r.append(ctx, w, id, action{expect, token}, time.Duration(dice.Int64N(int64(appendLimit)))) {
				break
			}
			expect = token
		}
		w.Close()
	}
}

// tokenOf names a record: its body is the token.
func tokenOf(rec *schema.Record) string {
	if rec.Kind == schema.RecordRequest {
		return ""
	}
	return string(rec.Body)
}

// read returns the history, or nil where none was to be had in time.
func (r *register) read(ctx context.Context, b *broker.Broker, id int) *broker.History {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	called := time.Now()
	h, err := b.Read(ctx, r.ref)
	if err != nil {
		return nil
	}
	r.note(id, action{}, tokenOf(&h.Records[len(h.Records)-1]), called, time.Now().UnixNano())
	return h
}

// append commits one record within a limit, and reports whether it is known to be stored.
func (r *register) append(ctx context.Context, w *broker.Writer, id int, a action, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	called := time.Now()
	err := w.Commit(ctx, schema.RecordResult, []byte(a.token))
	switch {
	case err == nil:
		r.note(id, a, stored, called, time.Now().UnixNano())
	case errors.Is(err, broker.ErrFenced):
		r.note(id, a, fenced, called, time.Now().UnixNano())
	default: // it may still be stored at any time
		r.note(id, a, unknown, called, math.MaxInt64)
	}
	return err == nil
}

func (r *register) note(id int, a action, outcome string, called time.Time, returned int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.token == "" {
		r.counts["read"]++
	} else {
		r.counts[outcome]++
	}
	r.history = append(r.history, porcupine.Operation{
		ClientId: id, Input: a, Call: called.UnixNano(), Output: outcome, Return: returned,
	})
}

// appendRegister is the model: its state is the token that stands last. An append is stored where its writer had read that
// one, and is refused where another stands; of an append whose outcome is not known both may be true.
var appendRegister = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(state, input, output any) []any {
		a, last := input.(action), state.(string)
		switch {
		case a.token == "" && output == last:
			return []any{last}
		case a.token == "":
			return nil
		case output == stored && a.expect == last:
			return []any{a.token}
		case output == fenced && a.expect != last:
			return []any{last}
		case output == unknown && a.expect == last:
			return []any{last, a.token}
		case output == unknown:
			return []any{last}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}).ToModel()

// judge holds the appends to the model, and then the reads too. A read may be behind: a leader that was voted out answers until
// it learns of it, and a new one before it has applied what the old one had acknowledged. Whoever appends behind such a read is
// fenced, so it costs a try and nothing else; but it is worth a line.
func (r *register) judge(t *testing.T) {
	t.Helper()
	if r.counts[stored] == 0 || r.counts[fenced] == 0 {
		t.Errorf("nobody was stored, or nobody was fenced: no fight")
	}
	appends := slices.DeleteFunc(slices.Clone(r.history), func(o porcupine.Operation) bool { return o.Input.(action).token == "" })
	if result := porcupine.CheckOperationsTimeout(appendRegister, appends, porcupineLimit); result != porcupine.Ok {
		t.Fatalf("%s: the history of %d appends is %s:\n%s", r.ref.Response(), len(appends), result, r.tell())
	}
	reads := porcupine.CheckOperationsTimeout(appendRegister, r.history, porcupineLimit)
	t.Logf("%s: %v, with its reads %s", r.ref.Response(), r.counts, reads)
	if reads == porcupine.Illegal {
		t.Logf("a read was behind:\n%s", r.tell())
	}
}

// tell writes the history down, in the order in which it was done.
func (r *register) tell() string {
	var text strings.Builder
	for _, o := range r.history {
		a := o.Input.(action)
		fmt.Fprintf(&text, "%d-%d: client %d, %q behind %q: %v\n", o.Call, o.Return, o.ClientId, a.token, a.expect, o.Output)
	}
	return text.String()
}

// TestAppendRegister promises that the model refuses what must not be.
func TestAppendRegister(t *testing.T) {
	op := func(at int64, a action, outcome string) porcupine.Operation {
		return porcupine.Operation{Input: a, Output: outcome, Call: at, Return: at + 1}
	}
	a, b := action{"", "a"}, action{"a", "b"}
	for name, h := range map[string][]porcupine.Operation{
		"lost":          {op(1, a, stored), op(3, action{}, "")},
		"two owners":    {op(1, a, stored), op(3, action{"", "b"}, stored)},
		"fenced by air": {op(1, a, stored), op(3, b, fenced)},
		"a stale read":  {op(1, a, stored), op(3, b, stored), op(5, action{}, "a")},
	} {
		if porcupine.CheckOperations(appendRegister, h) {
			t.Errorf("%s: accepted", name)
		}
	}
	if !porcupine.CheckOperations(appendRegister, []porcupine.Operation{op(1, a, unknown), op(3, action{}, "a"), op(5, b, stored)}) {
		t.Error("an append that was stored though nobody knew is refused")
	}
}
