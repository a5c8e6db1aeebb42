package producers

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// simSchedules is how many schedules a run of the tests tries. The variable SCHEDULES says otherwise.
const simSchedules = 200

// simWatch is how long a bubble may take in real time: one that waits for a lock, or spins, stands still in virtual time.
const simWatch = 2 * time.Minute

// Whatever is lost, late, stale, doubted, cut, killed, paused or restarted: every response ends once, in order, sealed, with
// every reader's bytes those of the log, no tool called twice, and nothing left in the queue. See docs/reliability.md.
//
// It runs beside no other test: see play.
func TestSimulation(t *testing.T) {
	want, done, all := simSchedules, 0, newTally()
	if n, err := strconv.Atoi(os.Getenv("SCHEDULES")); err == nil {
		want = n
	}
	emptyPools()
	for done < want && !t.Failed() {
		rapid.Check(t, func(rt *rapid.T) {
			p := plans.Draw(rt, "plan")
			w, err := play(t, p)
			if err != nil {
				rt.Fatalf("%s\n%v", p, err)
			}
			done += len(p.Scenes)
			all.add(w)
		})
	}
	t.Logf("%d schedules; %s", done, all)
}

// play runs a plan in a bubble. rapid must not be spoken to from within: its failures are panics of its own goroutine.
func play(t *testing.T, p *plan) (w *world, err error) {
	defer emptyPools()
	watch := time.AfterFunc(simWatch, func() { panic(fmt.Sprintf("no end after %v of real time\n%s", simWatch, p)) })
	defer watch.Stop()
	synctest.Test(t, func(*testing.T) {
		w = newWorld(p)
		err = w.run()
	})
	return w, err
}

// emptyPools takes away what the NATS client keeps in pools of the process: a timer belongs to its bubble for ever. What is
// in a pool survives one collection, not two.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}
