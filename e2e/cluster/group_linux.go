package cluster

import "syscall"

// group gives a process a group of its own, and lets the kernel end it if we die without having been able to.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
