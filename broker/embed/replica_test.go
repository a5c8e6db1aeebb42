package embed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// await waits for a condition that nothing announces.
func await(t *testing.T, what string, patience time.Duration, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// probe asks as a load balancer does.
func probe(t *testing.T, b *broker.Broker) error {
	t.Helper()
	const limit = 2 * time.Second
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := b.Ready(ctx)
	if took := time.Since(began); took > limit+limit/2 {
		t.Errorf("the answer took %s", took)
	}
	return err
}

// With two of three servers gone a node is not ready, each probe is answered in time, and nobody is told that a response is
// not there: the server that is left does not know. When they are back it is ready.
func TestReady_WithoutAMajority(t *testing.T) {
	t.Parallel()
	c := mustCluster(t)
	b := mustOpen(t, c.urls())
	w, ref := mustBegin(t, b, "resp_ready")
	await(t, "the node to be ready", time.Minute, func() bool { return probe(t, b) == nil })
	if _, err := b.Read(within(t), other(t)); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}

	c.stop(0)
	c.stop(1)
	gone := time.Now()
	await(t, "the node to be not ready", 10*time.Second, func() bool { return probe(t, b) != nil })
	t.Logf("not ready %s after the second server", time.Since(gone).Round(time.Millisecond))
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); {
		if probe(t, b) == nil {
			t.Fatal("ready without a majority")
		}
	}
	for _, r := range []schema.Ref{other(t), ref} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := b.Read(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s without a majority: %v", r, err)
		}
		if _, err := b.Follow(ctx, r, -1); err == nil || errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrExpired) {
			t.Errorf("follow %s without a majority: %v", r, err)
		}
		cancel()
	}

	c.start(0)
	back := time.Now()
	await(t, "the node to be ready again", time.Minute, func() bool { return probe(t, b) == nil })
	t.Logf("ready %s after a server was back", time.Since(back).Round(time.Millisecond))
	must(t, w.Commit(within(t), schema.RecordEvents, nil, delta(1)))
}

func other(t *testing.T) schema.Ref {
	t.Helper()
	ref, err := schema.NewRef("t1", "resp_other")
	must(t, err)
	return ref
}

func delta(n int64) schema.Event {
	text := fmt.Sprintf("token %d %s", n, strings.Repeat("x", 4000))
	return schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &text}
}

// After bits of its store have turned while it was down, a server comes back without a part of the log, takes part as if it
// were whole, and is never mended. Its gaps reach no reader, and the operator is told which server it is.
func TestReplica_Damaged(t *testing.T) {
	t.Parallel()
	c := mustCluster(t)
	small := func(cfg *broker.Config) { cfg.LogBytes = 64 << 20 } // blocks of the store are of 4 MiB then
	b := mustOpen(t, c.urls(), small)
	w, ref := mustBegin(t, b, "resp_rot")
	const events = 3000
	for n := int64(1); n <= events; n++ {
		must(t, w.Append(within(t), delta(n)))
	}
	must(t, w.Flush(within(t)))
	want, err := b.Read(within(t), ref)
	must(t, err)

	const victim = 1
	c.stop(victim)
	rot(t, c.options[victim].StoreDir)
	c.start(victim)
	watching, metrics := watch(t, c, small)
	await(t, "the damage to be found", time.Minute, func() bool { return lacking(t, metrics) == "n1 MS_LOG_0; " })
	// A server that is back takes its part in batched reads some time after it is current.
	await(t, "a reader to meet a gap", time.Minute, func() bool {
		for i := range c.servers {
			mustAgree(t, watching[i], ref, want)
		}
		return sum(t, metrics, "midstream_replica_reads_mended_total") > 0
	})
	if found := failures(t, c, small); len(found) != 1 || !strings.Contains(found[0], "drift: MS_LOG_0 on n1 lacks") {
		t.Errorf("a check of the installation fails with %q", found)
	}
	lead(t, c, victim)
	for i := range c.servers {
		mustAgree(t, watching[i], ref, want)
	}
}

