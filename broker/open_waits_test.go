package broker_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/sim"
)

// mutes gives no answer to the first call that would make the queue's consumer: behind the two looks at its stream, and
// the making of that.
type mutes struct{ calls int }

func (m *mutes) Fate(op sim.Op) sim.Fate {
	if op.Kind != sim.Manage || op.Stream != "MS_RUNS" {
		return sim.Fate{}
	}
	m.calls++
	return sim.Fate{Skip: m.calls == 4}
}

func (*mutes) Stored(sim.Message) {}

// A node that starts while the queue has no leader waits for one. It once ended with an error: seen in the 867th kill of a night.
func TestOpen_WaitsForTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fates := &mutes{}
		b, err := broker.Open(t.Context(), broker.Config{
			Dial: sim.New(fates).NewLink("test").Dial, Partitions: 1, SecretKey: bytes.Repeat([]byte{7}, 32),
		})
		if err != nil {
			t.Fatalf("open, behind %d calls: %v", fates.calls, err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
