package broker

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// looks makes a census of one stream; every server is current.
func looks(stream string, replicas map[string]replica) *census {
	current := make(map[string]bool)
	for server := range replicas {
		current[server] = true
	}
	return &census{
		replicas: map[string]map[string]replica{stream: replicas}, current: map[string]map[string]bool{stream: current},
	}
}

// What a replica has lost for good is told from what it has yet to hear of, or to remove.
func TestDrift(t *testing.T) {
	t.Parallel()
	type servers = map[string]replica
	full := replica{messages: 100, first: 1, last: 100}
	for name, c := range map[string]struct {
		stream      string
		before, now servers
		want        []string
	}{
		"alike": {"MS_LOG_0", servers{"a": full, "b": full, "c": full}, servers{"a": full, "b": full, "c": full}, nil},
		"holes in a log": {"MS_LOG_0", servers{"a": full, "b": {60, 1, 100, 40}, "c": full},
			servers{"a": full, "b": {60, 1, 100, 40}, "c": full}, []string{"b"}},
		"holes in the log of the only server": {"MS_LOG_0", servers{"a": {60, 1, 100, 40}}, servers{"a": {60, 1, 100, 40}}, []string{"a"}},
		"holes in an archive, everywhere": {"MS_ARCHIVE_0", servers{"a": {60, 1, 100, 40}, "b": {60, 1, 100, 40}},
			servers{"a": {60, 1, 100, 40}, "b": {60, 1, 100, 40}}, nil},
		"holes in an archive, on one": {"MS_ARCHIVE_0", servers{"a": {60, 1, 100, 40}, "b": {59, 1, 100, 41}, "c": {60, 1, 100, 40}},
			servers{"a": {60, 1, 100, 40}, "b": {59, 1, 100, 41}, "c": {60, 1, 100, 40}}, []string{"b"}},
		"a lost beginning": {"MS_LOG_0", servers{"a": full, "b": {70, 31, 100, 0}, "c": full},
			servers{"a": full, "b": {70, 31, 100, 0}, "c": full}, []string{"b"}},
		"age takes here first": {"MS_LOG_0", servers{"a": full, "b": {70, 31, 100, 0}, "c": full},
			servers{"a": {60, 41, 100, 0}, "b": {50, 51, 100, 0}, "c": {60, 41, 100, 0}}, nil},
		"a queue that moves": {"MS_RUNS", servers{"a": {10, 90, 100, 1}, "b": {9, 90, 100, 2}, "c": {11, 90, 100, 0}},
			servers{"a": {4, 150, 160, 7}, "b": {4, 150, 160, 7}, "c": {4, 150, 160, 7}}, nil},
		"lags": {"MS_LOG_0", servers{"a": full, "b": {40, 1, 40, 0}, "c": full},
			servers{"a": full, "b": {60, 1, 60, 0}, "c": full}, nil},
		"a lost end": {"MS_LOG_0", servers{"a": full, "b": {40, 1, 40, 0}, "c": full},
			servers{"a": full, "b": {40, 1, 40, 0}, "c": full}, []string{"b"}},
		"unlike, and one not seen": {"MS_ARCHIVE_0", servers{"a": full, "b": {90, 1, 100, 10}}, servers{"a": full}, nil},
		"one that lags accuses nobody": {"MS_ARCHIVE_0", servers{"a": {90, 1, 100, 10}, "b": {50, 1, 50, 0}, "c": {90, 1, 100, 10}},
			servers{"a": {90, 1, 100, 10}, "b": {50, 1, 60, 0}, "c": {90, 1, 100, 10}}, nil},
		"two are damaged": {"MS_LOG_0", servers{"a": full, "b": {60, 1, 100, 40}, "c": {70, 1, 100, 30}},
			servers{"a": full, "b": {60, 1, 100, 40}, "c": {70, 1, 100, 30}}, []string{"b", "c"}},
	} {
		var got []string
		for _, d := range drift(looks(c.stream, c.before), looks(c.stream, c.now)) {
			got = append(got, d.Server)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A stream's leader proves itself by the servers that have answered it of late; who was never heard proves nothing.
func TestTermOf(t *testing.T) {
	t.Parallel()
	peer := func(active time.Duration, offline bool) *jetstream.PeerInfo {
		return &jetstream.PeerInfo{Active: active, Offline: offline, Current: active > 0}
	}
	for name, c := range map[string]struct {
		cluster *jetstream.ClusterInfo
		want    time.Duration
		err     error
	}{
		"alone":             {nil, soloTerm, nil},
		"one replica":       {&jetstream.ClusterInfo{Leader: "a"}, soloTerm, nil},
		"election":          {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{peer(time.Second, false)}}, 0, errNoLeader},
		"both heard":        {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Second, false), peer(2*time.Second, false)}}, 2 * time.Second, nil},
		"one of two heard":  {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Minute, true), peer(2*time.Second, false)}}, time.Second, nil},
		"none heard":        {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(3*time.Second, false), peer(time.Minute, false)}}, 0, errOutdated},
		"both offline":      {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Second, true), peer(time.Second, true)}}, 0, errOutdated},
		"never heard":       {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(0, false), peer(0, false)}}, 0, errOutdated},
		"one of four heard": {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Second, false), peer(time.Minute, false), peer(time.Minute, false), peer(time.Minute, false)}}, 0, errOutdated},
	} {
		if got, err := termOf(c.cluster); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// One stream that elects a leader is no reason to take a node away; one that goes on doing so is, and so are all at once.
func TestReadiness(t *testing.T) {
	t.Parallel()
	r, now := newReadiness(), time.Now()
	for _, c := range []struct {
		after   time.Duration
		without []string
		ready   bool
	}{
		{0, nil, true},
		{time.Second, []string{"a"}, true},
		{9 * time.Second, []string{"a", "b"}, true},
		{12 * time.Second, []string{"a"}, false},
		{13 * time.Second, nil, true},
		{14 * time.Second, []string{"a"}, true}, // another election
		{15 * time.Second, []string{"a", "b", "c"}, false},
		{16 * time.Second, []string{"b"}, true},
	} {
		err := r.judge(c.without, 3, errNoLeader, now.Add(c.after))
		if (err == nil) != c.ready {
			t.Errorf("after %s without %q: %v", c.after, c.without, err)
		}
	}
}

// A stream without a leader hides neither the others nor what was known of it.
func TestDriftWatch_AStreamWithoutALeader(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	w := &watcher{b: b}
	lost := []Drift{{Stream: "MS_LOG_0", Server: "n1", Missing: 3}}
	w.tell(looks("MS_LOG_0", map[string]replica{"n1": {}, "n2": {}}), lost)
	other := looks("MS_LOG_1", map[string]replica{"n1": {}})
	other.silent = []string{"MS_LOG_0"}
	w.tell(other, nil)
	if !slices.Equal(w.found, lost) || !slices.Equal(w.deaf, other.silent) {
		t.Errorf("knows of %v, and that nobody tells of %v", w.found, w.deaf)
	}
	w.tell(looks("MS_LOG_0", map[string]replica{"n1": {}, "n2": {}}), nil)
	if len(w.found) != 0 {
		t.Errorf("still: %v", w.found)
	}
}
