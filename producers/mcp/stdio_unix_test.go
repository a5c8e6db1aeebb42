//go:build unix

package mcp

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Close ends the server's whole process group: what it has started goes with it.
func TestStdio_KillsProcessGroup(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	pid, err := strconv.Atoi(mustCall(t, p, stdioServer("server"), "child", "").Output)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grandchild is gone", func() bool { return isGone(pid) })
}

// isGone also counts a zombie that nobody has reaped, as in containers without an init.
func isGone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return syscall.Kill(pid, 0) != nil || (err == nil && strings.Contains(string(stat), ") Z "))
}
