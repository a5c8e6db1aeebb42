//go:build linux || darwin || freebsd

package embed

import "syscall"

// diskOf counts like df: what only root may use belongs to nobody.
func diskOf(dir string) (free, total int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	size := int64(fs.Bsize) //nolint:unconvert // another type on other systems
	free = int64(fs.Bavail) * size
	return free, free + int64(fs.Blocks-fs.Bfree)*size, nil
}
