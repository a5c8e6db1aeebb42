package broker

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/schema"
)

const testUser, testPassword = "midstream", "only for tests"

// mustServe starts a NATS server of its own on a loopback port; the port stays the same over restarts.
func mustServe(tb testing.TB, dir, listen string) *embed.Server {
	tb.Helper()
	s, err := embed.Start(embed.Config{
		Dir: dir, Sync: time.Minute, Listen: listen, User: testUser, Password: testPassword, MaxPayload: schema.MaxPayload,
	})
	must(tb, err)
	return s
}

func mustStop(tb testing.TB, s *embed.Server) {
	tb.Helper()
	must(tb, s.Stop(testContext(tb)))
}

func host(tb testing.TB, s *embed.Server) string {
	tb.Helper()
	u, err := url.Parse(s.URL())
	must(tb, err)
	return u.Host
}

func external(address string) func(*Config) {
	return func(c *Config) {
		c.URL, c.User, c.Password = "nats://"+address, testUser, testPassword
		c.DataDir, c.SyncInterval, c.SecretKey = "", 0, bytes.Repeat([]byte{7}, keyBytes)
	}
}

// A writer outlives a restart of the server: what it was given before, meanwhile and after is in the log once.
func TestWriter_OutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustServe(t, dir, "127.0.0.1:0")
	address := host(t, s)
	b := mustOpen(t, external(address))
	h := mustBegin(t, b, "resp_restart")
	w := mustWriter(t, b, h, 1, "n1")
	for n := int64(1); n < 100; n++ {
		must(t, w.Append(testContext(t), delta(n)))
	}
	mustStop(t, s)
	for n := int64(100); n < 200; n++ {
		must(t, w.Append(testContext(t), delta(n)))
	}
	s = mustServe(t, dir, address)
	t.Cleanup(func() { mustStop(t, s) })
	must(t, w.Append(testContext(t), delta(200)))
	must(t, w.Flush(testContext(t)))
	if got := mustRead(t, b, h.Ref).Records; got[len(got)-1].Last != 200 {
		t.Errorf("the log ends at %d", got[len(got)-1].Last)
	}
}

// While NATS is away a writer takes in what its buffer holds and not more; then Append waits.
func TestWriter_BoundsWhatItHolds(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	b := mustOpen(t, external(host(t, s)))
	w := mustWriter(t, b, mustBegin(t, b, "resp_bound"), 1, "n1")
	mustStop(t, s)
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	text := string(bytes.Repeat([]byte("x"), 32<<10))
	var err error
	for n := int64(1); err == nil; n++ {
		err = w.Append(ctx, schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &text})
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue.bytes < maxBuffered || w.queue.bytes > maxBuffered+64<<10 {
		t.Errorf("holds %d bytes, bound %d", w.queue.bytes, maxBuffered)
	}
}

// An acknowledgement that is lost is found out: the record that it was for is stored once, and the writer goes on.
func TestWriter_ResolvesLostAcknowledgements(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	p := mustProxy(t, host(t, s))
	registry := prometheus.NewRegistry()
	b := mustOpen(t, external(p.address()), func(c *Config) { c.Metrics = registry })
	h := mustBegin(t, b, "resp_lossy")
	w := mustWriter(t, b, h, 1, "n1")
	const events = 600
	for n := int64(1); n <= events; n++ {
		if n%50 == 0 {
			must(t, w.Flush(testContext(t)))
			p.swallow() // the answer to the next append is lost, and the connection with it
		}
		must(t, w.Append(testContext(t), delta(n)))
	}
	must(t, w.Flush(testContext(t)))
	if got := mustRead(t, b, h.Ref).Records; got[len(got)-1].Last != events {
		t.Errorf("the log ends at %d, not %d", got[len(got)-1].Last, events)
	}
	if n := counted(t, registry, "midstream_append_retries_total", "10071"); n == 0 {
		t.Error("no append was ever in doubt: this test shows nothing")
	}
}

// counted reads one counter.
func counted(tb testing.TB, r *prometheus.Registry, name, label string) (n float64) {
	tb.Helper()
	families, err := r.Gather()
	must(tb, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
