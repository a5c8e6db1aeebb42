//go:build e2e && nightly

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/rig"
)

// TestChaos_LazySync promises that the story of power cuts can fail: with the server's own default for fsync, it does.
func TestChaos_LazySync(t *testing.T) {
	t.Log(mustFall(t, func(r *recorder) { sound(r, power(r, 7, 1, "2m")) }))
}

// diskBytes is the size of each server's disk in the story of full ones.
const diskBytes = 512 << 20

// TestChaos_DiskFull promises that a server whose disk is full, and which is started again when it is not, costs nothing but
// time.
func TestChaos_DiskFull(t *testing.T) {
	disks := mountMemory(t)
	c := &campaign{
		seed: 29, clients: 16, cut: 6000, script: talk, faults: 6, pause: 2 * time.Second,
		rig: rig.Config{Store: func(server int) string { return disks[server] }},
		draw: func(dice *rand.Rand, r *rig.Rig) rig.Fault {
			n := dice.IntN(len(disks))
			return &diskFull{victim: r.Servers[n].Process, disk: disks[n], lasts: time.Duration(1+dice.IntN(5)) * time.Second}
		},
	}
	sound(t, c.play(t))
}

// mountMemory gives each server a small disk of its own.
func mountMemory(t *testing.T) (disks []string) {
	t.Helper()
	for n := range 3 {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
			t.Skipf("no full disks here: no disk can be mounted: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		disks = append(disks, dir)
	}
	return disks
}

// diskFull is a fault: there is no room left, until somebody makes some and starts the server again.
type diskFull struct {
	victim *rig.Process
	disk   string
	lasts  time.Duration
	err    error
}

func (d *diskFull) String() string {
	return fmt.Sprintf("disk of %s full for %v", d.victim.Name, d.lasts)
}
func (d *diskFull) ballast() string { return filepath.Join(d.disk, "ballast") }

func (d *diskFull) Strike() {
	f, err := os.Create(d.ballast())
	if err != nil {
		d.err = err
		return
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.err = err
	}
}

func (d *diskFull) Heal(ctx context.Context) error {
	rest(ctx, d.lasts)
	d.victim.Kill()
	return errors.Join(d.err, os.Remove(d.ballast()), d.victim.Start())
}