// failures is what `midstream doctor` fails with.
func failures(t *testing.T, c *cluster, change func(*broker.Config)) (all []string) {
	t.Helper()
	cfg := broker.Config{
		URL: c.urls(), Partitions: 1, Replicas: 3, SecretKey: bytes.Repeat([]byte{7}, 32), Monitor: c.monitors(), WatchDoubt: 2 * time.Second,
	}
	change(&cfg)
	broker.Examine(within(t), cfg, func(f broker.Finding) {
		if f.Verdict == broker.VerdictFail {
			all = append(all, f.Check+": "+f.Detail)
		}
	})
	return all
}

// mustAgree reads and follows the log on one node, several times: another replica may answer each.
func mustAgree(t *testing.T, b *broker.Broker, ref schema.Ref, want *broker.History) {
	t.Helper()
	last := want.Records[len(want.Records)-1]
	for range 5 {
		got, err := b.Read(within(t), ref)
		must(t, err)
		if n := len(got.Records); n != len(want.Records) || got.Records[n-1].Chain != last.Chain {
			t.Errorf("%d records, not %d", n, len(want.Records))
		}
	}
	follower, err := b.Follow(within(t), ref, -1)
	must(t, err)
	defer follower.Close()
	for follower.Seq() < last.Last {
		_, err := follower.Next(within(t))
		must(t, err)
	}
}

// lead makes a server the leader of the log.
func lead(t *testing.T, c *cluster, i int) {
	t.Helper()
	nc, err := nats.Connect(c.urls())
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	await(t, c.options[i].ServerName+" to lead", time.Minute, func() bool {
		if s, err := js.Stream(t.Context(), "MS_LOG_0"); err == nil && s.CachedInfo().Cluster.Leader == c.options[i].ServerName {
			return true
		}
		_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.MS_LOG_0",
			fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, c.options[i].ServerName), time.Second)
		return false
	})
}

// rot turns bits in the middle of each block of the log but the last.
func rot(t *testing.T, store string) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(store, "jetstream", "*", "streams", "MS_LOG_0", "msgs", "*.blk"))
	must(t, err)
	slices.SortFunc(blocks, func(a, b string) int { return len(a) - len(b) })
	if len(blocks) < 2 {
		t.Fatalf("%d blocks: this test shows nothing", len(blocks))
	}
	for _, block := range blocks[:len(blocks)-1] {
		data, err := os.ReadFile(block)
		must(t, err)
		for i := range 64 {
			data[len(data)/2+i] ^= 0xff
		}
		must(t, os.WriteFile(block, data, 0o600))
	}
	// The index, which a clean stop leaves behind, would hide the damage until somebody reads there; kill -9 leaves none.
	must(t, os.RemoveAll(filepath.Join(filepath.Dir(blocks[0]), "index.db")))
}

// watch opens a node on each server; the first one looks at the replicas of all.
func watch(t *testing.T, c *cluster, change func(*broker.Config)) (nodes []*broker.Broker, metrics *prometheus.Registry) {
	t.Helper()
	metrics = prometheus.NewRegistry()
	for i := range c.servers {
		nodes = append(nodes, mustOpen(t, c.url(i), change, func(cfg *broker.Config) {
			cfg.Monitor, cfg.WatchEvery, cfg.WatchDoubt = c.monitors(), 100*time.Millisecond, 2*time.Second
			cfg.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"from": strconv.Itoa(i)}, metrics)
		}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { must(t, nodes[0].WatchReplicas(ctx)) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return nodes, metrics
}

// lacking says which servers lack something, of which stream.
func lacking(t *testing.T, metrics *prometheus.Registry) string {
	t.Helper()
	var out strings.Builder
	each(t, metrics, "midstream_replica_missing_messages", func(m *dto.Metric) {
		if m.GetGauge().GetValue() > 0 {
			fmt.Fprintf(&out, "%s %s; ", m.GetLabel()[1].GetValue(), m.GetLabel()[2].GetValue())
		}
	})
	return out.String()
}

func sum(t *testing.T, metrics *prometheus.Registry, name string) (n float64) {
	t.Helper()
	each(t, metrics, name, func(m *dto.Metric) { n += m.GetCounter().GetValue() })
	return n
}

func each(t *testing.T, metrics *prometheus.Registry, name string, see func(*dto.Metric)) {
	t.Helper()
	families, err := metrics.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				see(m)
			}
		}
	}
}
