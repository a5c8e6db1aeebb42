//go:build e2e

package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/e2e/cluster"
)

// A cluster as deploy/ describes it serves: every gateway takes responses and reads those of the other, and every producer
// works on some.
func TestServes(t *testing.T) {
	whole(t, connect(t, shared.Admin))
	eventually(t, "both producers have worked", func() error {
		finish(t, tell(t, 4, 4, 10*time.Millisecond))
		var idle []error
		for _, p := range shared.Producers {
			if log, err := os.ReadFile(p.Log); err != nil || !bytes.Contains(log, []byte("run ended")) {
				idle = append(idle, errors.Join(err, errors.New(p.Name)))
			}
		}
		return errors.Join(idle...)
	})
}

// The user of the nodes may not take away what is stored: no stream is deleted or purged, no message of the log or of the
// queue erased, and nobody hears what is none of a node's business.
func TestPermissions(t *testing.T) {
	nc := connect(t, shared.Node)
	admin := connect(t, shared.Admin)
	before, err := streams(admin)
	must(t, err)
	for _, call := range []string{
		"STREAM.DELETE.MS_LOG_0", "STREAM.PURGE.MS_LOG_0", "STREAM.MSG.DELETE.MS_LOG_0",
		"STREAM.DELETE.MS_ARCHIVE_0", "STREAM.PURGE.MS_ARCHIVE_0", "STREAM.DELETE.MS_RUNS", "STREAM.PURGE.MS_RUNS",
		"STREAM.MSG.DELETE.MS_RUNS", "STREAM.DELETE.MS_CONVERSATIONS", "STREAM.PURGE.MS_CONVERSATIONS",
		"CONSUMER.DELETE.MS_RUNS.workers", "STREAM.SNAPSHOT.MS_LOG_0", "STREAM.RESTORE.MS_LOG_0",
		"STREAM.PEER.REMOVE.MS_LOG_0", "STREAM.LEADER.STEPDOWN.MS_LOG_0", "CONSUMER.CREATE.MS_LOG_0.spy",
	} {
		t.Run(call, func(t *testing.T) {
			refused(t, nc, func() error { return nc.PublishRequest("$JS.API."+call, nc.NewInbox(), []byte(`{"seq":1}`)) })
		})
	}
	for _, subject := range []string{"ms.>", "ms.run.>", "ms.ingest.>", "$JS.>", ">"} {
		t.Run("subscribe "+subject, func(t *testing.T) {
			refused(t, nc, func() error {
				_, err := nc.SubscribeSync(subject)
				return err
			})
		})
	}
	after, err := streams(admin)
	must(t, err)
	if len(before) != len(after) {
		t.Errorf("%d streams, there were %d", len(after), len(before))
	}
}

// A producer may send its events, and hear that they are stored. It hears nobody else, and asks for nothing.
func TestPermissions_Producer(t *testing.T) {
	nc := connect(t, shared.Feeder)
	for _, subject := range []string{"ms.log.0.default.resp_x", "ms.run.default.resp_x", "ms.hold.default.resp_x", "$JS.API.INFO",
		"$JS.API.STREAM.MSG.GET.MS_INGEST", "$JS.API.DIRECT.GET.MS_INGEST"} {
		t.Run("publish "+subject, func(t *testing.T) {
			refused(t, nc, func() error { return nc.PublishRequest(subject, nc.NewInbox(), []byte(`{"seq":1}`)) })
		})
	}
	for _, subject := range []string{"ms.>", "ms.live.*.*.*", "ms.fed.*.*.*", "_INBOX_midstream.>", "$JS.>", ">"} {
		t.Run("subscribe "+subject, func(t *testing.T) {
			refused(t, nc, func() error {
				_, err := nc.SubscribeSync(subject)
				return err
			})
		})
	}
	const id = "resp_fedoverthecluster0000"
	feed(t, id).say(t, begins, word(0), said(1), ends)
	if got := get(t, shared.Gateways[0], "/v1/responses/"+id+"?stream=true"); !strings.HasSuffix(string(got), "data: [DONE]\n\n") {
		t.Errorf("the response that it has opened:\n%s", got)
	}
}

// The log keeps its records from the administrator too: its streams themselves refuse to erase or purge.
func TestLogKeepsItsRecords(t *testing.T) {
	js, err := jetstream.New(connect(t, shared.Admin))
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := js.Stream(ctx, "MS_LOG_0")
	must(t, err)
	if err := log.Purge(ctx); err == nil {
		t.Error("purged")
	}
	if err := log.DeleteMsg(ctx, 1); err == nil || !strings.Contains(err.Error(), "delete not permitted") {
		t.Errorf("erased: %v", err)
	}
}

