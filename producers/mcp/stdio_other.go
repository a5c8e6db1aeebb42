//go:build !unix

package mcp

import (
	"os"
	"os/exec"
)

var (
	terminate = os.Kill
	kill      = os.Kill
)

// ownGroup does nothing where there are no process groups.
func ownGroup(*exec.Cmd) {}

func signalGroup(cmd *exec.Cmd, sig os.Signal) {
	_ = cmd.Process.Signal(sig) // the process may be gone
}
