package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/broker/embed"
)

// examine returns the findings, one a line.
func examine(tb testing.TB, change ...func(*Config)) string {
	tb.Helper()
	var cfg Config
	for _, f := range change {
		f(&cfg)
	}
	var out strings.Builder
	Examine(testContext(tb), cfg, func(f Finding) { fmt.Fprintf(&out, "%s %s: %s → %s\n", f.Verdict, f.Check, f.Detail, f.Do) })
	return out.String()
}

func mustTellOf(tb testing.TB, findings string, want ...string) {
	tb.Helper()
	for _, line := range want {
		if !strings.Contains(findings, line) {
			tb.Errorf("nothing of %q in:\n%s", line, findings)
		}
	}
	if strings.Contains(findings, testPassword) {
		tb.Errorf("a password in:\n%s", findings)
	}
}

// An installation in order has no failure; what nobody can see is a warning.
func TestExamine(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	address := external(host(t, s))
	b := mustOpen(t, address)
	o := mustTell(t, b, "resp_told", 5)
	must(t, o.w.Seal(testContext(t), true))
	must(t, b.Enqueue(testContext(t), command("resp_waits"), []byte("CANARY")))
	got := examine(t, address)
	if strings.Contains(got, "fail ") || strings.Contains(got, "CANARY") {
		t.Errorf("of an installation in order:\n%s", got)
	}
	mustTellOf(t, got, "ok nats: ", "ok max_payload: ", "ok secret key: ", "warn sync: unknown", "ok streams: 8 streams of 2 partitions", "ok leaders: ",
		"ok replicas: ", "ok room: ", "warn store: unknown", "ok clock: ", "warn queue: 1 waiting, 0 worked at", "ok drift: ", "ok logs: 1 read")
}

// Where no node has been yet, that is told, and nothing is made: neither streams nor files.
func TestExamine_MakesNothing(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	mustTellOf(t, examine(t, external(host(t, s))), "fail streams: ")
	nc, err := nats.Connect(s.URL(), nats.UserInfo(testUser, testPassword))
	must(t, err)
	defer nc.Close()
	for name := range mustJetStream(nc).StreamNames(testContext(t)).Name() {
		t.Errorf("stream %s was made", name)
	}
	dir := t.TempDir() + "/absent"
	mustTellOf(t, examine(t, func(c *Config) { c.DataDir = dir }), "fail data: "+dir+": there is no log")
	mustTellOf(t, examine(t, external("127.0.0.1:1")), "fail nats: ")
}

// What would not keep our promises is named: another setting of a stream, a stream that is missing, a finished response that
// nobody will seal, a hole in a log.
func TestExamine_NamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	address := func(c *Config) { external(host(t, s))(c); c.Partitions = 1 }
	b := mustOpen(t, address)
	o := mustOwn(t, b, mustBegin(t, b, "resp_unsealed").Ref, "n1")
	o.w.now = func() time.Time { return time.Now().Add(-time.Hour) }
	o.finish()
	o.w.Close()
	js := b.js
	control, err := js.Stream(testContext(t), controlStream)
	must(t, err)
	changed := control.CachedInfo().Config
	changed.MaxMsgsPerSubject = 7
	_, err = js.UpdateStream(testContext(t), changed)
	must(t, err)
	must(t, js.DeleteStream(testContext(t), ingestStream))
	got := examine(t, address, func(c *Config) { c.LogBytes, c.SecretKey = 1<<30, bytes.Repeat([]byte{8}, keyBytes) })
	mustTellOf(t, got, "fail streams: MS_CONTROL: keeps 7 messages a subject, not 1", "fail streams: MS_INGEST: ",
		"warn streams: MS_LOG_0: 4GiB, configured 1GiB", "fail secret key: ", "fail logs: resp_unsealed: has ended, is not sealed")
	if info, err := js.Stream(testContext(t), "MS_LOG_0"); err != nil || info.CachedInfo().Config.MaxBytes == 1<<30 {
		t.Errorf("a stream was changed: %v", err)
	}
}

// A data directory that a node holds is looked at through the node, if it listens.
func TestExamine_Held(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := embed.Start(embed.Config{Dir: dir, Listen: "127.0.0.1:0", User: testUser, Password: testPassword, MaxPayload: 8 << 20})
	must(t, err)
	held := func(c *Config) { c.DataDir = dir }
	mustTellOf(t, examine(t, held), "warn data: "+dir+": a node holds it")
	mustTellOf(t, examine(t, held, func(c *Config) { c.Listen, c.User, c.Password = host(t, s), testUser, testPassword }),
		"ok data: "+dir+": a node holds it; asking", "ok nats: ")
	mustStop(t, s)
	mustTellOf(t, examine(t, held), "ok data: "+dir+": no node runs", "ok sync: ")
}

// Streams that are told of together are told of shortly.
func TestExamine_NamesOfStreams(t *testing.T) {
	t.Parallel()
	got := namesOf([]string{"MS_RUNS", "MS_LOG_0", "MS_ARCHIVE_3", "MS_LOG_1", "MS_LOG_15"})
	if want := "MS_RUNS, MS_LOG_* (3), MS_ARCHIVE_3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
