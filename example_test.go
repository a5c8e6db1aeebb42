package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const exampleFile = "midstream.example.yaml"

// Examples of what has no default, by key.
var exampleValues = map[string]string{
	"nats.user": "midstream", "nats.password": "${NATS_PASSWORD}", "nats.creds": "/etc/midstream/nats.creds",
	"nats.url": "nats://nats-1:4222,nats://nats-2:4222", "nats.ca": "/etc/midstream/ca.pem",
	"nats.cert": "/etc/midstream/cert.pem", "nats.key": "/etc/midstream/key.pem", "nats.monitor": "[http://nats-1:8222]",
	"nats.listen": "127.0.0.1:4222", "nats.secret_key": "${MIDSTREAM_SECRET}", "nats.other_keys": `["${MIDSTREAM_OLD_SECRET}"]`, "nats.renew_key": "false", "nats.partitions": "16",
	"nats.producer_user":     "producer",
	"nats.producer_password": "${NATS_PRODUCER_PASSWORD}",
	"mcp.allow_private":      `["10.1.0.0/16"]`, "node": "node-1", "insecure_listen": "false", "cors.origins": `["https://app.example.com", "http://localhost:3000"]`, "limits.log_age": "2h", "limits.disk_free": "10GiB",
	"upstreams.name": "main", "upstreams.dialect": "chat", "upstreams.base_url": "http://127.0.0.1:4010/v1",
	"upstreams.api_key": "${MAIN_KEY}", "upstreams.models": `["gpt-*", "local-*"]`,
	"upstreams.max_tokens_name": "max_tokens", "upstreams.send_reasoning": "true",
	"upstreams.max_tokens": "32000", "upstreams.cache_prompts": "true",
	"upstreams.model": "gpt-5-mini", "upstreams.retries": "2", "upstreams.fallback": "[spare]",
	"upstreams.max_calls": "100", "upstreams.max_wait": "30s", "upstreams.first_token": "5m",
	"upstreams.mcp": "gateway", "upstreams.resume": "true",
	"upstreams.first_byte": "2m", "upstreams.idle": "1m", "upstreams.total": "1h",
	"keys.name": "agents", "keys.secret": "${AGENTS_KEY}", "keys.tenant": "agents", "keys.scopes": "[ingest]",
	"keys.sha256":       "c6b77ec13e283b2fe355a6a060e363f701743feed6e036e2dbc47bdba01ab072",
	"mcp.servers.label": "files", "mcp.servers.url": "https://mcp.example.com/mcp",
	"mcp.servers.command":       `[npx, -y, "@modelcontextprotocol/server-filesystem", /srv/docs]`,
	"mcp.servers.env":           "{NODE_ENV: production}",
	"mcp.servers.authorization": "${MCP_TOKEN}", "mcp.servers.headers": "{X-Team: rivers}",
	"mcp.servers.connector_id":     "connector_files",
	"mcp.servers.idempotent_tools": "[read_file, list_directory]",
}

const exampleHead = `# Every setting of midstream serve, with its default where it has one. Made from config.go by make generate.
#
# midstream serve --config midstream.yaml
#
# Each key outside of a list is a flag (--nats.log-age) and a variable (MIDSTREAM_NATS_LOG_AGE) too: a flag wins over a
# variable, a variable over this file. In strings, ${NAME} stands for a variable of the environment; one that is not set
# is an error, and so is a key that is not known. Durations are written 250ms, 30s, 2h; sizes 64KiB, 8MiB, 4GiB.
#
# OPENAI_API_KEY in the environment, with no upstreams here, means OpenAI (or OPENAI_BASE_URL). Traces are exported when
# OTEL_EXPORTER_OTLP_ENDPOINT is set: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

`

// TestExample promises that midstream.example.yaml has every setting, with the default and the help of the code.
func TestExample(t *testing.T) {
	golden(t, exampleFile, exampleHead+describe(t, reflect.TypeFor[Config](), "", ""))
}

