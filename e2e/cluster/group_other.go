//go:build !linux

package cluster

import "syscall"

// group gives a process a group of its own.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
