//go:build e2e

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/e2e/cluster"
)

// connect reaches the cluster, past whichever of its servers are down.
func connect(t *testing.T, as cluster.User) *nats.Conn {
	t.Helper()
	var urls string
	for _, s := range shared.Servers {
		urls += s.URL + ","
	}
	nc, err := nats.Connect(urls, nats.UserInfo(as.Name, as.Password), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	must(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	return nc
}

// streams lists every stream as its leader tells of it.
func streams(nc *nats.Conn) ([]*jetstream.StreamInfo, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var all []*jetstream.StreamInfo
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		all = append(all, info)
	}
	if list.Err() == nil && len(all) == 0 {
		return nil, errors.New("no streams")
	}
	return all, list.Err()
}

// leader returns the server that leads the most streams.
func leader(t *testing.T, nc *nats.Conn) *cluster.Member {
	t.Helper()
	all, err := streams(nc)
	must(t, err)
	leads := map[string]int{}
	for _, s := range all {
		leads[s.Cluster.Leader]++
	}
	most := shared.Servers[0]
	for _, s := range shared.Servers {
		if leads[s.Name] > leads[most.Name] {
			most = s
		}
	}
	return most
}

func leaderOf(t *testing.T, nc *nats.Conn, stream string) *cluster.Member {
	t.Helper()
	all, err := streams(nc)
	must(t, err)
	for _, info := range all {
		for _, s := range shared.Servers {
			if info.Config.Name == stream && info.Cluster.Leader == s.Name {
				return s
			}
		}
	}
	t.Fatalf("%s has no leader", stream)
	return nil
}

// whole waits until every stream has its leader and two replicas that have all of it, and both gateways are ready.
func whole(t *testing.T, nc *nats.Conn) {
	t.Helper()
	eventually(t, "the cluster is whole", func() error {
		all, err := streams(nc)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Cluster == nil || s.Cluster.Leader == "" || len(s.Cluster.Replicas) != 2 {
				return fmt.Errorf("stream %s: %+v", s.Config.Name, s.Cluster)
			}
			for _, r := range s.Cluster.Replicas {
				if !r.Current || r.Offline {
					return fmt.Errorf("stream %s: replica %+v", s.Config.Name, *r)
				}
			}
		}
		return ready()
	})
}

func ready() error {
	var errs []error
	for _, g := range shared.Gateways {
		_, err := fetch(g.URL + "/readyz")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// refused does what the server must not let through. The server says so on the connection.
func refused(t *testing.T, nc *nats.Conn, do func() error) {
	t.Helper()
	told := make(chan error, 1)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case told <- err:
		default:
		}
	})
	must(t, do())
	must(t, nc.Flush())
	select {
	case err := <-told:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("let through")
	}
}
