//go:build e2e

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/powercut"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
)

// TestChaos_PowerCuts promises that a power cut of one, two or all servers costs nothing but time, though the disks forget
// whatever was not fsynced.
func TestChaos_PowerCuts(t *testing.T) {
	sound(t, power(t, 7, cuts, "always"))
}

// power tells the story of power cuts. The last one takes all servers.
func power(t testing.TB, seed uint64, n int, sync string) *check.Report {
	t.Helper()
	disks := mountDisks(t)
	drawn := 0
	c := &campaign{
		seed: seed, clients: 24, cut: 4000, script: talk, faults: n, pause: time.Second,
		rig: rig.Config{Sync: sync, Store: func(server int) string { return disks[server].Dir }},
		draw: func(dice *rand.Rand, r *rig.Rig) rig.Fault {
			drawn++
			victims := dice.Perm(len(r.Servers))[:1+dice.IntN(len(r.Servers))]
			if drawn == n {
				victims = []int{0, 1, 2}
			}
			p := &powerCut{down: time.Duration(dice.IntN(1000)) * time.Millisecond}
			for _, v := range victims {
				p.Victims = append(p.Victims, r.Servers[v].Process)
				p.disks = append(p.disks, disks[v])
			}
			return p
		},
	}
	return c.play(t)
}

// mountDisks gives each server a disk that outlives the rig.
func mountDisks(t testing.TB) []*powercut.Disk {
	t.Helper()
	if err := powercut.Available(); err != nil {
		t.Skipf("no power cuts here: no disk can be mounted: %v", err)
	}
	var disks []*powercut.Disk
	for n := range 3 {
		d, err := powercut.New(filepath.Join(t.TempDir(), fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		disks = append(disks, d)
	}
	return disks
}

// powerCut is a fault: servers go dark, and come back with what was on their disks.
type powerCut struct {
	rig.Kill
	disks  []*powercut.Disk
	down   time.Duration
	undone int
	err    error
}

func (p *powerCut) String() string {
	return fmt.Sprintf("power cut, %s, %d changes undone", p.Kill, p.undone)
}

func (p *powerCut) Strike() {
	p.Kill.Strike()
	for _, d := range p.disks {
		n, err := d.Cut()
		p.undone += n
		p.err = errors.Join(p.err, err)
	}
}

func (p *powerCut) Heal(ctx context.Context) error {
	rest(ctx, p.down)
	return errors.Join(p.err, p.Kill.Heal(ctx))
}
