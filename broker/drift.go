package broker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Drift is a replica that has lost messages which JetStream does not give back to it. Its server is in the cluster as if it
// were whole: it answers reads, and may be elected.
type Drift struct {
	Stream, Server string
	Missing        uint64 // messages at least
}

// census is what the servers have of the streams, at about one moment.
type census struct {
	replicas map[string]map[string]replica // by stream, then by server
	current  map[string]map[string]bool    // which servers the stream's leader calls current
	unseen   []string                      // servers that have replicas, and do not show them
	silent   []string                      // streams of which no leader tells
}

// takeCensus asks the stream leaders, and every server that has a monitoring page.
func (b *Broker) takeCensus(ctx context.Context) (*census, error) {
	c := &census{replicas: make(map[string]map[string]replica), current: make(map[string]map[string]bool)}
	ids := make(map[streamID]bool)
	var silence error
	for _, s := range b.cfg.streams(b.partitions) {
		info, err := b.streamInfo(ctx, s.Name)
		if err != nil {
			c.silent, silence = append(c.silent, s.Name), err
			continue
		}
		ids[streamID{s.Name, info.Created.UnixNano()}] = true
		c.hear(info, b.conns.queue.ConnectedServerName())
	}
	if len(c.replicas) == 0 {
		return nil, fmt.Errorf("look at replicas: %w", silence)
	}
	var refused error
	for _, address := range b.cfg.Monitor {
		m, err := monitor(ctx, address)
		if err != nil {
			refused = err
			continue
		}
		for id, r := range m.replicas {
			if ids[id] {
				c.replicas[id.name][m.name] = r
			}
		}
	}
	c.missing()
	if refused != nil && len(c.unseen) == 0 {
		c.unseen = []string{"unnamed"} // it may have no stream of ours, or be one that the leaders name otherwise
	}
	return c, nil
}

func (b *Broker) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// hear takes the leader's word on its own replica, and on who is current.
func (c *census) hear(info *jetstream.StreamInfo, connected string) {
	name, state := info.Config.Name, info.State
	leader := connected // the only server
	current := make(map[string]bool)
	if info.Cluster != nil {
		leader = cmp.Or(info.Cluster.Leader, leader)
		for _, r := range info.Cluster.Replicas {
			current[r.Name] = r.Current && !r.Offline
		}
	}
	current[leader] = true
	c.current[name] = current
	c.replicas[name] = map[string]replica{leader: {state.Msgs, state.FirstSeq, state.LastSeq, uint64(state.NumDeleted)}}
}

// missing names the servers that have a replica which nobody has shown.
func (c *census) missing() {
	unseen := make(map[string]bool)
	for stream, servers := range c.current {
		for server := range servers {
			if _, seen := c.replicas[stream][server]; !seen {
				unseen[server] = true
			}
		}
	}
	c.unseen = slices.Sorted(maps.Keys(unseen))
}

// drift compares two looks, the second one long enough after the first for whatever was under way then to have come to an end:
// a replica that lags is none that has lost something.
func drift(before, now *census) []Drift {
	var found []Drift
	for stream, was := range before.replicas {
		for server := range was {
			s := suspect{server, before.current[stream][server] && now.current[stream][server], was, now.replicas[stream]}
			if n := s.lost(strings.HasPrefix(stream, logStream)); n > 0 {
				found = append(found, Drift{stream, server, uint64(n)})
			}
		}
	}
	slices.SortFunc(found, func(a, b Drift) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Server, b.Server)) })
	return found
}

// suspect is one replica beside the others of its stream, at two moments.
type suspect struct {
	server   string
	current  bool // by the leader's word, both times
	was, now map[string]replica
}

// lost counts the messages that the suspect lacks, other than by lagging. One of a dense stream, from which age takes at the
// beginning only and nothing else does, has no holes.
func (s suspect) lost(dense bool) int64 {
	is, seen := s.now[s.server]
	if !seen {
		return 0
	}
	holes := int64(0)
	if dense && s.was[s.server].deleted > 0 {
		holes = int64(is.deleted)
	}
	return max(holes, s.least(s.removed), s.least(s.behind), 0)
}

// least measures against each of the others, and returns what all of them say: one that has something wrong itself accuses
// nobody.
func (s suspect) least(measure func(other string) (n int64, ok bool)) int64 {
	least, others := int64(0), 0
	for other := range s.was {
		if n, ok := measure(other); ok && other != s.server {
			if others++; others == 1 {
				least = n
			}
			least = min(least, n)
		}
	}
	return least
}

// removed is how many more messages were gone here then than there now. A message that is deleted, acked or too old goes
// everywhere in the end, so a whole replica is never ahead of what another one has come to since.
func (s suspect) removed(other string) (int64, bool) {
	was, later := s.was[s.server], s.now[other]
	return was.removed() - later.removed(), later.last >= was.last // else the other one lags, and is no measure
}

// behind is how much of what the other one had then is not here yet, though the leader calls this replica current, and it
// stands still.
func (s suspect) behind(other string) (int64, bool) {
	is := s.now[s.server]
	still := s.current && is.last == s.was[s.server].last
	return int64(s.was[other].last) - int64(is.last), still
}
