package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are what a run of the benchmarks is told.
type options struct {
	binary string
	sync   string
	only   []string
	stored int
	idle   int
	queued int // bound of the line

	slowReaders int
	live        time.Duration
	logs        string
}

func main() {
	var o options
	var only string
	relay := flag.String("relay", "", "serve as the plain relay that is compared with, for the upstream at this URL")
	flag.StringVar(&o.binary, "binary", "", "the built midstream binary")
	flag.StringVar(&o.sync, "sync", "always", "fsync policy of the embedded server: always, or an interval")
	flag.StringVar(&only, "only", "", "comma-separated measures: created, latency, throughput, ingest, fanout, idle, resume, slow, overload; empty runs all")
	flag.IntVar(&o.stored, "stored", 10_000, "responses that are stored when the resume is measured")
	flag.IntVar(&o.idle, "idle", 5000, "idle subscribers")
	flag.IntVar(&o.slowReaders, "slow", 5000, "readers that do not read")
	flag.IntVar(&o.queued, "queued", 4096, "runs that may wait, in limits.queued")
	flag.StringVar(&o.logs, "logs", os.DevNull, "file for the logs of the processes under measure")
	flag.DurationVar(&o.live, "live", 10*time.Second, "how long each live load lasts")
	flag.Parse()
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *relay != "" {
		err = serveRelay(ctx, *relay)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// measure is one row, or several, of the report.
type measure struct {
	name string
	run  func(ctx context.Context, b *bench) error
}

var measures = []measure{
	{"created", measureCreated},
	{"latency", measureLatency},
	{"throughput", measureThroughput},
	{"ingest", measureIngest},
	{"fanout", measureFanout},
	{"idle", measureIdle},
	{"resume", measureResume},
	{"slow", measureSlow},
	{"overload", measureOverload}, // last: it lets go of what is held
}

// run starts the upstream, the relay and the node, and takes the measures one after the other.
func run(ctx context.Context, o options) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("sync: %s, %s, %d cores, load generator and upstream beside the node\n\n", o.sync, runtime.Version(), runtime.NumCPU())
	fmt.Printf("%-52s %-34s %s\n", "measure", "midstream", "plain in-memory relay")
	for _, m := range measures {
		if len(o.only) > 0 && !slices.Contains(o.only, m.name) {
			continue
		}
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	return nil
}
