package broker_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/sim"
)

// denies stores the first run command and says that another message stands there; then it has no leader for a while.
type denies struct {
	after time.Time
	begun bool
}

func (d *denies) Fate(op sim.Op) sim.Fate {
	switch ofRuns := op.Stream == "MS_RUNS" && (op.Kind == sim.Publish || op.Kind == sim.LeaderRead); {
	case !ofRuns:
		return sim.Fate{}
	case !d.begun:
		d.begun, d.after = true, time.Now().Add(20*time.Second)
		return sim.Fate{Code: 10071}
	case time.Now().Before(d.after):
		return sim.Fate{Skip: true, Code: 503}
	}
	return sim.Fate{}
}

func (*denies) Stored(sim.Message) {}

// A run command that is stored while the leader says that another message stands there, and that nobody can be asked about for
// 20 s, is not called refused: whoever enqueued it would come back and find himself.
func TestEnqueue_IsNotRefusedWhereItMayBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.Open(t.Context(), broker.Config{
			Dial: sim.New(&denies{}).NewLink("test").Dial, Partitions: 1, SecretKey: bytes.Repeat([]byte{7}, 32),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		began := time.Now()
		if err := b.Enqueue(t.Context(), newCommand("resp_denied"), nil); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 20*time.Second {
			t.Errorf("the outcome was known after %s", waited)
		}
	})
}