// kill -9 of the server that leads the queue costs readers a pause and nothing else: no run is taken from its worker, however long
// the election. A node starts without it.
func TestLeaderKilled(t *testing.T) {
	nc := connect(t, shared.Admin)
	stories := tell(t, 4, 90, 200*time.Millisecond)
	lost := leaderOf(t, nc, "MS_RUNS")
	restore(t, shared.Gateways[1])
	kill(t, lost)
	finish(t, stories)
	for _, s := range stories {
		s.uncut(t)
	}
	eventually(t, "two servers of three are enough", ready)
	must(t, shared.Gateways[1].Stop())
	must(t, shared.Gateways[1].Start(t.Context()))
	eventually(t, "they are enough to start", ready)
	must(t, lost.Start(t.Context()))
	whole(t, nc)
}

// Leaders that step down, every one of them and twice, cost readers a pause and nothing else.
func TestLeadersStepDown(t *testing.T) {
	nc := connect(t, shared.Admin)
	stories := tell(t, 4, 30, 100*time.Millisecond)
	all, err := streams(nc)
	must(t, err)
	for range 2 {
		for _, s := range all {
			// An error is an election that still goes on: as good.
			_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+s.Config.Name, nil, time.Second)
		}
	}
	finish(t, stories)
	whole(t, nc)
}

// A server in lame duck mode hands its leaders over and ends by itself, and readers see nothing of it.
func TestLameDuck(t *testing.T) {
	nc := connect(t, shared.Admin)
	stories := tell(t, 4, 50, 200*time.Millisecond)
	leaving := leader(t, nc)
	restore(t, leaving)
	must(t, leaving.LameDuck())
	finish(t, stories)
	must(t, leaving.Start(t.Context()))
	whole(t, nc)
}

// A server whose disk is lost comes back empty under its name, and gets all that it had from the others.
func TestServerReplaced(t *testing.T) {
	nc := connect(t, shared.Admin)
	stories := tell(t, 4, 20, 200*time.Millisecond)
	lost := shared.Servers[1]
	kill(t, lost)
	must(t, shared.Wipe(lost))
	must(t, lost.Start(t.Context()))
	whole(t, nc)
	finish(t, stories)
}

// Without a quorum nobody pretends: /readyz says 503, and 200 when the quorum is back; what was open goes on. Heartbeats were lost for
// longer than limits.ack_wait by then, and all the same no run is taken from its worker, and no model called twice.
func TestNoQuorum(t *testing.T) {
	nc := connect(t, shared.Admin)
	stories := tell(t, 2, 20, 200*time.Millisecond)
	kill(t, shared.Servers[:2]...)
	for _, g := range shared.Gateways {
		eventually(t, g.Name+" says 503", func() error {
			if _, err := fetch(g.URL + "/readyz"); err == nil || !strings.HasPrefix(err.Error(), "503 ") {
				return fmt.Errorf("it says %v", err)
			}
			return nil
		})
		if _, err := fetch(g.URL + "/healthz"); err != nil {
			t.Errorf("%s is not alive: %v", g.Name, err)
		}
	}
	startAll(t, shared.Servers[:2])
	finish(t, stories)
	for _, s := range stories {
		s.uncut(t)
	}
	whole(t, nc)
}

// All servers killed at once and started again: what was open goes on, and what was finished is the same.
func TestAllServersKilled(t *testing.T) {
	nc := connect(t, shared.Admin)
	finished := tell(t, 1, 4, 10*time.Millisecond)
	finish(t, finished)
	stories := tell(t, 4, 20, 200*time.Millisecond)
	kill(t, shared.Servers...)
	startAll(t, shared.Servers)
	finish(t, stories)
	finished[0].agree(t)
	whole(t, nc)
}

// A gateway that stops cuts its readers off; they go on at the other one behind their last event, and at the same one when
// it is back. A producer that dies is taken over from.
func TestNodesRestarted(t *testing.T) {
	stories := tell(t, 4, 40, 200*time.Millisecond)
	gone, other := shared.Gateways[0], shared.Gateways[1]
	restore(t, gone)
	must(t, gone.Stop())
	for _, s := range stories {
		for _, r := range s.readers {
			if r.gateway != gone {
				continue
			}
			if err := r.rest(t); err == nil {
				t.Error("the stream of a gateway that stops has ended as if it were whole")
			}
			r.again(t, other, s.id)
		}
	}
	must(t, gone.Start(t.Context()))
	kill(t, shared.Producers[0])
	must(t, shared.Producers[0].Start(t.Context()))
	finish(t, stories)
}

// kill ends members as a crash would.
func kill(t *testing.T, members ...*cluster.Member) {
	t.Helper()
	restore(t, members...)
	for _, m := range members {
		m.Kill()
	}
}

// restore gives the next test a cluster that is there, whatever becomes of this one.
func restore(t *testing.T, members ...*cluster.Member) {
	t.Cleanup(func() {
		for _, m := range members {
			if m.Running() {
				continue
			}
			if err := m.Start(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}

func startAll(t *testing.T, members []*cluster.Member) {
	t.Helper()
	var group errgroup.Group
	for _, m := range members {
		group.Go(func() error { return m.Start(t.Context()) })
	}
	must(t, group.Wait())
}
