package broker_test

import (
	"bytes"
	"context"
	"errors"
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

// loses stores the first run command and loses its answer; from then on the queue is full, and nobody knows what is in it.
type loses struct{ begun bool }

func (l *loses) Fate(op sim.Op) sim.Fate {
	switch {
	case op.Stream != "MS_RUNS":
		return sim.Fate{}
	case op.Kind == sim.LeaderRead:
		return sim.Fate{Skip: true}
	case op.Kind != sim.Publish:
		return sim.Fate{}
	case !l.begun:
		l.begun = true
		return sim.Fate{Mute: true}
	}
	return sim.Fate{Skip: true, Code: 10077}
}

func (*loses) Stored(sim.Message) {}

// That the queue is full when the caller's time is over says nothing of a first try whose answer was lost: the run may be made.
func TestEnqueue_DoubtOutlastsAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.Open(t.Context(), broker.Config{
			Dial: sim.New(&loses{}).NewLink("test").Dial, Partitions: 1, SecretKey: bytes.Repeat([]byte{7}, 32),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := b.Enqueue(ctx, newCommand("resp_doubt"), nil); err == nil || errors.Is(err, broker.ErrFull) {
			t.Errorf("enqueue: %v, want that nobody knows", err)
		}
	})
}
