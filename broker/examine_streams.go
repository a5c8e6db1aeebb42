package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Measures of what is worth a word.
const (
	fullBelow = 0.95 // of a stream's or a store's bytes: writes fail soon
	// What clocks may differ by. The age of logs and the limit of a run are measured by the servers' clocks.
	clockWarn = 2 * time.Second
	clockFail = time.Minute
)

// streamed is a stream as it is, beside what this configuration wants.
type streamed struct {
	want  jetstream.StreamConfig
	info  *jetstream.StreamInfo
	ahead time.Duration // by how much the server's clock is ahead of ours
}

// streams looks at every stream, and changes none. It returns nil where there is no installation.
func (x *examiner) streams(ctx context.Context) []streamed {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	fixed, err := fixedBefore(ctx, x.b.js)
	if err == nil && fixed == nil {
		err = jetstream.ErrStreamNotFound
	}
	var partitions int
	if err == nil {
		partitions, err = partitionsOf(fixed, x.b.cfg.Partitions)
	}
	if err != nil {
		x.fail("streams", "start a node: its first start makes the streams. If one has, wait for the election of a leader, or mend what the text says", "%s", err)
		return nil
	}
	x.key(fixed[metaProbe])
	x.b.partitions, x.b.gates = partitions, newGates(partitions)
	x.b.conversations.gate = newGates(1)[0]
	var all []streamed
	bad, others := 0, unlike{}
	for _, want := range x.b.cfg.streams(partitions) {
		s, err := x.stream(ctx, want)
		if err != nil {
			bad++
			x.fail("streams", adviceOn(err), "%s: %s", want.Name, err)
		}
		if s != nil {
			all = append(all, *s)
			others.note(s)
		}
	}
	for _, is := range slices.Sorted(maps.Keys(others)) {
		x.warn("streams", "the next start of a node changes it; let all nodes, and doctor, have one configuration", "%s: %s", namesOf(others[is]), is)
	}
	if bad+len(others) == 0 {
		x.ok("streams", "%d streams of %d partitions, as wanted", len(all), partitions)
	}
	return all
}

func adviceOn(err error) string {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return "start a node: its start makes what is missing"
	}
	return "mend it with the nats tool, or use another NATS account"
}

func (x *examiner) stream(ctx context.Context, want jetstream.StreamConfig) (*streamed, error) {
	asked := time.Now()
	info, err := x.b.streamInfo(ctx, want.Name)
	if err != nil {
		return nil, err
	}
	s := &streamed{want, info, info.TimeStamp.Sub(asked.Add(time.Since(asked) / 2))}
	return s, mismatch(info.Config, want)
}

// leaders says which streams nobody leads for sure.
func (x *examiner) leaders(all []streamed) {
	bad := 0
	led := make(map[string]int)
	for _, s := range all {
		if _, err := termOf(s.info.Cluster); err != nil {
			bad++
			x.fail("leaders", "wait 10 s for an election; then see which servers are down", "%s: leader: %s", s.want.Name, err)
		} else if s.info.Cluster != nil {
			led[s.info.Cluster.Leader]++
		}
	}
	if bad > 0 {
		return
	}
	var list []string
	for server, n := range led {
		list = append(list, fmt.Sprintf("%s leads %d", server, n))
	}
	slices.Sort(list)
	x.ok("leaders", "every stream has one: %s", strings.Join(list, ", "))
}

// copies says which replicas lag or are away.
func (x *examiner) copies(all []streamed) {
	offline, behind := map[string][]string{}, map[string][]string{}
	fewest := 0
	for _, s := range all {
		if n := s.info.Config.Replicas; fewest == 0 || n < fewest {
			fewest = n
		}
		if s.info.Cluster == nil {
			continue
		}
		for _, r := range s.info.Cluster.Replicas {
			switch {
			case r.Offline:
				offline[r.Name] = append(offline[r.Name], s.want.Name)
			case !r.Current:
				behind[r.Name] = append(behind[r.Name], s.want.Name)
			}
		}
	}
	for _, server := range slices.Sorted(maps.Keys(offline)) {
		x.fail("replicas", "start the server", "%s is offline, and has %d streams: %s", server, len(offline[server]), namesOf(offline[server]))
	}
	for _, server := range slices.Sorted(maps.Keys(behind)) {
		x.warn("replicas", "wait, and look again: it should catch up",
			"%s is behind with %d streams: %s", server, len(behind[server]), namesOf(behind[server]))
	}
	switch {
	case len(offline)+len(behind) > 0:
	case fewest == 1:
		x.ok("replicas", "one of each stream: what its disk loses is lost")
	default:
		x.ok("replicas", "%d of each stream at least, all current", fewest)
	}
}

// room measures streams and stores against their limits.
func (x *examiner) room(all []streamed, servers []*monitored) {
	fullest, name := 0.0, ""
	for _, s := range all {
		if limit := s.info.Config.MaxBytes; limit > 0 {
			share := float64(s.info.State.Bytes) / float64(limit)
			if share >= fullest {
				fullest, name = share, s.want.Name
			}
		}
	}
	x.share("room", "the fullest stream, "+name+",", fullest, "raise limits.log_bytes, queue_bytes or conversation_bytes, or find out who writes so much")
	if x.b.server != nil {
		x.disk()
	}
	if x.b.server != nil || x.held {
		return
	}
	for _, m := range servers {
		if m.room > 0 {
			x.share("store", "server "+m.name, float64(m.used)/float64(m.room), "raise max_file_store, and the volume under it")
		}
	}
	if len(servers) == 0 {
		x.warn("store", "list the monitoring URL of every server in nats.monitor", "unknown")
	}
}

// disk measures what the embedded server has.
func (x *examiner) disk() {
	const do = "make room on the disk of nats.data, or lower limits.disk_free"
	free, total, err := x.b.server.Disk()
	low := x.b.cfg.diskFree(total)
	switch {
	case err != nil:
		x.warn("disk", "look at the file system", "unknown: %s", err)
	case free < low:
		x.fail("disk", do, "%d MiB are free, fewer than the %d that new responses leave free: they are refused", free>>20, low>>20)
	default:
		x.ok("disk", "%d MiB are free; new responses leave %d", free>>20, low>>20)
	}
}

func (x *examiner) share(check, what string, share float64, do string) {
	percent := int(100 * share)
	switch {
	case share >= fullBelow:
		x.fail(check, do, "%s is %d %% full: writes fail", what, percent)
	case share >= admitBelow:
		x.warn(check, do, "%s is %d %% full; from %d %% of the log on, new responses are refused", what, percent, int(100*admitBelow))
	default:
		x.ok(check, "%s is %d %% full", what, percent)
	}
}

// clock compares the clocks of the stream leaders with this host's.
func (x *examiner) clock(all []streamed) {
	worst, where := time.Duration(0), ""
	for _, s := range all {
		if s.ahead.Abs() >= worst.Abs() {
			worst, where = s.ahead, s.want.Name
		}
	}
	const do = "let NTP set the clocks of all hosts"
	text := fmt.Sprintf("the leader of %s is %s ahead of this host", where, worst.Round(time.Millisecond))
	switch {
	case worst.Abs() > clockFail:
		x.fail("clock", do, "%s", text)
	case worst.Abs() > clockWarn:
		x.warn("clock", do, "%s", text)
	default:
		x.ok("clock", "the servers' differ by %s at most from this host's", worst.Abs().Round(time.Millisecond))
	}
}
