package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// maxReplicaPage bounds the page on which a server tells of its replicas: 2 KB a stream, for thousands of them.
const maxReplicaPage = 32 << 20

// monitored is one server, by its own word: what its monitoring pages show.
type monitored struct {
	name, version string
	sync          string
	maxPayload    int64
	used, room    int64 // bytes of the store, and its limit
	replicas      map[streamID]replica
}

// streamID tells a stream from one of the same name in another account: no two are made at the same moment.
type streamID struct {
	name    string
	created int64 // nanoseconds since 1970
}

// replica is what one server has of a stream.
type replica struct {
	messages, first, last uint64
	deleted               uint64 // holes between first and last
}

// removed counts the messages that were stored here once and are no more.
func (r replica) removed() int64 { return int64(r.last) - int64(r.messages) }

// monitor reads what a server tells of itself. Its errors hold no password.
func monitor(ctx context.Context, address string) (*monitored, error) {
	at, err := url.Parse(address)
	if err != nil || (at.Scheme != "http" && at.Scheme != "https") {
		return nil, errors.New("a monitor address is not an HTTP URL")
	}
	m, err := monitorAt(ctx, strings.TrimSuffix(address, "/"))
	if err != nil {
		return nil, fmt.Errorf("monitor of NATS at %s: %w", at.Redacted(), redacted(err))
	}
	return m, nil
}

// redacted takes the address out of an HTTP client's error.
func redacted(err error) error {
	if named, ok := errors.AsType[*url.Error](err); ok {
		return named.Err
	}
	return err
}

// varzPage and jszPage are what we read of a server's pages.
type varzPage struct {
	Name       string `json:"server_name"`
	Version    string `json:"version"`
	MaxPayload int64  `json:"max_payload"`
	JetStream  struct {
		Config *struct {
			SyncAlways   bool  `json:"sync_always"`
			SyncInterval int64 `json:"sync_interval"` // nanoseconds
			MaxStorage   int64 `json:"max_storage"`
		} `json:"config"`
		Stats *struct {
			Storage int64 `json:"storage"`
		} `json:"stats"`
	} `json:"jetstream"`
}

type jszPage struct {
	Accounts []struct {
		Streams []struct {
			Name    string    `json:"name"`
			Created time.Time `json:"created"`
			State   struct {
				Messages uint64 `json:"messages"`
				First    uint64 `json:"first_seq"`
				Last     uint64 `json:"last_seq"`
				Deleted  uint64 `json:"num_deleted"`
			} `json:"state"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

func monitorAt(ctx context.Context, base string) (*monitored, error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	var varz varzPage
	if err := readPage(ctx, base+"/varz", monitorBytes, &varz); err != nil {
		return nil, err
	}
	var jsz jszPage
	if err := readPage(ctx, base+"/jsz?accounts=true&streams=true", maxReplicaPage, &jsz); err != nil {
		return nil, err
	}
	m := &monitored{name: varz.Name, version: varz.Version, maxPayload: varz.MaxPayload, replicas: make(map[streamID]replica)}
	if c, s := varz.JetStream.Config, varz.JetStream.Stats; c != nil && s != nil {
		m.sync, m.used, m.room = describeSync(time.Duration(c.SyncInterval)), s.Storage, c.MaxStorage
		if c.SyncAlways {
			m.sync = describeSync(0)
		}
	}
	for _, account := range jsz.Accounts {
		for _, s := range account.Streams {
			m.replicas[streamID{s.Name, s.Created.UnixNano()}] = replica{s.State.Messages, s.State.First, s.State.Last, s.State.Deleted}
		}
	}
	return m, nil
}

// readPage reads one page. The client is its own: a look now and then needs no pool of connections, and none stays behind.
func readPage(ctx context.Context, address string, limit int64, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return json.UnmarshalRead(io.LimitReader(response.Body, limit), into)
}
