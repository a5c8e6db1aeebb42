package sseserver

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	"github.com/midstream-dev/midstream/schema"
)

// described is an OpenAPI document: raw, and as the schemas' compiler wants it.
type described struct {
	doc map[string]any
	any any
}

func parseOpenAPI(t *testing.T, text []byte) described {
	t.Helper()
	var d described
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d.doc); err != nil {
		t.Fatal(err)
	}
	if d.any, err = jsonschema.UnmarshalJSON(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return d
}

// operations are the document's, as "GET /v1/responses/{id}".
func (d described) operations() []string {
	var all []string
	for path, item := range d.doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// schema compiles one of the document's schemas.
func (d described) schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("openapi.yaml", d.any); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("openapi.yaml#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(s *jsonschema.Schema, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// Every route is described, and every operation that is described is routed.
func TestOpenAPI_Routes(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Conversations, c.Errands, c.Ingest = liveBroker(t), fixedErrands{}, liveBroker(t) })
	var routed []string
	for _, r := range s.echo.Routes() {
		if r.Method != "echo_route_not_found" {
			path := strings.NewReplacer(":id", "{id}", ":item", "{item}", "models/*", "models/{model}").Replace(r.Path)
			routed = append(routed, r.Method+" "+path)
		}
	}
	slices.Sort(routed)
	if diff := cmp.Diff(routed, parseOpenAPI(t, openAPI).operations()); diff != "" {
		t.Errorf("operations (-routed +described):\n%s", diff)
	}
}

// Every reference leads to something, every operation has its own id, and nothing is described that no operation uses.
func TestOpenAPI_References(t *testing.T) {
	t.Parallel()
	d := parseOpenAPI(t, openAPI)
	used, ids := map[string]bool{}, map[string]bool{}
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, v := range n {
				walk(v)
			}
		case map[string]any:
			for key, v := range n {
				text, isText := v.(string)
				if isText && key == "$ref" {
					used[text] = true
				} else if isText && key == "operationId" && n["responses"] != nil { // a link has one too
					if ids[text] {
						t.Errorf("two operations are %s", text)
					}
					ids[text] = true
				}
				walk(v)
			}
		}
	}
	walk(d.doc)
	for ref := range used {
		if !d.has(ref) {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	for kind, entries := range d.doc["components"].(map[string]any) {
		for name := range entries.(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; !used[ref] && kind != "securitySchemes" { // those are named, not referred to
				t.Errorf("%s is used nowhere", ref)
			}
		}
	}
	if len(used) < 20 {
		t.Errorf("only %d references found: this test looks in the wrong place", len(used))
	}
}

func (d described) has(ref string) bool {
	var node any = d.doc
	for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		object, _ := node.(map[string]any)
		node = object[key]
	}
	return node != nil
}

// Every event of the canonical order's stories, and of a whole response with its lifecycle, is as described.
func TestOpenAPI_Events(t *testing.T) {
	t.Parallel()
	s := parseOpenAPI(t, openAPI).schema(t, "StreamEvent")
	files, err := filepath.Glob("../schema/testdata/stories/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d stories: %v", len(files), err)
	}
	for _, file := range files {
		for _, part := range mustTxtar(t, file).Files {
			for line := range bytes.Lines(part.Data) {
				if part.Name == "out" && bytes.HasPrefix(line, []byte("{")) && !bytes.Contains(line, []byte(`"response":{`)) {
					if err := validate(s, line); err != nil {
						t.Errorf("%s: %s: %v", filepath.Base(file), line, err)
					}
				}
			}
		}
	}
	for line := range bytes.Lines(whole(t, storyID, "word").all()) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if err := validate(s, data); err != nil {
				t.Errorf("%s: %v", data, err)
			}
		}
	}
}

func mustTxtar(t *testing.T, file string) *txtar.Archive {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The schema of events, items and responses refuses what the code never says.
func TestOpenAPI_SchemasCanRefuse(t *testing.T) {
	t.Parallel()
	d := parseOpenAPI(t, openAPI)
	for _, c := range []struct{ schema, data string }{
		{"StreamEvent", `{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"x","logprobs":[]}`},
		{"StreamEvent", `{"type":"response.output_text.delta","sequence_number":1,"item_id":"m","output_index":0,"content_index":0}`},
		{"StreamEvent", `{"type":"response.completed","sequence_number":1,"response":{"id":"x"}}`},
		{"OutputItem", `{"type":"mcp_call","id":"mcp_1","status":"completed"}`},
		{"OutputItem", `{"type":"message"}`},
		{"Error", `{"error":{"message":"m","type":"t"}}`},
		{"CreateRequest", `{"model":"demo"}`},
		{"CreateRequest", `{"model":"demo","input":"hi","temperature":3}`},
		{"CreateRequest", `{"model":"demo","input":[{"type":"item_reference"}]}`},
		{"CreateRequest", `{"model":"demo","input":"hi","max_tokens":3}`},
		{"InputRequest", `{"model":"demo","input":"hi","max_tokens":3}`},
		{"InputRequest", `{"model":"demo","input":"hi","stream":true}`},
	} {
		if validate(d.schema(t, c.schema), []byte(c.data)) == nil {
			t.Errorf("%s takes %s", c.schema, c.data)
		}
	}
}

// The members of a create request that are described are those that are known: all others are refused.
func TestOpenAPI_CreateMembers(t *testing.T) {
	t.Parallel()
	described := inside(parseOpenAPI(t, openAPI).doc, "components", "schemas", "CreateRequest", "properties")
	for name := range described {
		body := fmt.Appendf(nil, `{"model":"demo","input":"hi",%q:null}`, name)
		if name == "model" || name == "input" {
			body = []byte(`{"model":"demo","input":"hi"}`)
		}
		if _, err := schema.ParseCreate(body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for field := range reflect.TypeFor[schema.CreateRequest]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && described[name] == nil {
			t.Errorf("%s is not described", name)
		}
	}
	if len(described) < 30 {
		t.Errorf("only %d members are described", len(described))
	}
}

func inside(doc map[string]any, path ...string) map[string]any {
	for _, name := range path {
		doc, _ = doc[name].(map[string]any)
	}
	return doc
}

// The document is served as it is, and not twice to the same caller.
func TestOpenAPI_Served(t *testing.T) {
	t.Parallel()
	s := serve(t)
	resp := s.get(t, "/openapi.yaml")
	if body := read(t, resp); !bytes.Equal(body, openAPI) || resp.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%d bytes, headers %v", len(body), resp.Header)
	}
	tag := resp.Header.Get("ETag")
	for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if resp := s.get(t, "/openapi.yaml", "If-None-Match", known); resp.StatusCode != http.StatusNotModified || len(read(t, resp)) != 0 {
			t.Errorf("If-None-Match %s: status %d", known, resp.StatusCode)
		}
	}
	if resp := s.get(t, "/openapi.yaml", "If-None-Match", `"x"`); resp.StatusCode != http.StatusOK {
		t.Errorf("another copy: status %d", resp.StatusCode)
	}
}
