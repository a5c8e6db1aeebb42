//go:build e2e && nightly

package cluster_test

import (
	"crypto/rand"
	"encoding/base64"
	"testing"
	"time"
)

// The secret key is changed as docs/runbook.md says, one node after the other, while responses run.
func TestSecretKeyChanged(t *testing.T) {
	nodes := append(append(shared.Members()[:0:0], shared.Gateways...), shared.Producers...)
	old := nodes[0].Env("MIDSTREAM_NATS_SECRET_KEY")
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh)
	key := base64.StdEncoding.EncodeToString(fresh)
	for _, round := range []struct{ key, others string }{{old, key}, {key, old}, {key, ""}} {
		for _, n := range nodes {
			must(t, n.Stop())
			n.Setenv("MIDSTREAM_NATS_SECRET_KEY", round.key)
			n.Setenv("MIDSTREAM_NATS_OTHER_KEYS", round.others)
			must(t, n.Start(t.Context()))
		}
		eventually(t, "the nodes are ready", ready)
		finish(t, tell(t, 2, 4, 10*time.Millisecond))
	}
	nodes[0].Setenv("MIDSTREAM_NATS_SECRET_KEY", old)
	must(t, nodes[0].Stop())
	if err := nodes[0].Start(t.Context()); err == nil {
		t.Error("a node with the old key alone was let in")
		must(t, nodes[0].Stop())
	}
	nodes[0].Setenv("MIDSTREAM_NATS_SECRET_KEY", key)
	must(t, nodes[0].Start(t.Context()))
}
