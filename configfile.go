package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxConfigFile bounds a configuration file, in bytes.
const maxConfigFile = 1 << 20

// configFile is a YAML file that was read: a [kong.Resolver] for what is a flag too, and the lists of objects.
type configFile struct {
	path      string
	values    map[string]fileValue // by flag name
	upstreams []UpstreamConfig
	servers   []MCPServerConfig
	keys      []KeyConfig
}

// fileValue is what stands behind one key: a string, or a list of strings.
type fileValue struct {
	line  int
	value any
}

// readConfigFile reads a file and puts the values of the environment's variables in.
func readConfigFile(path string) (*configFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxConfigFile {
		return nil, fmt.Errorf("read configuration %s: larger than %d bytes", path, maxConfigFile)
	}
	f := &configFile{path: path, values: map[string]fileValue{}}
	tree, err := parser.ParseBytes(markVariables(text), 0)
	if err != nil {
		return nil, f.at(err)
	}
	if len(tree.Docs) > 1 {
		return nil, fmt.Errorf("%s: more than one YAML document", path)
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return f, nil
	}
	return f, f.read(tree.Docs[0].Body)
}

func (f *configFile) read(body ast.Node) error {
	if err := expandVariables(body); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return f.section("", body)
}

// section reads a mapping: its leaves become values, two of its lists are read as they are.
func (f *configFile) section(prefix string, node ast.Node) error {
	if node.Type() == ast.NullType {
		return nil
	}
	mapping, ok := node.(ast.MapNode)
	if !ok {
		return fmt.Errorf("%s:%d: %q is not a section of keys and values", f.path, line(node), strings.TrimSuffix(prefix, "."))
	}
	for members := mapping.MapRange(); members.Next(); {
		key := prefix + strings.ReplaceAll(keyText(members.Key()), "_", "-")
		if err := f.member(key, members.Value()); err != nil {
			return err
		}
	}
	return nil
}

func keyText(key ast.MapKeyNode) string { return key.GetToken().Value }

// sections are the keys that hold others.
var sections = []string{"nats", "mcp", "cors", "limits", "websocket", "log"}

func (f *configFile) member(key string, value ast.Node) error {
	switch {
	case key == "upstreams":
		return f.list(value, &f.upstreams)
	case key == "keys":
		return f.list(value, &f.keys)
	case key == "mcp.servers":
		return f.list(value, &f.servers)
	case slices.Contains(sections, key):
		return f.section(key+".", value)
	}
	v, err := f.leaf(key, value)
	if err != nil || v == nil {
		return err
	}
	f.values[key] = fileValue{line(value), v}
	return nil
}

// leaf returns a scalar's text, or those of a list; nil for null. What a text means is for the flag to say.
func (f *configFile) leaf(key string, node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.NullNode:
		return nil, nil
	case *ast.SequenceNode:
		texts := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			text, err := f.leaf(key, v)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
		}
		return texts, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case ast.ScalarNode:
		return n.GetToken().Value, nil
	}
	return nil, fmt.Errorf("%s:%d: %s is neither a value nor a list of values", f.path, line(node), f.key(key))
}

func (f *configFile) list(node ast.Node, into any) error {
	if err := yaml.NodeToValue(node, into, yaml.Strict()); err != nil {
		return f.at(err)
	}
	return nil
}

// at gives a YAML error the file and line, and takes away the text around: it may hold a key.
func (f *configFile) at(err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", f.path, e.GetToken().Position.Line, e.GetMessage())
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

func line(n ast.Node) int { return n.GetToken().Position.Line }

// key is a setting as the file writes it.
func (f *configFile) key(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// check refuses keys that are no flag.
func (f *configFile) check(flags []*kong.Flag) error {
	var unknown []error
	for key, v := range f.values {
		known := slices.ContainsFunc(flags, func(flag *kong.Flag) bool { return flag.Name == key })
		if !known || key == "config" || key == "help" {
			unknown = append(unknown, fmt.Errorf("%s:%d: unknown key %q", f.path, v.line, f.key(key)))
		}
	}
	slices.SortFunc(unknown, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(unknown...)
}

// Validate is what kong's interface asks for, and does not call.
func (f *configFile) Validate(*kong.Application) error { return nil }

// Resolve returns what the file says, unless a variable of the environment says it.
func (f *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	if v, ok := f.values[flag.Name]; ok {
		return v.value, nil
	}
	return nil, nil
}
