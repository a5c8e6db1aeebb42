//go:build e2e

package chaos

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
)

// TestChaos_Zombies promises that a producer which stood still until others took its runs over does no harm when it goes
// on: nothing of it gets into a log behind the claim of another, no job of another's is lost, no tool runs again.
func TestChaos_Zombies(t *testing.T) {
	r := zombies(t, 11, pauses)
	if len(r.Takeovers) < pauses {
		t.Errorf("%d pauses made only %d zombies", pauses, len(r.Takeovers))
	}
	sound(t, r)
}

func zombies(t testing.TB, seed uint64, n int) *check.Report {
	t.Helper()
	c := &campaign{
		seed: seed, clients: 24, cut: 8000, script: talk, faults: n, pause: time.Second,
		draw: func(dice *rand.Rand, r *rig.Rig) rig.Fault {
			shortest := r.AckWait + time.Second
			return rig.Pause{
				Victim: r.Producers[dice.IntN(len(r.Producers))].Process,
				For:    shortest + time.Duration(dice.Int64N(int64(longestPause-shortest))),
			}
		},
	}
	return c.play(t)
}
