//go:build e2e

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/tools/txtar"
)

// mutantPatience is how long a test may take to find a mutant out: one that hangs is found out, too.
const mutantPatience = 2 * time.Minute

// root is the module's directory, seen from here.
const root = "../.."

// mutant is the source with one defence taken out.
type mutant struct {
	red   string
	ci    bool
	edits []edit
}

type edit struct {
	file     string
	old, new []byte
}

// TestMutants promises that the tests can fail: for each defence that is taken out, the test that is named goes red. A
// mutant whose text is no longer in the source fails too, so that they stay true.
func TestMutants(t *testing.T) {
	paths, err := filepath.Glob("mutants/*.txtar")
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d mutants: %v", len(paths), err)
	}
	for _, path := range paths {
		m := readMutant(t, path)
		overlay := m.overlay(t)
		if !m.ci && !everyMutant {
			continue // its text was found
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { m.mustFall(t, overlay) })
	}
}

// readMutant reads: why, a blank line, fields, and pairs of an old text, with its file, and a new one.
func readMutant(t *testing.T, path string) mutant {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil || len(archive.Files) == 0 || len(archive.Files)%2 != 0 {
		t.Fatalf("%s has no pairs of old and new text: %v", path, err)
	}
	var m mutant
	for pair := range slices.Chunk(archive.Files, 2) {
		_, file, _ := strings.Cut(pair[0].Name, " ")
		m.edits = append(m.edits, edit{file, bytes.TrimSuffix(pair[0].Data, []byte("\n")), bytes.TrimSuffix(pair[1].Data, []byte("\n"))})
	}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "red":
			m.red = value
		case "ci":
			m.ci = true
		}
	}
	return m
}

// overlay writes the changed sources, and tells the compiler to read them instead.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	dir, replace := t.TempDir(), map[string]string{}
	for i, e := range m.edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(source, e.old); n != 1 || replace[path] != "" {
			t.Fatalf("%s has the text of its mutant %d times, or has two of them:\n%s", e.file, n, e.old)
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("mutated%d.go", i))
		write(t, replace[path], bytes.Replace(source, e.old, e.new, 1))
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), list)
	return filepath.Join(dir, "overlay.json")
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mustFall runs what must go red: a test of the package, or a story with the mutant's binary.
func (m mutant) mustFall(t *testing.T, overlay string) {
	t.Helper()
	began := time.Now()
	args := append([]string{"-overlay", overlay}, strings.Fields(m.red)...)
	if story, ok := strings.CutPrefix(m.red, "story "); ok {
		binary := "mutant-" + strings.TrimSuffix(filepath.Base(t.Name()), ".txtar")
		if err := build(binary, "-overlay", overlay, "github.com/midstream-dev/midstream"); err != nil {
			t.Fatal(err)
		}
		args = []string{"-tags", "e2e", "-overlay", overlay, "./e2e/chaos", "-run", "^" + story + "$", "-midstream", filepath.Join(binaries, binary)}
	}
	text, err := goTest(args...)
	switch {
	case err == nil:
		t.Errorf("%s stayed green:\n%s", m.red, text)
	case !strings.Contains(text, "--- FAIL") && !strings.Contains(text, "panic:"):
		t.Errorf("%s did not run: %v\n%s", m.red, err, text)
	}
	t.Logf("red after %v", time.Since(began).Round(time.Second))
}

// goTest runs tests of the module, and ends them with whatever they have started.
func goTest(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*mutantPatience)
	defer cancel()
	fixed := []string{"test", "-vet=off", "-count=1", "-failfast", fmt.Sprintf("-timeout=%v", mutantPatience)}
	cmd := exec.CommandContext(ctx, "go", append(fixed, args...)...)
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	text, err := cmd.CombinedOutput()
	return string(text), err
}
