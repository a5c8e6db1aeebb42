package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// included finds a program's name and the fence below it, if there is one yet.
var included = regexp.MustCompile("(?m)^<!-- (e2e/clients/\\S+) -->\n(?:\n```[a-z]+\n(?s:.*?)\n```\n)?")

var fences = map[string]string{".mjs": "js", ".py": "python", ".go": "go", ".html": "html"}

// TestReadme_Programs promises that the README shows the programs that e2e runs, to the letter.
func TestReadme_Programs(t *testing.T) {
	text := readFile(t, "README.md")
	found := 0
	golden(t, "README.md", included.ReplaceAllStringFunc(text, func(s string) string {
		found++
		path := included.FindStringSubmatch(s)[1]
		program := readFile(t, path)
		return "<!-- " + path + " -->\n\n```" + fences[filepath.Ext(path)] + "\n" + strings.TrimSpace(program) + "\n```\n"
	}))
	if found != len(fences) {
		t.Errorf("%d programs, want one for each of %v", found, fences)
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestReadme_Configuration promises that the configuration in the README is one.
func TestReadme_Configuration(t *testing.T) {
	for _, name := range []string{"MAIN_KEY", "WEB_KEY", "AGENTS_KEY"} {
		t.Setenv(name, "0123456789-"+name)
	}
	blocks := yamlBlock.FindAllStringSubmatch(readFile(t, "README.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("there is none")
	}
	for _, block := range blocks {
		mustLoad(t, block[1])
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)

// TestDocs_Links promises that a link to a file of ours leads to one.
func TestDocs_Links(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	pages := strings.Fields(string(out))
	if len(pages) < 5 {
		t.Fatalf("only %v found", pages)
	}
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(readFile(t, page), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}

var directives = regexp.MustCompile(`\[\[[a-z]+`)

// TestDocs_Demo promises that docs/demo.md has all that the demo can be told to do, and nothing else.
func TestDocs_Demo(t *testing.T) {
	t.Parallel()
	names := func(path string) []string {
		all := directives.FindAllString(readFile(t, path), -1)
		slices.Sort(all)
		return slices.Compact(all)
	}
	said, can := names("docs/demo.md"), names("producers/upstream/demo.go")
	if diff := cmp.Diff(can, said); diff != "" || len(can) < 10 {
		t.Errorf("demo.go and docs/demo.md differ (-code +docs):\n%s", diff)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
