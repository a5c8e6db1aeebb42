//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
)

// The bounds of a campaign.
const (
	wellPatience   = 90 * time.Second // for a rig to be well again after a fault
	quietPatience  = 2 * time.Minute  // for the runs that are open when the faults are over
	answerPatience = 10 * time.Second // for one answer: one that falls into an election never comes
	readPatience   = 30 * time.Minute // to read one stream from one server: after a long night it holds a million messages
	warmth         = 100              // events a second before the first fault; fewer prove nothing
)

// campaign is a story: a load, and faults that strike it.
type campaign struct {
	rig     rig.Config
	seed    uint64
	clients int // at once
	cut     int // bytes after which a client loses its connection, on average
	script  func(dice *rand.Rand, run string) rig.Script
	faults  int                             // at least
	enough  func(done []check.Account) bool // nil, or whether the load was enough
	draw    func(dice *rand.Rand, r *rig.Rig) rig.Fault
	pause   time.Duration // between two faults, at most
	cancel  bool          // a third of the runs are cancelled at some time

	t      testing.TB
	r      *rig.Rig
	http   *http.Client
	active atomic.Int64 // runs that are open
	events atomic.Int64
	struck atomic.Int64 // faults that hit an open run
	halt   chan struct{}

	mu       sync.Mutex
	accounts []check.Account
}

// dice are those of one part of the campaign: each has its own, so that the faults do not depend on the load.
func (c *campaign) dice(part string, n int) *rand.Rand {
	var sum uint64
	for _, b := range []byte(part) {
		sum = sum*31 + uint64(b)
	}
	return rand.New(rand.NewPCG(c.seed, sum+uint64(n)))
}

// play runs the whole story and returns what the checker says. The rig's faults fail the test.
func (c *campaign) play(t testing.TB) *check.Report {
	t.Helper()
	began := time.Now()
	c.prepare(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Hour)
	t.Cleanup(cancel)
	if err := c.r.Start(withPatience(t, ctx, wellPatience)); err != nil {
		t.Fatal(err)
	}
	up := time.Since(began)
	quiet, stopLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	load.Go(func() { c.load(quiet) })
	c.warm(ctx)
	c.strike(ctx)
	close(c.halt)
	timer := time.AfterFunc(quietPatience, stopLoad)
	load.Wait()
	timer.Stop()
	stopLoad()
	c.http.CloseIdleConnections()
	h := c.history(ctx)
	report := check.Check(h)
	t.Logf("seed %d: %d faults struck open runs; up in %v, %v in all; %d model calls\n%s",
		c.seed, c.struck.Load(), up.Round(time.Second), time.Since(began).Round(time.Second), c.r.Model.Asked.Load(), report)
	return report
}

// prepare lays out the rig. Its directory is kept when the test fails.
func (c *campaign) prepare(t testing.TB) {
	t.Helper()
	c.t, c.halt = t, make(chan struct{})
	if *seed != 0 {
		c.seed = *seed
	}
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("go test -tags '"+tags+"' ./e2e/chaos -run '^%s$' -seed %d -count 1", t.Name(), c.seed)
	c.rig.Dir, c.rig.Root, c.rig.Midstream, c.rig.NATSServer = dir, root, *midstream, filepath.Join(binaries, "nats-server")
	c.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c.r, err = rig.New(c.rig)
	t.Cleanup(func() {
		if err := c.r.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() || *keep {
			t.Logf("logs are in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// load keeps so many clients busy until the faults are over, and lets them end what they have begun.
func (c *campaign) load(ctx context.Context) {
	var all sync.WaitGroup
	for n := range c.clients {
		all.Go(func() {
			for i := 0; !c.halted() && ctx.Err() == nil; i++ {
				c.client(ctx, fmt.Sprintf("run-%d-%d-%d", c.seed, n, i), c.dice("client", n*100_000+i))
			}
		})
	}
	all.Wait()
}

func (c *campaign) halted() bool {
	select {
	case <-c.halt:
		return true
	default:
		return false
	}
}

func (c *campaign) client(ctx context.Context, name string, dice *rand.Rand) {
	var gateways []string
	for _, g := range c.r.Gateways {
		gateways = append(gateways, g.URL)
	}
	var canceller sync.WaitGroup
	doomed := c.cancel && dice.IntN(3) == 0
	after := time.Duration(dice.IntN(1500)) * time.Millisecond
	client := rig.Client{
		Script: c.script(dice, name), Gateways: gateways, Dice: dice, Cut: c.cut, HTTP: c.http, Event: func() { c.events.Add(1) },
		Created: func(response string) {
			c.active.Add(1)
			if doomed {
				canceller.Go(func() { c.cancelRun(ctx, response, gateways, after) })
			}
		},
	}
	account := client.Run(ctx)
	canceller.Wait()
	account.Cancel = doomed
	if account.Next > 0 {
		c.active.Add(-1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accounts = append(c.accounts, account)
}

// warm waits until the load is worth striking.
func (c *campaign) warm(ctx context.Context) {
	c.t.Helper()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for range 30 {
		before := c.events.Load()
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatal(ctx.Err())
		}
		if rate := (c.events.Load() - before) / 2; rate >= warmth {
			c.t.Logf("%d events a second to %d open runs before the first fault", rate, c.active.Load())
			return
		}
	}
	c.t.Fatalf("never more than %d events a second: this machine is too slow for the story to prove anything", warmth)
}

// strike does the faults, one after the other.
func (c *campaign) strike(ctx context.Context) {
	c.t.Helper()
	dice := c.dice("faults", 0)
	began := time.Now()
	for n := 0; n < c.faults || !c.loaded(); n++ {
		f := c.draw(dice, c.r)
		open := c.active.Load()
		if open > 0 {
			c.struck.Add(1)
		}
		at := time.Since(began)
		f.Strike()
		if err := f.Heal(ctx); err != nil {
			c.t.Fatalf("put right %s: %v", f, err)
		}
		if err := c.r.Well(withPatience(c.t, ctx, wellPatience)); err != nil {
			c.t.Fatalf("after %s: %v", f, err)
		}
		c.t.Logf("%3d  %6.1f s  %s, %d open runs, well after %.1f s", n+1, at.Seconds(), f, open, (time.Since(began) - at).Seconds())
		rest(ctx, time.Duration(dice.Int64N(int64(c.pause)+1)))
	}
	if c.faults > 0 && c.struck.Load() == 0 {
		c.t.Fatal("no fault has struck an open run: the story proves nothing")
	}
}

// loaded reports whether the clients have done enough.
func (c *campaign) loaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enough == nil || c.enough(c.accounts)
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func withPatience(t testing.TB, ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	t.Cleanup(cancel)
	return ctx
}

// sound fails the test for every fault, some of them in full.
func sound(t testing.TB, r *check.Report) {
	t.Helper()
	const shown = 20
	faults := r.Faults()
	for _, f := range faults[:min(shown, len(faults))] {
		t.Error(f)
	}
	if len(faults) > shown {
		t.Errorf("and %d more", len(faults)-shown)
	}
}
