//go:build e2e

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/tools/txtar"
)

// mutantPatience is how long a mutant may take to be found out.
const mutantPatience = 5 * time.Minute

// root is the module's directory, seen from here.
const root = "../.."

// mutant is a source file with one defence taken out.
type mutant struct {
	file, red string
	ci        bool
	old, new  []byte
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

// readMutant reads: why, a blank line, fields, and the old and the new text.
func readMutant(t *testing.T, path string) mutant {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil || len(archive.Files) != 2 {
		t.Fatalf("%s has no old and new text: %v", path, err)
	}
	m := mutant{old: archive.Files[0].Data, new: archive.Files[1].Data}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "file":
			m.file = value
		case "red":
			m.red = value
		case "ci":
			m.ci = true
		}
	}
	return m
}

// overlay writes the changed source, and tells the compiler to read it instead.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, changed := bytes.TrimSuffix(m.old, []byte("\n")), bytes.TrimSuffix(m.new, []byte("\n"))
	if n := bytes.Count(source, old); n != 1 {
		t.Fatalf("%s has the text of its mutant %d times:\n%s", m.file, n, old)
	}
	dir := t.TempDir()
	mutated := filepath.Join(dir, "mutated.go")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err == nil {
		err = os.WriteFile(mutated, bytes.Replace(source, old, changed, 1), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "overlay.json")
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

func goTest(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mutantPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-vet=off", "-count=1", "-failfast", fmt.Sprintf("-timeout=%v", mutantPatience)}, args...)...)
	cmd.Dir = root
	text, err := cmd.CombinedOutput()
	return string(text), err
}
