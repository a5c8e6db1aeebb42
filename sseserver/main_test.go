package sseserver

import (
	"context"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/midstream-dev/midstream/broker"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

// embedded is the broker that all tests of the package share, with a NATS server in this process.
var embedded struct {
	once sync.Once
	*broker.Broker
	dir string
}

func liveBroker(tb testing.TB) *broker.Broker {
	tb.Helper()
	embedded.once.Do(func() {
		dir, err := os.MkdirTemp("", "sseserver")
		if err != nil {
			tb.Fatal(err)
		}
		embedded.dir = dir
		// fsync is another package's promise, and would only slow this one's tests.
		embedded.Broker, err = broker.Open(context.Background(), broker.Config{DataDir: dir, SyncInterval: time.Minute, Partitions: 2})
		if err != nil {
			tb.Fatal(err)
		}
	})
	if embedded.Broker == nil {
		tb.Fatal("the embedded broker did not open")
	}
	return embedded.Broker
}

// tests closes the broker before goroutines are counted.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if embedded.Broker != nil {
		if err := embedded.Close(context.Background()); err != nil {
			panic(err)
		}
	}
	if err := os.RemoveAll(embedded.dir); err != nil {
		panic(err)
	}
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }
