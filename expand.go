package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A variable is marked before the text is parsed, and replaced behind: its value can then never be read as YAML. The
// marks are private-use characters, since ${NAME} itself is not legal in a {flow: mapping}.
const markStart, markEnd = "\ue000", "\ue001"

var (
	variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	marked   = regexp.MustCompile(markStart + `([A-Za-z_][A-Za-z0-9_]*)` + markEnd)
)

func markVariables(text []byte) []byte {
	return variable.ReplaceAll(text, []byte(markStart+"${1}"+markEnd))
}

// expandVariables puts the values of variables into the strings of a tree.
func expandVariables(tree ast.Node) error {
	var e expander
	ast.Walk(&e, tree)
	return errors.Join(e.missing...)
}

type expander struct{ missing []error }

// Visit is called for each node.
func (e *expander) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.StringNode:
		n.Value = e.expand(n.Value, n)
	case *ast.LiteralNode:
		n.Value.Value = e.expand(n.Value.Value, n)
		return nil
	}
	return e
}

func (e *expander) expand(s string, n ast.Node) string {
	return marked.ReplaceAllStringFunc(s, func(m string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(m, markStart), markEnd)
		value, ok := os.LookupEnv(name)
		if !ok {
			e.missing = append(e.missing, fmt.Errorf("line %d: the environment variable %s is not set", line(n), name))
		}
		return value
	})
}
