//go:build e2e

package chaos

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
)

// TestChaos_Kills promises that kill -9 of any process at any time costs nothing but time: no event is lost, doubled or out
// of order for any reader on any server, each response ends once, and no tool that must run once runs twice.
func TestChaos_Kills(t *testing.T) {
	c := &campaign{
		seed: 1, clients: 24, cut: 4000, script: talk, faults: kills, draw: drawKill, pause: time.Second,
		enough: func(done []check.Account) bool { return len(done) >= runs },
	}
	sound(t, c.play(t))
}

// TestChaos_Resumes promises that a reader who loses its connection again and again, in the middle of a line or of a letter,
// and goes on at whichever gateway, gets every byte once.
func TestChaos_Resumes(t *testing.T) {
	c := &campaign{
		seed: 5, clients: 24, cut: 400, script: talk, faults: 3, pause: time.Second,
		enough: func(done []check.Account) bool { return countResumes(done) >= resumes },
		draw: func(dice *rand.Rand, r *rig.Rig) rig.Fault {
			return rig.Kill{Victims: []*rig.Process{r.Gateways[dice.IntN(len(r.Gateways))].Process}}
		},
	}
	sound(t, c.play(t))
}

func countResumes(done []check.Account) (n int) {
	for i := range done {
		n += len(done[i].Resumes)
	}
	return n
}

// talk is a run of some seconds, half of them with tools.
func talk(dice *rand.Rand, run string) rig.Script {
	return rig.Script{Run: run, Words: 30 + dice.IntN(60), Gap: 20 + dice.IntN(40), Calls: dice.IntN(2) * (1 + dice.IntN(3))}
}

// drawKill takes nodes more often than servers: a server's end makes all wait for an election, a node's lets others go on.
func drawKill(dice *rand.Rand, r *rig.Rig) rig.Fault {
	down := time.Duration(dice.IntN(1000)) * time.Millisecond
	switch n := dice.IntN(10); {
	case n < 4:
		return rig.Kill{Victims: []*rig.Process{r.Gateways[dice.IntN(len(r.Gateways))].Process}, Down: down}
	case n < 8:
		return rig.Kill{Victims: []*rig.Process{r.Producers[dice.IntN(len(r.Producers))].Process}, Down: down}
	default:
		return rig.Kill{Victims: []*rig.Process{r.Servers[dice.IntN(len(r.Servers))].Process}, Down: down}
	}
}
