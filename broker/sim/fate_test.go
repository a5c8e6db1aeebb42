package sim_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/broker/sim"
)

// once is a Director by which one kind of operation meets a fate, the first time.
type once struct {
	kind sim.OpKind
	fate sim.Fate
	done bool
}

func (o *once) Fate(op sim.Op) sim.Fate {
	if op.Kind != o.kind || o.done {
		return sim.Fate{}
	}
	o.done = true
	return o.fate
}

func (*once) Stored(sim.Message) {}

// client is a connection to a simulated server with a log and a queue.
type client struct {
	*testing.T
	server *sim.Server
	link   *sim.Link
	nc     *nats.Conn
	js     jetstream.JetStream
	jobs   jetstream.Consumer
}

// bubble runs a test in virtual time. The client does not reconnect: what its library keeps for that in a pool of the
// process would end up in another bubble.
func bubble(t *testing.T, d sim.Director, test func(*client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(d)
		c := &client{T: t, server: s, link: s.NewLink("client")}
		c.nc = c.dial(c.link)
		c.js = c.must(jetstream.New(c.nc)).(jetstream.JetStream)
		for _, cfg := range []jetstream.StreamConfig{
			{Name: "LOG", Subjects: []string{"log.*"}, Discard: jetstream.DiscardNew, AllowDirect: true},
			{Name: "RUNS", Subjects: []string{"run.*"}, Discard: jetstream.DiscardNew, Retention: jetstream.WorkQueuePolicy},
		} {
			c.must(c.js.CreateStream(t.Context(), cfg))
		}
		c.jobs = c.must(c.js.CreateOrUpdateConsumer(t.Context(), "RUNS", jetstream.ConsumerConfig{
			Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 6 * time.Second, MaxDeliver: -1,
		})).(jetstream.Consumer)
		test(c)
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

func (c *client) dial(l *sim.Link) *nats.Conn {
	c.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(link{l}), nats.NoReconnect())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(nc.Close)
	return nc
}

func (c *client) must(v any, err error) any {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
	return v
}

// put appends with an expectation, and waits for the answer for 2 s.
func (c *client) put(subject, expect string) error {
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
	defer cancel()
	msg := &nats.Msg{Subject: subject, Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": {expect}}}
	_, err := c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	return err
}

// take returns the next job, or nil if none comes within 1 s.
func (c *client) take() jetstream.Msg {
	c.Helper()
	batch := c.must(c.jobs.Fetch(1, jetstream.FetchMaxWait(time.Second))).(jetstream.MessageBatch)
	return <-batch.Messages()
}

func code(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	return 0
}

// A write whose answer is lost is stored all the same: the same write again is refused.
func TestFate_AnswerLost(t *testing.T) {
	bubble(t, &once{kind: sim.Publish, fate: sim.Fate{Mute: true}}, func(c *client) {
		if err := c.put("log.a", "0"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := c.put("log.a", "0"); code(err) != 10071 {
			t.Error(err)
		}
		if n := len(c.server.Messages("LOG", "log.a")); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// A write that is refused, or lost on the way, is not stored.
func TestFate_NotStored(t *testing.T) {
	for _, fate := range []sim.Fate{{Skip: true}, {Skip: true, Code: 10164}, {Skip: true, Code: 503}, {Skip: true, Cut: true}} {
		bubble(t, &once{kind: sim.Publish, fate: fate}, func(c *client) {
			if err := c.put("log.a", "0"); err == nil || code(err) != 0 && int(code(err)) != fate.Code {
				t.Errorf("%+v: %v", fate, err)
			}
			if n := len(c.server.Messages("LOG", "log.a")); n != 0 {
				t.Errorf("%+v: %d messages", fate, n)
			}
		})
	}
}

// A stale replica gives a prefix.
func TestFate_Stale(t *testing.T) {
	bubble(t, &once{kind: sim.DirectRead, fate: sim.Fate{Stale: 1}}, func(c *client) {
		c.must(nil, c.put("log.a", "0"))
		c.must(nil, c.put("log.a", "1"))
		for _, want := range []string{"1", "2"} {
			m := c.must(c.nc.RequestWithContext(c.Context(), "$JS.API.DIRECT.GET.LOG.log.a", nil)).(*nats.Msg)
			if got := m.Header.Get("Nats-Sequence"); got != want {
				t.Errorf("last is %s, not %s", got, want)
			}
		}
	})
}

// What a held process sends arrives when it is let go; a connection that it makes meanwhile is made, and stands still.
func TestLink_Hold(t *testing.T) {
	bubble(t, nil, func(c *client) {
		c.link.Hold(10 * time.Second)
		began := time.Now()
		second := c.dial(c.link)
		if time.Since(began) > 0 {
			t.Error("the handshake waited")
		}
		c.must(nil, c.nc.Publish("log.a", nil))
		c.must(nil, second.Publish("log.a", nil))
		time.Sleep(9 * time.Second)
		before := c.server.Count("LOG")
		time.Sleep(2 * time.Second)
		if after := c.server.Count("LOG"); before != 0 || after != 2 {
			t.Errorf("%d messages while it was held, %d afterwards", before, after)
		}
	})
}

// A killed process's connections end, and it makes none any more.
func TestLink_Kill(t *testing.T) {
	bubble(t, &once{kind: sim.Publish, fate: sim.Fate{Kill: true}}, func(c *client) {
		if err := c.put("log.a", "0"); err == nil {
			t.Error("a dead process got an answer")
		}
		<-c.link.Dead()
		if _, err := c.link.Dial(); err == nil || c.server.Count("LOG") != 1 {
			t.Error(err, c.server.Count("LOG"))
		}
	})
}

// A job comes again when its lease has ended; a heartbeat makes the lease longer, whoever sends it; and whoever acks it, it
// is gone.
func TestConsumer_LeaseIsNoFence(t *testing.T) {
	bubble(t, nil, func(c *client) {
		c.must(nil, c.put("run.a", "0"))
		first := c.take()
		time.Sleep(5 * time.Second)
		c.must(nil, first.InProgress())
		if c.take() != nil {
			t.Error("handed out while it was kept")
		}
		time.Sleep(6 * time.Second)
		if second := c.take(); second == nil {
			t.Fatal("not handed out again")
		}
		c.must(nil, first.DoubleAck(c.Context())) // of the zombie
		if n := c.server.Count("RUNS"); n != 0 {
			t.Errorf("%d jobs", n)
		}
	})
}

// A restart keeps what is stored, and refuses connections for as long as it lasts.
func TestServer_Restart(t *testing.T) {
	bubble(t, nil, func(c *client) {
		c.must(nil, c.put("run.a", "0"))
		c.server.Restart(5 * time.Second)
		if _, err := c.link.Dial(); err == nil {
			t.Error("connected to a server that is down")
		}
		time.Sleep(6 * time.Second)
		c.nc = c.dial(c.link)
		c.js = c.must(jetstream.New(c.nc)).(jetstream.JetStream)
		if err := c.put("run.a", "0"); code(err) != 10071 {
			t.Error(err)
		}
	})
}

// What a Server does not know ends the connection, and is told.
func TestServer_RefusesLoudly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(nil)
		c := &client{T: t, server: s}
		nc := c.dial(s.NewLink("client"))
		if err := nc.Publish("$JS.API.STREAM.PURGE.LOG", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "STREAM.PURGE.LOG") || nc.IsConnected() {
			t.Error(err, nc.IsConnected())
		}
	})
}
