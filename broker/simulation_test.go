package broker_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/model"
	"github.com/midstream-dev/midstream/schema"
)

// Whatever a few workers do to one log, in whatever order, the broker and its model say the same and hold the same.
func TestLog_AgreesWithItsModel(t *testing.T) {
	t.Parallel()
	embedded, round := openEmbedded(t), 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		m := &machine{
			T: r, test: t, sides: [2]log{modelLog{model.New()}, embedded}, cmd: newCommand(fmt.Sprintf("resp_round_%d", round)),
			writers: make(map[string]*pair),
		}
		r.Repeat(map[string]func(*rapid.T){
			"begin": m.begin, "open": m.open, "append": m.append, "commit": m.commit, "seal": m.seal, "close": m.close,
		})
		m.check() // at the end, since a log only grows
		for _, w := range m.writers {
			w.sides[0].Close()
			w.sides[1].Close()
		}
	})
}

// machine drives both sides in step.
type machine struct {
	*rapid.T
	test    *testing.T
	sides   [2]log
	cmd     *schema.Command
	writers map[string]*pair
	opened  int
}

// pair is one worker's writer on both sides, the number that it believes to be due, and how many records it knows of.
type pair struct {
	sides [2]writer
	due   int64
	seen  int
}

// both runs one action on both sides, which must answer alike.
func (m *machine) both(what string, run func(side int) error) error {
	var errs [2]error
	for side := range errs {
		errs[side] = class(run(side))
	}
	if errs[0] != errs[1] {
		m.Fatalf("%s: the model says %v, the broker %v", what, errs[0], errs[1])
	}
	return errs[0]
}

// class is the sentinel that a caller would branch on.
func class(err error) error {
	for _, c := range []error{broker.ErrFenced, broker.ErrExists, broker.ErrNotFound, broker.ErrOrder, broker.ErrClosed} {
		if errors.Is(err, c) {
			return c
		}
	}
	return err
}

func (m *machine) begin(r *rapid.T) {
	cmd := *m.cmd
	cmd.CreatedAt += rapid.Int64Range(0, 1).Draw(r, "command")
	rec, err := cmd.RequestRecord()
	if err != nil {
		m.Fatal(err)
	}
	_ = m.both("begin", func(side int) error { return m.sides[side].Begin(within(m.test), rec, cmd.Ref()) })
}

func (m *machine) open(*rapid.T) {
	nonce := fmt.Sprintf("n%d", m.opened)
	m.opened++
	p := new(pair)
	err := m.both("open", func(side int) (err error) {
		p.sides[side], err = m.sides[side].Writer(within(m.test), m.cmd.Ref(), m.opened, nonce)
		return err
	})
	if err == nil {
		log := m.log()
		p.due, p.seen = log[len(log)-1].Last+1, len(log)
		m.writers[nonce] = p
	}
}

func (m *machine) log() []schema.Record {
	records, err := m.sides[0].Read(within(m.test), m.cmd.Ref())
	if err != nil {
		m.Fatal(err)
	}
	return records
}

// fenced reports whether somebody else has written since p. Its writer may have been told of it already, or not yet.
func (m *machine) fenced(p *pair) bool { return p.seen != len(m.log()) }

func (m *machine) wrote(p *pair, events int64) {
	p.due, p.seen = p.due+events, len(m.log())
}

func (m *machine) pick(r *rapid.T) *pair {
	if len(m.writers) == 0 {
		r.Skip("no writer")
	}
	var names []string
	for n := range m.opened {
		if name := fmt.Sprintf("n%d", n); m.writers[name] != nil {
			names = append(names, name)
		}
	}
	return m.writers[rapid.SampledFrom(names).Draw(r, "writer")]
}

// append and flush are one action: without the flush it is open whether another writer's claim comes first.
func (m *machine) append(r *rapid.T) {
	p, n := m.pick(r), rapid.Int64Range(1, 40).Draw(r, "events")
	skip := int64(0)
	if rapid.IntRange(0, 9).Draw(r, "wrong") == 0 && !m.fenced(p) {
		skip = rapid.Int64Range(-1, 1).Draw(r, "by")
	}
	err := m.both("append", func(side int) error {
		if err := p.sides[side].Append(within(m.test), tokens(p.due+skip, p.due+skip+n-1)...); err != nil {
			return err
		}
		return p.sides[side].Flush(within(m.test))
	})
	if err == nil {
		m.wrote(p, n)
	}
}

func (m *machine) commit(r *rapid.T) {
	p, n := m.pick(r), rapid.Int64Range(0, 3).Draw(r, "events")
	kind := rapid.SampledFrom([]schema.Kind{schema.RecordClaim, schema.RecordTurn, schema.RecordResult}).Draw(r, "kind")
	body := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(r, "body")
	err := m.both("commit", func(side int) error {
		return p.sides[side].Commit(within(m.test), kind, body, tokens(p.due, p.due+n-1)...)
	})
	if err == nil {
		m.wrote(p, n)
	}
}

// A seal by a writer that was fenced is left out: whether it has been told yet is open.
func (m *machine) seal(r *rapid.T) {
	p := m.pick(r)
	if m.fenced(p) {
		r.Skip("fenced")
	}
	_ = m.both("seal", func(side int) error { return p.sides[side].Seal(within(m.test), false) })
}

func (m *machine) close(r *rapid.T) {
	p := m.pick(r)
	p.sides[0].Close()
	p.sides[1].Close()
	for name, w := range m.writers {
		if w == p {
			delete(m.writers, name)
		}
	}
}

// check compares what readers and owners see; how events are grouped is no promise.
func (m *machine) check() {
	var views [2][]string
	_ = m.both("read", func(side int) error {
		records, err := m.sides[side].Read(within(m.test), m.cmd.Ref())
		views[side] = served(records)
		for _, r := range records {
			if r.Kind != schema.RecordEvents {
				views[side] = append(views[side], fmt.Sprintf("%s %d-%d %d %s %q", r.Kind, r.First, r.Last, r.Attempt, r.Nonce, r.Body))
			}
		}
		return err
	})
	if diff := cmp.Diff(views[0], views[1]); diff != "" {
		m.Fatalf("model and broker differ:\n%s", diff)
	}
}
