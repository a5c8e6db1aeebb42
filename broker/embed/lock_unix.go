//go:build unix

package embed

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps other processes out of the directory: two servers on one store destroy it. The kernel lets go of the lock
// when the process ends, however it ends.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return f.Close, nil
}
