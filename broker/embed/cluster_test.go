package embed_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// mustCluster runs three servers as one cluster; the test lives here because nothing else may know the server.
func mustCluster(t *testing.T) (servers []*server.Server, urls []string) {
	t.Helper()
	return mustStart(t, plan(t)...)
}

// plan says how three servers run that are one cluster.
func plan(t *testing.T) (all []*server.Options) {
	t.Helper()
	ports := freePorts(t, 3)
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	for i, port := range ports {
		all = append(all, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: schema.MaxPayload, Routes: routes,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
		})
	}
	return all
}

func mustStart(t *testing.T, plan ...*server.Options) (servers []*server.Server, urls []string) {
	t.Helper()
	for _, opts := range plan {
		s, err := server.NewServer(opts.Clone()) // the server writes into its own
		must(t, err)
		s.Start()
		servers = append(servers, s)
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
	}
	for _, s := range servers {
		if !s.ReadyForConnections(30 * time.Second) {
			t.Fatal("server does not start")
		}
		urls = append(urls, s.ClientURL())
	}
	return servers, urls
}

// freePorts takes so many ports at once, so that they differ, and gives them back.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func mustOpen(t *testing.T, url string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(within(t), broker.Config{URL: url, Partitions: 1, Replicas: 3, SecretKey: bytes.Repeat([]byte{7}, 32)})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close(context.Background())) })
	return b
}

// On three replicas, with the leader sent away again and again, every event is in the log once, every node reads the same,
// and the response is sealed.
func TestBroker_OnACluster(t *testing.T) {
	t.Parallel()
	_, urls := mustCluster(t)
	b := mustOpen(t, strings.Join(urls, ","))
	cmd := &schema.Command{
		Version: schema.FormatVersion, Tenant: "t1", Response: "resp_cluster", CreatedAt: 1, Digest: strings.Repeat("0", 64),
		Request: []byte(`{"model":"m","input":"hello"}`),
	}
	rec, err := cmd.RequestRecord()
	must(t, err)
	must(t, b.Begin(within(t), rec, cmd.Ref()))
	h, err := b.Read(within(t), cmd.Ref())
	must(t, err)
	w := b.Writer(h, 1, "n1")
	t.Cleanup(w.Close)

	nc, err := nats.Connect(urls[0])
	must(t, err)
	defer nc.Close()
	const events = 300
	for n := int64(1); n <= events; n++ {
		if n%60 == 0 {
			// An error is an election that still goes on: as good.
			_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.MS_LOG_0", nil, 5*time.Second)
		}
		text := fmt.Sprintf("token %d", n)
		must(t, w.Commit(within(t), schema.RecordEvents, nil, schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &text}))
	}
	must(t, w.Seal(within(t), true))
	for _, url := range urls {
		got, err := mustOpen(t, url).Read(within(t), cmd.Ref())
		must(t, err)
		if n := len(got.Records); n != events+1 || got.Records[n-1].Last != events {
			t.Errorf("%d records up to %d", n, got.Records[n-1].Last)
		}
	}
}

// Two servers of three that are there but keep nothing any more, as with a full disk, are no quorum: Ready says so. It
// once took any answer about a stream for a leader's, and the server that was left gives one.
func TestBroker_NotReadyWithoutLeaders(t *testing.T) {
	t.Parallel()
	servers, urls := mustCluster(t)
	b := mustOpen(t, strings.Join(urls, ","))
	must(t, b.Ready(within(t)))
	for _, s := range servers[:2] {
		must(t, s.DisableJetStream())
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); ; {
		if err := b.Ready(ctx); ctx.Err() != nil {
			t.Fatal("still ready")
		} else if err != nil {
			return
		}
		<-tick.C
	}
}

// A cluster that starts does not have all of its servers, or all of their room, at once: a node that comes too early waits for
// them, and says so, since a stream of three replicas has no place yet. It once ended with an error.
func TestBroker_WaitsForAPlace(t *testing.T) {
	t.Parallel()
	plan := plan(t)
	plan[2].JetStreamMaxStore = 1 << 20
	servers, urls := mustStart(t, plan...)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	opened := make(chan error, 1)
	var log lines
	go func() {
		b, err := broker.Open(within(t), broker.Config{
			URL: urls[0], Partitions: 1, Replicas: 3, SecretKey: bytes.Repeat([]byte{7}, 32), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err == nil {
			err = b.Close(context.Background())
		}
		opened <- err
	}()
	for ctx := within(t); !log.contain("no suitable peers"); <-tick.C {
		if ctx.Err() != nil || len(opened) > 0 {
			t.Fatalf("the node does not say what it waits for: %s", log.text.String())
		}
	}
	servers[2].Shutdown()
	servers[2].WaitForShutdown()
	plan[2].JetStreamMaxStore = 0
	mustStart(t, plan[2])
	must(t, <-opened)
}

// lines is a log. Safe for concurrent use.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) contain(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}
