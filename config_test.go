package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/sseserver"
)

// load reads the configuration of `midstream serve` with a file and arguments, without serving.
func load(t *testing.T, text string, args ...string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "midstream.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var c command
	parser, err := kong.New(&c, kong.DefaultEnvars("MIDSTREAM"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = parser.Parse(append([]string{"serve", "--config", file}, args...)); err != nil {
		return nil, err
	}
	c.Serve.complete()
	return &c.Serve.Config, c.Serve.check()
}

func mustLoad(t *testing.T, text string, args ...string) *Config {
	t.Helper()
	cfg, err := load(t, text, args...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestConfig_File promises that the file of the documentation means what it says, to the letter.
func TestConfig_File(t *testing.T) {
	t.Setenv("MAIN_KEY", "sk-main")
	got := mustLoad(t, `
listen: 127.0.0.1:8080
roles: [gateway, producer, audit]
nats: {url: "", data: ./midstream-data, sync: always, partitions: 16, replicas: 1}
upstreams:
  - {name: main, dialect: chat, base_url: http://127.0.0.1:4010/v1, api_key: ${MAIN_KEY}, models: ["gpt-*", "local-*"]}
mcp:
  allow_private: ["127.0.0.0/8"]        # networks opened to URLs that clients name; none by default
  servers:
    - {label: everything, url: "http://127.0.0.1:4020/mcp"}
    - {label: files, command: [npx, -y, "@modelcontextprotocol/server-filesystem", /srv/docs]}
`)
	want := []UpstreamConfig{{
		Name: "main", Dialect: "chat", BaseURL: "http://127.0.0.1:4010/v1", APIKey: "sk-main", Models: []string{"gpt-*", "local-*"},
	}}
	if diff := cmp.Diff(want, got.Upstreams); diff != "" {
		t.Errorf("upstreams (-want +got):\n%s", diff)
	}
	servers := []MCPServerConfig{
		{Label: "everything", URL: "http://127.0.0.1:4020/mcp"},
		{Label: "files", Command: []string{"npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"}},
	}
	if diff := cmp.Diff(servers, got.MCP.Servers); diff != "" {
		t.Errorf("MCP servers (-want +got):\n%s", diff)
	}
	if len(got.MCP.AllowPrivate) != 1 || got.MCP.AllowPrivate[0] != netip.MustParsePrefix("127.0.0.0/8") {
		t.Errorf("allow_private is %v", got.MCP.AllowPrivate)
	}
	if got.NATS.Partitions != 16 || got.NATS.Sync != 0 || got.DemoOn() {
		t.Errorf("NATS is %+v, demo %v", got.NATS, got.DemoOn())
	}
}

// TestConfig_Precedence promises that a flag wins over a variable, both over the file, and the file over the default.
func TestConfig_Precedence(t *testing.T) {
	yaml := "limits: {turns: 3, run_time: 5m, body: 64KiB}\nnats: {sync: 250ms}\n"
	t.Setenv("MIDSTREAM_LIMITS_TURNS", "4")
	t.Setenv("MIDSTREAM_NATS_DATA", "/srv/log")
	got := mustLoad(t, yaml, "--limits.turns=5")
	if got.Limits.Turns != 5 || got.Limits.RunTime != 5*time.Minute || got.Limits.Body != 64<<10 {
		t.Errorf("with a flag: %+v", got.Limits)
	}
	if got.NATS.Data != "/srv/log" || got.NATS.Sync != SyncPolicy(250*time.Millisecond) || got.LogAge() != 65*time.Minute {
		t.Errorf("from variable, file and default: %+v, log age %s", got.NATS, got.LogAge())
	}
	if got := mustLoad(t, yaml); got.Limits.Turns != 4 {
		t.Errorf("without a flag: %d turns, want the variable's 4", got.Limits.Turns)
	}
}

// TestConfig_WebSocket promises that every bound of a WebSocket is a setting, whose default is the server's own.
func TestConfig_WebSocket(t *testing.T) {
	want := sseserver.SocketLimits{
		Age: time.Minute, Lanes: 1, Active: 2, Queue: 3, QueueBytes: 4 << 10, Kept: 5, KeptBytes: 6 << 10,
	}
	t.Setenv("MIDSTREAM_WEBSOCKET_ACTIVE", "2")
	got := mustLoad(t, "websocket: {age: 1m, lanes: 1, active: 9, queue: 3, queue_bytes: 4KiB, kept: 9, kept_bytes: 6KiB}\n", "--websocket.kept=5")
	if diff := cmp.Diff(want, got.face().Socket); diff != "" {
		t.Errorf("bounds (-want +got):\n%s", diff)
	}
	if n := reflect.TypeFor[WebSocketConfig]().NumField(); n != reflect.TypeFor[sseserver.SocketLimits]().NumField() {
		t.Errorf("%d settings, and another number of bounds", n)
	}
}

// TestConfig_FileFromVariable promises that MIDSTREAM_CONFIG names a file as --config does.
func TestConfig_FileFromVariable(t *testing.T) {
	t.Setenv("MIDSTREAM_CONFIG", "testdata/absent.yaml")
	code, _, stderr := runCommand(t, "serve")
	if code != exitUsage || !strings.Contains(stderr, "testdata/absent.yaml") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// TestConfig_Variables promises that a variable's value is a string, whatever stands in it, and that comments and keys
// are left alone.
func TestConfig_Variables(t *testing.T) {
	t.Setenv("ODD", "a: [b, \"c\" # d\ne")
	got := mustLoad(t, "# ${UNSET_IN_A_COMMENT}\nnode: before ${ODD} after\nnats:\n  password: |\n    ${ODD}\n")
	if want := "before a: [b, \"c\" # d\ne after"; got.Node != want {
		t.Errorf("node is %q, want %q", got.Node, want)
	}
	if want := "a: [b, \"c\" # d\ne\n"; got.NATS.Password.Reveal() != want {
		t.Errorf("the password is %q, want %q", got.NATS.Password.Reveal(), want)
	}
}

// TestConfig_Refused promises that what cannot be meant is refused, with the place, and with what to do.
func TestConfig_Refused(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "listen: 127.0.0.1:0\nlisten_on: x\n", `midstream.yaml:2: unknown key "listen_on"`},
		{"unknown key in a section", "nats:\n  data: x\n  dat: y\n", `midstream.yaml:3: unknown key "nats.dat"`},
		{"unknown section", "\nfoo: {bar: 1}\n", `midstream.yaml:2: foo is neither a value nor a list`},
		{"unknown key in a list", "upstreams:\n  - name: a\n    url: b\n", `midstream.yaml:3: unknown field "url"`},
		{"a flag that is no setting", "config: x\n", `unknown key "config"`},
		{"a key twice", "node: a\nnode: b\n", `midstream.yaml:2: mapping key "node" already defined`},
		{"not YAML", "node: [\n", "midstream.yaml:1:"},
		{"two documents", "node: a\n---\nnode: b\n", "more than one YAML document"},
		{"a list", "- node\n", "is not a section"},
		{"unset variable", "\nnode: ${MIDSTREAM_TEST_UNSET}\n", "line 2: the environment variable MIDSTREAM_TEST_UNSET is not set"},
		{"a size", "limits: {body: big}\n", `"big" is not a size`},
		{"a duration", "limits: {run_time: 5}\n", "--limits.run-time"},
		{"a role", "roles: [cook]\n", "--roles"},
		{"a network", "mcp: {allow_private: [10.0.0.1]}\n", "10.0.0.1"},
		{"no host and port", "listen: here\n", `listen "here": not host:port`},
		{"every address", "listen: 0.0.0.0:8080\n", "there are no API keys (keys)"},
		{"a name", "listen: example.com:8080\n", "there are no API keys (keys)"},
		{"secrets in the URL", "nats: {url: 'nats://u:hush@host'}\n", "nats.user"},
		{"secrets in a later URL", "nats: {url: 'nats://a:4222, nats://u:hush@b:4222'}\n", "nats.user"},
		{"secrets without a scheme", "nats: {url: 'u:hush@host:4222'}\n", "nats.user"},
		{"secrets with odd characters", "nats: {url: 'nats://u:hu/sh,@host'}\n", "nats.user"},
		{"a token in the URL", "nats: {url: 'nats://hush@host'}\n", "nats.user"},
		{"no URL of NATS", "nats: {url: 'nats://a:4222,nats://'}\n", "nats.url: not a list of URLs"},
		{"no port of NATS", "nats: {url: 'host:hush'}\n", "nats.url: not a list of URLs"},
		{"an external NATS without a key", "nats: {url: 'nats://host'}\n", "openssl rand"},
		{"sync of an external NATS", "nats: {url: 'nats://host', sync: 1s}\n", "nats.sync"},
		{"a producer without a password", "nats: {listen: '127.0.0.1:0', user: u, password: p, producer_user: q}\n", "nats.producer_password go together"},
		{"a producer that reaches nothing", "nats: {producer_user: q, producer_password: p}\n", "without nats.listen"},
		{"a producer that is the node", "nats: {listen: '127.0.0.1:0', user: u, password: p, producer_user: u, producer_password: p}\n", "a name of its own"},
		{"half a certificate", "nats: {cert: a.pem}\n", "nats.cert and nats.key"},
		{"nothing to answer", "demo: off\n", "nothing could answer"},
		{"half a demo", "roles: [gateway]\n", "the demo needs both roles"},
		{"a heartbeat too slow", "limits: {ack_wait: 2s}\n", "limits.heartbeat"},
		{"a log too short", "limits: {log_age: 30m}\n", "limits.log_age"},
		{"no origin", "cors: {origins: [app.example.com]}\n", `"app.example.com" is not an origin`},
		{"an origin with a path", "cors: {origins: ['https://app.example.com/']}\n", "is not an origin"},
		{"a pattern of origins", "cors: {origins: ['https://*.example.com']}\n", "patterns are not known"},
		{"an origin in capitals", "cors: {origins: ['https://App.example.com']}\n", "in lower case"},
		{"an origin with its port", "cors: {origins: ['https://app.example.com:443']}\n", "the scheme's own port"},
		{"no turns", "limits: {turns: 0}\n", "limits: a number"},
		{"a negative rate", "limits: {requests_per_minute: -1}\n", "limits.requests_per_minute"},
		{"no time", "limits: {drain: 0s}\n", "limits: a duration"},
		{"no lanes", "websocket: {lanes: 0}\n", "websocket: a duration, number or size"},
		{"a connection without time", "websocket: {age: 0s}\n", "websocket: a duration"},
		{"nothing kept", "websocket: {kept_bytes: 0}\n", "websocket: a duration, number or size"},
		{"an unknown bound of WebSockets", "websocket:\n  lane: 3\n", `midstream.yaml:2: unknown key "websocket.lane"`},
		{"an upstream that is nowhere", "upstreams: [{name: far, dialect: chat}]\n", "upstream far: base URL is not an absolute"},
		{"an upstream of another tongue", "upstreams: [{name: far, dialect: latin, base_url: 'http://x'}]\n", `dialect "latin" is not one of`},
		{"a fallback that is nobody", "upstreams: [{name: far, dialect: chat, base_url: 'http://x', fallback: [near]}]\n", `no upstream has the name "near"`},
		{"a label", "mcp: {servers: [{label: a.b, url: 'http://x'}]}\n", `the label "a.b"`},
		{"a label twice", "mcp: {servers: [{label: a, url: 'http://x'}, {label: a, command: [b]}]}\n", "another server with the label a"},
		{"the demo's label", "mcp: {servers: [{label: demo, url: 'http://x'}]}\n", "another server with the label demo"},
		{"no target", "mcp: {servers: [{label: a}]}\n", "needs a url or a command"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.yaml)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestConfig_Empty promises that a file may say nothing, in each of the ways to say so.
func TestConfig_Empty(t *testing.T) {
	for _, yaml := range []string{"", "# nothing\n", "nats:\n", "upstreams:\nmcp: {servers: }\nlimits: {turns: }\n"} {
		got := mustLoad(t, yaml)
		if got.Limits.Turns != 16 || !got.DemoOn() {
			t.Errorf("%q: %+v", yaml, got)
		}
	}
}

// TestConfig_Loopback promises that every way to say loopback is taken, and that the switch opens the rest.
func TestConfig_Loopback(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "127.8.8.8:0", "[::1]:0", "localhost:0"} {
		mustLoad(t, fmt.Sprintf("listen: %q\n", listen))
	}
	mustLoad(t, "listen: 0.0.0.0:8080\ninsecure_listen: true\n")
}

// TestConfig_NATSURLs promises that servers are named as the NATS client reads them: several, with or without scheme.
func TestConfig_NATSURLs(t *testing.T) {
	t.Setenv("MIDSTREAM_NATS_SECRET_KEY", "x")
	for _, urls := range []string{"nats://a", "a:4222", "a", "nats://a:4222, tls://b:4222,", "wss://[::1]:443/nats"} {
		if got := mustLoad(t, fmt.Sprintf("nats: {url: %q}\n", urls)).NATS.URL; got != urls {
			t.Errorf("%q became %q", urls, got)
		}
	}
}

// TestConfig_OpenAI promises that OPENAI_API_KEY alone is enough, and that it says nothing beside an upstream.
func TestConfig_OpenAI(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-1")
	got := mustLoad(t, "")
	want := []UpstreamConfig{{Name: "openai", Dialect: "responses", BaseURL: "https://api.openai.com/v1", APIKey: "sk-1"}}
	if diff := cmp.Diff(want, got.Upstreams); diff != "" || got.DemoOn() {
		t.Errorf("demo %v, upstreams (-want +got):\n%s", got.DemoOn(), diff)
	}
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
	if got := mustLoad(t, "").Upstreams[0].BaseURL; got != "http://127.0.0.1:1/v1" {
		t.Errorf("OPENAI_BASE_URL: %s", got)
	}
	got = mustLoad(t, "upstreams: [{name: own, dialect: chat, base_url: 'http://127.0.0.1:1/v1'}]\n")
	if len(got.Upstreams) != 1 || got.Upstreams[0].Name != "own" {
		t.Errorf("beside an upstream: %+v", got.Upstreams)
	}
}

// TestSecret promises that no common way to write a configuration down shows a secret.
func TestSecret(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "hush")
	cfg := mustLoad(t, `
nats: {password: hush, secret_key: hush}
mcp: {servers: [{label: a, url: "http://x", authorization: hush, headers: {X-Key: hush}}, {label: b, command: [c], env: {K: hush}}]}
`)
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("started", "config", cfg, "key", cfg.Upstreams[0].APIKey)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("started", "config", cfg, "key", cfg.Upstreams[0].APIKey)
	encoded, err := yaml.Marshal(cfg.MCP)
	if err != nil {
		t.Fatal(err)
	}
	shown := logged.String() + string(encoded) + fmt.Sprintf("%v %+v %#v %s %q", *cfg, *cfg, *cfg, cfg.NATS.Password, cfg.NATS.Password)
	if strings.Contains(shown, "hush") || !strings.Contains(shown, redacted) {
		t.Errorf("got %s", shown)
	}
}

// TestSecret_NotInErrors promises that what is wrong beside a secret is told without it.
func TestSecret_NotInErrors(t *testing.T) {
	for _, yaml := range []string{
		"upstreams:\n  - {name: a, api_key: hush, nope: 1}\n",
		"upstreams:\n  - {name: a, api_key: hush, first_byte: soon}\n",
		"nats: {password: hush, nope: 1}\n", "nats: {password: [hush}\n", "nats: {password: {hush: hush}}\n",
		"nats: {url: 'nats://u:hush@host'}\n", "nats: {url: 'nats://a:4222,nats://u:hush@b:4222'}\n",
		"nats: {url: 'u:hush@host:4222'}\n", "nats: {url: 'nats://u:hush'}\n", "nats: {url: 'nats://%hush'}\n",
	} {
		if _, err := load(t, yaml); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

// TestBytes promises that sizes are read and written in their units, and anything else is refused.
func TestBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bytes{
		"0": 0, "1": 1, "512B": 512, "64KiB": 64 << 10, "8 MiB": 8 << 20, "4GiB": 4 << 30, "1048576": 1 << 20,
	} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%q is written as %q", text, got)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1MB", "0x10", "99999999999GiB"} {
		if err := new(Bytes).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// A stop takes less than the 30 s that Kubernetes and most init systems leave before they kill, whatever hangs: the drain, which
// tool calls get a part of, and then the closing of the log.
func TestConfig_AStopFitsIntoThirtySeconds(t *testing.T) {
	t.Parallel()
	cfg := Config{Limits: LimitsConfig{Drain: 15 * time.Second}} // the default; TestExample has it
	if total := cfg.Limits.Drain + closeTimeout; total >= 30*time.Second {
		t.Errorf("a stop may take %s", total)
	}
	const handOver = 4 * time.Second // closePatience of producers, and a margin
	for _, drain := range []time.Duration{15 * time.Second, 12 * time.Second, time.Minute} {
		if cfg.Limits.Drain = drain; cfg.drainCalls()+handOver > drain || cfg.drainCalls() > 10*time.Second {
			t.Errorf("of a drain of %s, tool calls get %s", drain, cfg.drainCalls())
		}
	}
}
