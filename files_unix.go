//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// openFilesLimit returns how many files a process may have open. The runtime raises it to the hard limit for itself.
func openFilesLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read limit of open files: %w", err)
	}
	return uint64(limit.Max), nil //nolint:unconvert // signed on FreeBSD
}
