//go:build e2e

package powercut

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newDisk(t *testing.T) *Disk {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("no disk can be mounted: %v", err)
	}
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// deed is what a program does with a disk.
type deed func(t *testing.T, dir string)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes bytes somewhere in a file.
func write(name string, flags int, at int64, text string, sync bool) deed {
	return func(t *testing.T, dir string) {
		f, err := os.OpenFile(filepath.Join(dir, name), flags|os.O_WRONLY, 0o600)
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte(text), at)
		must(t, err)
		if sync {
			must(t, f.Sync())
		}
	}
}

func durable(name, text string) deed { return write(name, os.O_CREATE, 0, text, true) }
func lazy(name, text string) deed    { return write(name, os.O_CREATE, 0, text, false) }

func syncDir(name string) deed {
	return func(t *testing.T, dir string) {
		d, err := os.Open(filepath.Join(dir, name))
		must(t, err)
		defer d.Close()
		must(t, d.Sync())
	}
}

func rename(from, to string) deed {
	return func(t *testing.T, dir string) { must(t, os.Rename(filepath.Join(dir, from), filepath.Join(dir, to))) }
}

func remove(name string) deed {
	return func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, name))) }
}

func mkdir(name string) deed {
	return func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, name), 0o700)) }
}

func truncate(name string, size int64) deed {
	return func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, name), size)) }
}

// TestCut promises that a power cut takes what was not fsynced, all of it and nothing else.
func TestCut(t *testing.T) {
	for name, story := range map[string]struct {
		deeds []deed
		want  map[string]string
	}{
		"what was fsynced stays":            {[]deed{durable("a", "one")}, map[string]string{"a": "one"}},
		"what was not is gone":              {[]deed{lazy("a", "one")}, map[string]string{}},
		"an append goes back":               {[]deed{durable("a", "one"), write("a", 0, 3, "two", false)}, map[string]string{"a": "one"}},
		"a second fsync keeps it":           {[]deed{durable("a", "one"), write("a", 0, 3, "two", true)}, map[string]string{"a": "onetwo"}},
		"what was overwritten comes back":   {[]deed{durable("a", "one"), write("a", 0, 1, "XYZ", false)}, map[string]string{"a": "one"}},
		"twice, in the right order":         {[]deed{durable("a", "one"), write("a", 0, 0, "two", false), write("a", 0, 1, "three", false)}, map[string]string{"a": "one"}},
		"what was cut off comes back":       {[]deed{durable("a", "a long text"), truncate("a", 2)}, map[string]string{"a": "a long text"}},
		"a file emptied on opening, too":    {[]deed{durable("a", "one"), write("a", os.O_TRUNC, 0, "2", false)}, map[string]string{"a": "one"}},
		"O_SYNC is an fsync":                {[]deed{write("a", os.O_CREATE|os.O_SYNC, 0, "one", false)}, map[string]string{"a": "one"}},
		"a removed file comes back":         {[]deed{durable("a", "one"), remove("a")}, map[string]string{"a": "one"}},
		"with its directory fsynced, not":   {[]deed{durable("a", "one"), remove("a"), syncDir("")}, map[string]string{}},
		"a new name without fsync":          {[]deed{durable("a", "one"), rename("a", "b")}, map[string]string{"a": "one"}},
		"a new name with it":                {[]deed{durable("a", "one"), rename("a", "b"), syncDir("")}, map[string]string{"b": "one"}},
		"a name that was taken":             {[]deed{durable("a", "old"), durable("b", "new"), rename("b", "a")}, map[string]string{"a": "old", "b": "new"}},
		"and with fsync":                    {[]deed{durable("a", "old"), durable("b", "new"), rename("b", "a"), syncDir("")}, map[string]string{"a": "new"}},
		"a name is not its content":         {[]deed{lazy("a", "one"), syncDir("")}, map[string]string{"a": ""}},
		"a directory goes with what it has": {[]deed{mkdir("d"), lazy("d/a", "one")}, map[string]string{}},
		"a directory that was moved away and made anew": {
			[]deed{mkdir("d"), durable("d/a", "one"), rename("d", "e"), mkdir("d"), durable("d/b", "two")},
			map[string]string{"d/b": "two", "e/a": "one"},
		},
		"a directory that was moved away twice": {
			[]deed{
				mkdir("d"), syncDir(""), rename("d", "e"), remove("e"), mkdir("d"), rename("d", "e"), mkdir("d"), durable("d/a", "one"),
			},
			map[string]string{"d/a": "one"},
		},
		"a durable file keeps its directory": {[]deed{mkdir("d"), durable("d/a", "one"), lazy("d/b", "two")}, map[string]string{"d/a": "one"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			for _, do := range story.deeds {
				do(t, d.Dir)
			}
			if _, err := d.Cut(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(story.want, content(t, d.Dir)); diff != "" {
				t.Errorf("after the power cut (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCut_Twice promises that a disk goes on after a power cut as if it were new.
func TestCut_Twice(t *testing.T) {
	d := newDisk(t)
	for _, text := range []string{"one", "two"} {
		durable(text, text)(t, d.Dir)
		lazy("lost", text)(t, d.Dir)
		if n, err := d.Cut(); err != nil || n == 0 {
			t.Fatalf("undid %d: %v", n, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"one": "one", "two": "two"}, content(t, d.Dir)); diff != "" {
		t.Error(diff)
	}
}

// TestDisk_RefusesLinks promises that what would not be undone is refused.
func TestDisk_RefusesLinks(t *testing.T) {
	d := newDisk(t)
	durable("a", "one")(t, d.Dir)
	for _, link := range []func(string, string) error{os.Link, os.Symlink} {
		if err := link(filepath.Join(d.Dir, "a"), filepath.Join(d.Dir, "b")); !errors.Is(err, syscall.ENOTSUP) {
			t.Errorf("got %v, want ENOTSUP", err)
		}
	}
}

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(text)
		return err
	}))
	return all
}
