package broker_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/sim"
)

// deafToAcks loses the first acks.
type deafToAcks struct{ left int }

func (d *deafToAcks) Fate(op sim.Op) sim.Fate {
	if op.Kind == sim.Ack && d.left > 0 {
		d.left--
		return sim.Fate{Skip: true, Mute: true}
	}
	return sim.Fate{}
}

func (*deafToAcks) Stored(sim.Message) {}

// An ack that is lost is sent again, within one call: else the job comes back, and waits for another turn for each loss.
func TestJob_AcksUntilThereIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.Open(t.Context(), broker.Config{
			Dial: sim.New(&deafToAcks{left: 3}).NewLink("test").Dial, Partitions: 1, SecretKey: bytes.Repeat([]byte{7}, 32),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		if err := b.Enqueue(t.Context(), newCommand("resp_acked"), nil); err != nil {
			t.Fatal(err)
		}
		job, err := b.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := job.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("three lost acks took %s", took)
		}
	})
}
