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

// cluster is three servers; the tests that need one live here because nothing else may know the server.
type cluster struct {
	testing.TB
	options []*server.Options
	servers []*server.Server
}

func mustCluster(t *testing.T) *cluster {
	t.Helper()
	c := planCluster(t)
	c.startAll()
	return c
}

// planCluster says how the servers will run.
func planCluster(t *testing.T) *cluster {
	t.Helper()
	const size = 3
	ports := freePorts(t, 2*size)
	var routes []*url.URL
	for _, port := range ports[:size] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	c := &cluster{TB: t, servers: make([]*server.Server, size)}
	for i := range size {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: ports[size+i], NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: schema.MaxPayload, Routes: routes,
			Cluster:  server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
			HTTPHost: "127.0.0.1", HTTPPort: -1,
		})
	}
	return c
}

// startAll starts the servers, and waits until clients can connect to each.
func (c *cluster) startAll() {
	c.Helper()
	for i := range c.servers {
		c.start(i)
		c.Cleanup(func() { c.stop(i) })
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(30 * time.Second) {
			c.Fatal("server does not start")
		}
	}
}

func (c *cluster) start(i int) {
	c.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	must(c, err)
	s.Start()
	c.servers[i] = s
}

func (c *cluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

func (c *cluster) url(i int) string {
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.options[i].Port))
}

func (c *cluster) urls() string { return strings.Join([]string{c.url(0), c.url(1), c.url(2)}, ",") }

// monitors are where the servers tell of themselves; a restart gives a server another port.
func (c *cluster) monitors() (all []string) {
	for _, s := range c.servers {
		all = append(all, "http://"+s.MonitorAddr().String())
	}
	return all
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

func mustOpen(t *testing.T, url string, change ...func(*broker.Config)) *broker.Broker {
	t.Helper()
	cfg := broker.Config{URL: url, Partitions: 1, Replicas: 3, SecretKey: bytes.Repeat([]byte{7}, 32)}
	for _, f := range change {
		f(&cfg)
	}
	b, err := broker.Open(within(t), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, b.Close(context.Background())) })
	return b
}

// mustBegin makes a log, and its writer.
func mustBegin(t *testing.T, b *broker.Broker, response string) (*broker.Writer, schema.Ref) {
	t.Helper()
	cmd := &schema.Command{
		Version: schema.FormatVersion, Tenant: "t1", Response: response, CreatedAt: 1, Digest: strings.Repeat("0", 64),
		Request: []byte(`{"model":"m","input":"hello"}`),
	}
	rec, err := cmd.RequestRecord()
	must(t, err)
	must(t, b.Begin(within(t), rec, cmd.Ref()))
	h, err := b.Read(within(t), cmd.Ref())
	must(t, err)
	w := b.Writer(h, 1, "n1")
	t.Cleanup(w.Close)
	return w, cmd.Ref()
}

// On three replicas, with the leader sent away again and again, every event is in the log once, every node reads the same,
// and the response is sealed.
func TestBroker_OnACluster(t *testing.T) {
	t.Parallel()
	c := mustCluster(t)
	b := mustOpen(t, c.urls())
	w, ref := mustBegin(t, b, "resp_cluster")

	nc, err := nats.Connect(c.url(0))
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
	for i := range c.servers {
		got, err := mustOpen(t, c.url(i)).Read(within(t), ref)
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
	c := mustCluster(t)
	b := mustOpen(t, c.urls())
	must(t, b.Ready(within(t)))
	for _, s := range c.servers[:2] {
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
	c := planCluster(t)
	c.options[2].JetStreamMaxStore = 1 << 20
	c.startAll()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	opened := make(chan error, 1)
	var log lines
	go func() {
		b, err := broker.Open(within(t), broker.Config{
			URL: c.url(0), Partitions: 1, Replicas: 3, SecretKey: bytes.Repeat([]byte{7}, 32), Logger: slog.New(slog.NewTextHandler(&log, nil)),
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
	c.stop(2)
	c.options[2].JetStreamMaxStore = 0
	c.start(2)
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
