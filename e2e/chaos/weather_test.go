//go:build e2e

package chaos

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
)

// TestChaos_Weather promises that nothing that happens to processes and to the lines between them costs more than time:
// partitions, half-open and slow lines, pauses, rolling restarts, the end of all servers or of everything at once.
func TestChaos_Weather(t *testing.T) {
	c := &campaign{seed: 17, clients: 24, cut: 6000, script: talk, faults: weather, draw: drawWeather, pause: time.Second}
	sound(t, c.play(t))
}

// drawWeather takes any fault, for any time.
func drawWeather(dice *rand.Rand, r *rig.Rig) rig.Fault {
	server := dice.IntN(len(r.Servers))
	node := r.Nodes()[dice.IntN(len(r.Nodes()))]
	long := 500*time.Millisecond + time.Duration(dice.Int64N(int64(longestPause)))
	short := 200*time.Millisecond + time.Duration(dice.Int64N(int64(2*time.Second)))
	name := r.Servers[server].Name
	both := rig.State{There: true, Back: true}
	kinds := []rig.Fault{
		rig.Lines{What: name + " alone", Lines: r.Island(server), State: both, For: long},
		rig.Lines{What: name + " deaf", Lines: r.Island(server), State: rig.State{Back: true}, For: long},
		rig.Lines{What: name + " far", Lines: r.Island(server), State: rig.State{Delay: 40 * time.Millisecond}, For: long},
		rig.Lines{What: node.Name + " alone", Lines: node.Lines, State: both, For: long},
		rig.Lines{What: node.Name + " deaf", Lines: node.Lines, State: rig.State{Back: true}, For: long},
		rig.Cut{Lines: node.Lines},
		rig.Pause{Victim: r.Servers[server].Process, For: long},
		rig.Pause{Victim: node.Process, For: long},
		&rig.Restart{Victim: node.Process},
		rig.Kill{Victims: processes(r.Servers), Down: short},
		rig.Kill{Victims: r.Processes(), Down: short},
	}
	return kinds[dice.IntN(len(kinds))]
}

func processes(servers []*rig.Server) (all []*rig.Process) {
	for _, s := range servers {
		all = append(all, s.Process)
	}
	return all
}

// TestChaos_Deploy promises that a rolling restart of every node, one after the other, loses nothing, ends well, and hands runs
// over instead of letting their leases run out.
func TestChaos_Deploy(t *testing.T) {
	turn := 0
	c := &campaign{
		seed: 19, clients: 24, cut: 6000, script: talk, faults: deploys, pause: time.Second,
		draw: func(_ *rand.Rand, r *rig.Rig) rig.Fault {
			turn++
			return &rig.Restart{Victim: r.Nodes()[turn%len(r.Nodes())].Process}
		},
	}
	report := c.play(t)
	if half := check.Quantile(report.Takeovers, 0.5); len(report.Takeovers) == 0 || half >= c.r.AckWait {
		t.Errorf("%d runs went to another node, half of them after %v, which is as long as a lease lasts", len(report.Takeovers), half)
	}
	sound(t, report)
}