// TestExample_Loads promises that the file is legal as it is, and says nothing but the defaults; and that every line that
// is commented out is legal too.
func TestExample_Loads(t *testing.T) {
	raw, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if diff := cmp.Diff(mustLoad(t, ""), mustLoad(t, text)); diff != "" {
		t.Errorf("the example changes a default (-default +example):\n%s", diff)
	}
	for _, name := range []string{"NATS_PASSWORD", "NATS_PRODUCER_PASSWORD", "AGENTS_KEY", "MIDSTREAM_SECRET", "MIDSTREAM_OLD_SECRET", "MAIN_KEY", "MCP_TOKEN"} {
		t.Setenv(name, "x")
	}
	_, err = load(t, uncomment(text))
	if err == nil || !strings.Contains(err.Error(), "nats.listen and nats.sync are settings of the embedded server") {
		t.Errorf("with everything uncommented: %v; want only what cannot stand together", err)
	}
}

// uncomment turns "#key: value", and "#  key: value" in a list, into a setting; "# words" stay words.
func uncomment(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		at := strings.Index(line, "#")
		if at < 0 || strings.TrimSpace(line[:at]) != "" {
			continue
		}
		if words := strings.HasPrefix(line[at+1:], " ") && !strings.HasPrefix(line[at+1:], "  "); !words && line[at+1:] != "" {
			lines[i] = line[:at] + line[at+1:]
		}
	}
	return strings.Join(lines, "\n")
}

// describe writes the settings of a struct as YAML.
func describe(t *testing.T, typ reflect.Type, prefix, indent string) string {
	t.Helper()
	var b strings.Builder
	for field := range typ.Fields() {
		key := prefix + keyOf(field)
		name := indent + key[strings.LastIndexByte(key, '.')+1:]
		help := comment(indent, field.Tag.Get("help"))
		switch {
		case field.Tag.Get("prefix") != "":
			fmt.Fprintf(&b, "\n%s:\n%s", name, describe(t, field.Type, key+".", indent+"  "))
		case field.Tag.Get("kong") == "-":
			fmt.Fprintf(&b, "\n%s%s:\n%s", help, name, list(t, field.Type.Elem(), key+".", indent+"  "))
		case field.Tag.Get("default") != "":
			fmt.Fprintf(&b, "%s%s: %s\n", help, name, defaultOf(field))
		case exampleValues[key] == "":
			t.Errorf("%s has neither a default nor an example", key)
		default:
			fmt.Fprintf(&b, "%s%s#%s: %s\n", help, indent, strings.TrimSpace(name), exampleValues[key])
		}
	}
	return b.String()
}

// list writes one commented-out element of a list of objects.
func list(t *testing.T, typ reflect.Type, prefix, indent string) string {
	t.Helper()
	var b strings.Builder
	dash := "- "
	for field := range typ.Fields() {
		key := prefix + keyOf(field)
		if exampleValues[key] == "" {
			t.Errorf("%s has no example", key)
		}
		fmt.Fprintf(&b, "%s%s#%s%s: %s\n", comment(indent, field.Tag.Get("help")), indent, dash, keyOf(field), exampleValues[key])
		dash = "  "
	}
	return b.String()
}

// keyOf is what the file calls a field: the tag's name, or the field's in snake_case.
func keyOf(field reflect.StructField) string {
	for _, tag := range []string{"yaml", "name", "prefix"} {
		if name := strings.TrimSuffix(field.Tag.Get(tag), "."); name != "" {
			return strings.ReplaceAll(name, "-", "_")
		}
	}
	var b strings.Builder
	for i, r := range field.Name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 && field.Name[i-1] >= 'a' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

func defaultOf(field reflect.StructField) string {
	text := field.Tag.Get("default")
	if field.Type.Kind() == reflect.Slice {
		return "[" + strings.ReplaceAll(text, ",", ", ") + "]"
	}
	return text
}

// comment breaks a text into lines of 118 characters at most.
func comment(indent, text string) string {
	var b strings.Builder
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 118 {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
	return b.String()
}
