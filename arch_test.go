package main

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const module = "github.com/midstream-dev/midstream"

// pkg is a package as `go list` tells of it, with the paths below our module shortened: "broker/hub", and "" for main.
type pkg struct {
	ImportPath string
	Imports    []string
}

// importRule says that a package must not import something, and why.
type importRule struct {
	name, why string
	broken    func(from, to string) bool
}

// in reports whether path is dir or below it.
func in(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func inAny(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return in(path, dir) })
}

// outside is a rule for a foreign library that only some of our packages may know.
func outside(library, why string, allowed ...string) importRule {
	return importRule{library + " only in " + strings.Join(allowed, " and "), why, func(from, to string) bool {
		return in(to, library) && !inAny(from, allowed...)
	}}
}

// layer is a rule for what of our own a package may know.
func layer(dir, why string, allowed ...string) importRule {
	return importRule{dir + " knows only " + strings.Join(allowed, ", "), why, func(from, to string) bool {
		return in(from, dir) && in(to, module) && !inAny(strings.TrimPrefix(to, module+"/"), append(allowed, dir)...)
	}}
}

var importRules = []importRule{
	layer("schema", "the language must be usable, and testable, without any of us"),
	layer("broker", "the log knows the language and nothing above itself", "schema"),
	layer("producers", "producers and sseserver meet in the log: a shortcut would be lost with the process", "broker", "schema"),
	layer("sseserver", "producers and sseserver meet in the log: a shortcut would be lost with the process", "broker", "schema"),
	{"schema does no I/O", "so that it is the same on every node and in every replay", func(from, to string) bool {
		return in(from, "schema") && inAny(to, "os", "net", "syscall", "io/fs", "io/ioutil", "log", "math/rand", "crypto/rand")
	}},
	outside("github.com/nats-io", "one place interprets JetStream; the rest speaks of responses and records", "broker", "examples", "e2e/bench"),
	outside("github.com/nats-io/nats-server", "a client of an existing NATS needs no server", "broker/embed"),
	{"broker/sim only in tests", "a server that forgets everything has no place in a node", func(_, to string) bool {
		return in(to, module+"/broker/sim")
	}},
	outside("github.com/mark3labs/mcp-go", "its holes are closed in one wrapper", "producers/mcp", "e2e"),
	outside("github.com/labstack/echo", "HTTP stays at the face", "sseserver"),
	outside("github.com/openai/openai-go", "dialects of upstreams are one package's knowledge", "producers/upstream", "e2e"),
	{"no encoding/json", "it accepts duplicate names and folded case, which two readers may read differently",
		func(from, to string) bool { return to == "encoding/json" && !in(from, "e2e") }},
	{"no drawers", "a package is named for what it holds, not for being useful", func(from, _ string) bool {
		return slices.Contains([]string{"util", "utils", "common", "helpers", "types", "misc"}, filepath.Base(from))
	}},
}

// TestImports promises that packages know only what docs/architecture.md lets them know.
func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		for _, to := range p.Imports {
			for _, rule := range importRules {
				if rule.broken(p.ImportPath, to) {
					t.Errorf("%s imports %s: %s, because %s", p.ImportPath, to, rule.name, rule.why)
				}
			}
		}
	}
}

// TestImportRules promises that each rule refuses what it was made for.
func TestImportRules(t *testing.T) {
	t.Parallel()
	refused := [][2]string{
		{"schema", module + "/broker"}, {"schema", "os"}, {"broker/hub", module + "/sseserver"},
		{"producers/mcp", module + "/sseserver"}, {"sseserver", module + "/producers/upstream"},
		{"sseserver", "github.com/nats-io/nats.go"}, {"broker", "github.com/nats-io/nats-server/v2/server"},
		{"producers", "github.com/mark3labs/mcp-go/mcp"}, {"", "github.com/labstack/echo/v4"},
		{"producers", "github.com/openai/openai-go/v3"}, {"broker", "encoding/json"}, {"broker/util", "fmt"}, {"", module + "/broker/sim"},
	}
	for _, pair := range refused {
		if !slices.ContainsFunc(importRules, func(r importRule) bool { return r.broken(pair[0], pair[1]) }) {
			t.Errorf("no rule keeps %s from importing %s", pair[0], pair[1])
		}
	}
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "-tags=e2e,nightly", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []pkg
	for stream := jsontext.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := json.UnmarshalDecode(stream, &p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		packages = append(packages, p)
	}
}

// source is one Go file of ours.
type source struct {
	path string
	test bool
	set  *token.FileSet
	file *ast.File
}

func (s source) line(pos token.Pos) int { return s.set.Position(pos).Line }

// bubbles reports whether the file's tests run in virtual time, where a sleep costs nothing and is exact.
func (s source) bubbles() bool {
	return slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
}

// sources parses every Go file of the module, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "tools") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		all = append(all, source{path, strings.HasSuffix(path, "_test.go"), set, file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files found: this test looks in the wrong place", len(all))
	}
	return all
}

// Bounds of what a reader takes in at once.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

// TestSizes promises files and functions that a reader can take in.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if n := s.line(s.file.FileEnd); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", s.path, n, maxFileLines)
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.line(f.Body.Rbrace) - s.line(f.Body.Lbrace) - 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

// TestPackageComments promises that every package says what it is, once, in doc.go. The programs below e2e, and
// the examples, are one file each.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	commented := map[string][]string{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		if s.test || inAny(dir, "examples") || strings.HasPrefix(dir, "e2e/") {
			continue
		}
		if _, known := commented[dir]; !known {
			commented[dir] = nil
		}
		if s.file.Doc != nil {
			commented[dir] = append(commented[dir], filepath.Base(s.path))
		}
	}
	for dir, files := range commented {
		if !slices.Equal(files, []string{"doc.go"}) {
			t.Errorf("%s has its package comment in %v, want it in doc.go alone", dir, files)
		}
	}
}

// forbidden are calls that no code of a kind may make: by directory, then by "package.Function".
var forbidden = []struct {
	why   string
	where func(s source) bool
	calls []string
}{
	{
		"a test that waits for time is slow on one machine and wrong on the next",
		func(s source) bool { return s.test && !s.bubbles() },
		[]string{"time.Sleep"},
	},
	{
		"schema has no clock: the same records give the same state",
		func(s source) bool { return in(s.path, "schema") && !s.test },
		[]string{"time.Now", "time.Since", "time.Until", "time.After", "time.NewTimer", "time.Sleep", "rand.Int"},
	},
}

// TestCalls promises that the calls of the table above are not made. A line that says why it may is let through: virtual
// time, or nolint, whose reasons the linter asks for.
func TestCalls(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		excused := excusedLines(s)
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			for _, f := range forbidden {
				if ok && f.where(s) && slices.Contains(f.calls, x.Name+"."+sel.Sel.Name) && !excused[s.line(sel.Pos())] {
					t.Errorf("%s:%d calls %s.%s: %s", s.path, s.line(sel.Pos()), x.Name, sel.Sel.Name, f.why)
				}
			}
			return true
		})
	}
}

func excusedLines(s source) map[int]bool {
	lines := map[int]bool{}
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//nolint:") || strings.HasPrefix(c.Text, "// virtual time") {
				lines[s.line(c.Pos())] = true
			}
		}
	}
	return lines
}
