package broker

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// A record that is not what was written behind the one before it is named, and nothing behind it is believed.
func TestRead_NamesTheDamagedRecord(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	for name, damage := range map[string]func(*schema.Record){
		"chain":     func(r *schema.Record) { r.Chain[0]++ },
		"frames":    func(r *schema.Record) { r.Frames = append(r.Frames, ' ') },
		"body":      func(r *schema.Record) { r.Body = []byte(`{"node":"b"}`) },
		"nonce":     func(r *schema.Record) { r.Nonce += "x" },
		"hole":      func(r *schema.Record) { r.First, r.Last = 2, 2; reseal(t, b, r) },
		"two heads": func(r *schema.Record) { r.Kind = schema.RecordRequest; reseal(t, b, r) },
	} {
		h := mustBegin(t, b, "resp_"+strings.ReplaceAll(name, " ", ""))
		rec := claimBy(t, h, "n1")
		damage(&rec)
		mustSlip(t, b, h, rec)
		_, err := b.Read(testContext(t), h.Ref)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Record != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A log without its head, or with something in it that is no record, is damaged too.
func TestRead_RefusesWhatIsNoLog(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	headless := &History{Ref: mustRef(t, "resp_headless"), Records: []schema.Record{{Chain: schema.Genesis(mustRef(t, "resp_headless")), Last: 0}}}
	mustSlip(t, b, headless, claimBy(t, headless, "n1"))
	noise := mustRef(t, "resp_noise")
	p, err := locate(noise, b.partitions)
	must(t, err)
	_, err = b.append(testContext(t), &message{
		stream: p.logStream(), subject: p.log(), header: nats.Header{headerVersion: {"2"}}, data: []byte("{}"),
		mine: func(*stored) bool { return false },
	})
	must(t, err)
	for _, ref := range []schema.Ref{headless.Ref, noise} {
		var corrupt *CorruptError
		if _, err := b.Read(testContext(t), ref); !errors.As(err, &corrupt) || corrupt.Record != 0 {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// Behind a record that is none, readers are cut like behind any other damage, and do not wait for ever.
func TestFollow_CutsBehindWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Hub.HolePatience = 50 * time.Millisecond })
	h := mustBegin(t, b, "resp_noise")
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	_, err = b.append(testContext(t), &message{
		stream: p.logStream(), subject: p.log(), header: nats.Header{headerVersion: {"2"}}, data: []byte("{}"), expect: h.position,
		mine: func(*stored) bool { return false },
	})
	must(t, err)
	f, err := b.Follow(testContext(t), h.Ref, -1)
	must(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Next(testContext(t))
	}
	if !errors.Is(err, hub.ErrCut) {
		t.Errorf("the reader got %v", err)
	}
}

// reseal makes the record's own digest right, so that only the rule under test is broken.
func reseal(tb testing.TB, b *Broker, r *schema.Record) {
	tb.Helper()
	cmd := command("resp_" + map[schema.Kind]string{schema.RecordClaim: "hole", schema.RecordRequest: "twoheads"}[r.Kind])
	first, err := cmd.RequestRecord()
	must(tb, err)
	r.Seal(first.Chain)
}

// FuzzRecord: headers and payload from anywhere are read or refused, and what is read is written back the same.
func FuzzRecord(f *testing.F) {
	f.Add("1", "claim", "1", "1", "1", "n1", "a=1,b=2", "2", strings.Repeat("0", 64), "1700000000000", []byte("frame{}"))
	f.Add("1", "events", "0", "-1", "0", "", "", "0", strings.Repeat("f", 64), "0", []byte{})
	f.Add("1", "x", "9223372036854775807", "-9223372036854775808", "1", "", "=", "-1", "", "", []byte("x"))
	f.Fuzz(func(t *testing.T, version, kind, first, last, attempt, nonce, taken, body, chain, at string, payload []byte) {
		e, err := decode(nats.Header{
			headerVersion: {version}, headerKind: {kind}, headerFirst: {first}, headerLast: {last}, headerAttempt: {attempt},
			headerNonce: {nonce}, headerTaken: {taken}, headerBody: {body}, headerChain: {chain}, headerTime: {at},
		}, payload)
		if err != nil {
			return
		}
		header, data := e.encode()
		again, err := decode(header, data)
		if err != nil || string(data) != string(payload) || again.Chain != e.Chain || again.First != e.First || again.Last != e.Last {
			t.Fatalf("%v: read %+v, written and read %+v", err, e.Record, again.Record)
		}
	})
}

// FuzzLift: an archive from anywhere is read or refused.
func FuzzLift(f *testing.F) {
	e := entry{Record: schema.Record{Kind: schema.RecordEvents, Frames: []byte("frames"), Body: []byte("body")}}
	raw, err := lay([]entry{e})
	must(f, err)
	f.Add(raw)
	f.Add(raw[:9])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for rest := raw; len(rest) > 0; {
			_, tail, err := lift(rest)
			if err != nil {
				return
			}
			if len(tail) >= len(rest) {
				t.Fatal("nothing was read")
			}
			rest = tail
		}
	})
}
