package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/sim"
	"github.com/midstream-dev/midstream/schema"
)

// losesOne loses the first question for a manifest.
type losesOne struct{ lost bool }

func (l *losesOne) Fate(op sim.Op) sim.Fate {
	if l.lost || op.Kind != sim.LeaderRead || !strings.HasSuffix(op.Subject, ".0") {
		return sim.Fate{}
	}
	l.lost = true
	return sim.Fate{Skip: true}
}

func (*losesOne) Stored(sim.Message) {}

// A response that is begun, ended and sealed as a digest while somebody looks for it is not taken for one that was erased: its
// log is hot.
func TestRead_FindsALogThatWasBegunMeanwhile(t *testing.T) {
	for what, look := range map[string]func(context.Context, *broker.Broker, schema.Ref) error{
		"its records": func(ctx context.Context, b *broker.Broker, ref schema.Ref) error {
			h, err := b.Read(ctx, ref)
			if err == nil && len(h.Records) != 2 {
				err = fmt.Errorf("%d records", len(h.Records))
			}
			return err
		},
		"its request": func(ctx context.Context, b *broker.Broker, ref schema.Ref) error {
			_, err := b.Command(ctx, ref)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { begunMeanwhile(t, look) })
		})
	}
}

func begunMeanwhile(t *testing.T, look func(context.Context, *broker.Broker, schema.Ref) error) {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{
		Dial: sim.New(&losesOne{}).NewLink("test").Dial, Partitions: 1, SecretKey: bytes.Repeat([]byte{7}, 32),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	cmd := newCommand("resp_meanwhile")
	read := make(chan error)
	go func() { read <- look(t.Context(), b, cmd.Ref()) }()
	time.Sleep(time.Second)
	rec, err := cmd.RequestRecord()
	if err == nil {
		err = b.Begin(t.Context(), rec, cmd.Ref())
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.Read(t.Context(), cmd.Ref())
	if err != nil {
		t.Fatal(err)
	}
	w := b.Writer(h, 1, "n1")
	defer w.Close()
	if err := w.Append(t.Context(), token(1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}
