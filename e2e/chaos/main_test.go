//go:build e2e

package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

var (
	seed      = flag.Uint64("seed", 0, "seed of the faults; 0 takes the story's own")
	keep      = flag.Bool("keep", false, "keep the logs of every process")
	midstream = flag.String("midstream", "", "binary to test; built if empty")
)

// binaries is where the programs are that every story starts.
var binaries string

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(run{m})
}

type run struct{ tests *testing.M }

// Run builds the programs, and lets goleak look only after they are gone.
func (r run) Run() int {
	dir, err := os.MkdirTemp("", "midstream-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	if err := buildAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return r.tests.Run()
}

func buildAll() error {
	if err := build("nats-server", "github.com/nats-io/nats-server/v2"); err != nil {
		return err
	}
	if *midstream != "" {
		return nil
	}
	*midstream = filepath.Join(binaries, "midstream")
	return build("midstream", "github.com/midstream-dev/midstream")
}

// build compiles a program to the directory of binaries.
func build(name string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", filepath.Join(binaries, name)}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, text)
	}
	return nil
}
