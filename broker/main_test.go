package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/midstream-dev/midstream/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// mustOpen opens a broker that is closed with the test. Its fsync is lazy unless a test asks for more: these tests kill no
// machine.
func mustOpen(tb testing.TB, change ...func(*Config)) *Broker {
	tb.Helper()
	cfg := Config{DataDir: tb.TempDir(), SyncInterval: time.Minute, Partitions: 2, AckWait: time.Second}
	for _, f := range change {
		f(&cfg)
	}
	b, err := Open(testContext(tb), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return b
}

func mustRef(tb testing.TB, response string) schema.Ref {
	tb.Helper()
	ref, err := schema.NewRef("t1", response)
	if err != nil {
		tb.Fatal(err)
	}
	return ref
}

func command(response string) *schema.Command {
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: "t1", Response: response, CreatedAt: 1_700_000_000_000,
		Digest: strings.Repeat("0", 64), Request: []byte(`{"model":"m","input":"hello"}`),
	}
}

// mustBegin makes a log with its request record, and reads it back.
func mustBegin(tb testing.TB, b *Broker, response string) *History {
	tb.Helper()
	cmd := command(response)
	rec, err := cmd.RequestRecord()
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.Begin(testContext(tb), rec, cmd.Ref()); err != nil {
		tb.Fatal(err)
	}
	return mustRead(tb, b, cmd.Ref())
}

func mustRead(tb testing.TB, b *Broker, ref schema.Ref) *History {
	tb.Helper()
	h, err := b.Read(testContext(tb), ref)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func mustWriter(tb testing.TB, b *Broker, h *History, attempt int, nonce string) *Writer {
	tb.Helper()
	w := b.Writer(h, attempt, nonce)
	tb.Cleanup(w.Close)
	return w
}

// delta is the event with number n.
func delta(n int64) schema.Event {
	text := fmt.Sprintf("token %d", n)
	return schema.Event{Type: schema.TextDelta, SequenceNumber: n, Delta: &text}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
