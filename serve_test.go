package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// running is a node of the command line, as its clients see it.
type running struct {
	*background
	url string
}

var listeningOn = regexp.MustCompile(`listening on (http://\S+)\n`)

// serveNode starts `midstream serve` on a free port. The test ends it, if it has not done so itself, and holds it to exit
// code 0.
func serveNode(t *testing.T, args ...string) *running {
	t.Helper()
	args = append([]string{"serve", "--listen=127.0.0.1:0", "--node=test"}, args...)
	b := start(t, args...)
	await(t, "the node to listen", func() bool {
		if len(b.code) > 0 {
			t.Fatalf("the node ended: %s", b.errors.String())
		}
		return listeningOn.MatchString(b.out.String())
	})
	node := &running{b, listeningOn.FindStringSubmatch(b.out.String())[1]}
	t.Cleanup(func() {
		if code := b.stop(); code != exitOK {
			t.Errorf("exit code %d: %s", code, b.errors.String())
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return node
}

// await waits for a condition that nothing announces.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// do makes a request and returns status, headers and the whole body.
func (r *running) do(t *testing.T, method, path, body string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header, request.Host = header, header.Get("Host")
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, raw
}

const askDemo = `{"model":"demo","input":"Say something true about the river Amazon.","stream":true,
	"tools":[{"type":"mcp","server_label":"demo","require_approval":"never"}]}`

var doneFrame = []byte("data: [DONE]\n\n")

// frames cuts the last word of a stream off, which is no frame of the log's.
func frames(t *testing.T, stream []byte) []byte {
	t.Helper()
	log, ok := bytes.CutSuffix(stream, doneFrame)
	if !ok {
		t.Fatalf("the stream does not end with [DONE]: %q", stream)
	}
	return log
}

// TestServe_Demo promises what the README's first command shows: without any configuration a response streams that runs
// a real MCP tool; it can be resumed from any event, byte for byte; and it is still there after a restart.
func TestServe_Demo(t *testing.T) {
	data := "--nats.data=" + t.TempDir()
	node := serveNode(t, data)
	if out := node.out.String(); !strings.Contains(out, "curl -N "+node.url+"/v1/responses") {
		t.Errorf("the start does not say how to try it: %s", out)
	}
	_, stream := node.do(t, "POST", "/v1/responses", askDemo, nil)
	stream = frames(t, stream)
	state, err := schema.Fold(stream)
	if err != nil {
		t.Fatalf("%v\n%s", err, stream)
	}
	response := state.Response()
	var kinds []string
	for _, it := range response.Output {
		kinds = append(kinds, it.Type)
	}
	if diff := cmp.Diff([]string{"mcp_list_tools", "mcp_call", "message"}, kinds); diff != "" || response.Status != "completed" {
		t.Errorf("status %s, items (-want +got):\n%s", response.Status, diff)
	}

	path := "/v1/responses/" + response.ID + "?stream=true"
	_, rest := node.do(t, "GET", path, "", http.Header{"Last-Event-Id": {"9"}})
	if i := bytes.Index(stream, []byte("\nid: 9\n\n")); !bytes.Equal(frames(t, rest), stream[i+len("\nid: 9\n\n"):]) {
		t.Errorf("resumed behind 9:\n%s\nfirst seen:\n%s", rest, stream)
	}
	if code := node.stop(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, node.errors.String())
	}
	node.code <- exitOK // for the cleanup

	again := serveNode(t, data)
	if _, replay := again.do(t, "GET", path, "", nil); !bytes.Equal(frames(t, replay), stream) {
		t.Errorf("after a restart:\n%s\nfirst seen:\n%s", replay, stream)
	}
}

// initialize is how an MCP client begins.
const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
	"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

// TestServe_Routes promises that a node answers what an operator and a client ask first.
func TestServe_Routes(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir())
	for _, c := range []struct {
		path, want string
	}{
		{"/healthz", "ok"},
		{"/readyz", "ready"},
		{"/v1/models", `"demo-slow"`},
		{"/metrics", `midstream_build_info{node="test"`},
		{"/metrics", "midstream_runs_active"},
	} {
		if response, body := node.do(t, "GET", c.path, "", nil); response.StatusCode != 200 || !strings.Contains(string(body), c.want) {
			t.Errorf("GET %s: %s, no %s in %.300s", c.path, response.Status, c.want, body)
		}
	}
	header := http.Header{"Accept": {"application/json, text/event-stream"}}
	if response, body := node.do(t, "POST", demoPath, initialize, header); !strings.Contains(string(body), "midstream-demo") {
		t.Errorf("POST %s: %s: %s", demoPath, response.Status, body)
	}
}

// TestServe_Host promises that a page which points its own name at loopback reaches nothing, the demo's MCP server neither,
// and that insecure_listen takes every name.
func TestServe_Host(t *testing.T) {
	const ask = `{"model":"demo","input":"x"}`
	closed := serveNode(t, "--nats.data="+t.TempDir())
	open := serveNode(t, "--nats.data="+t.TempDir(), "--insecure-listen")
	for _, c := range []struct {
		node             *running
		host, path, body string
		status           int
	}{
		{closed, "rebound.example:8080", "/v1/responses", ask, http.StatusMisdirectedRequest},
		{closed, "rebound.example:8080", demoPath, initialize, http.StatusMisdirectedRequest},
		{closed, "localhost:8080", "/v1/responses", ask, http.StatusOK},
		{closed, "localhost:8080", demoPath, initialize, http.StatusOK},
		{open, "gateway.example", "/v1/responses", ask, http.StatusOK},
	} {
		header := http.Header{"Host": {c.host}, "Accept": {"application/json, text/event-stream"}}
		if response, body := c.node.do(t, "POST", c.path, c.body, header); response.StatusCode != c.status {
			t.Errorf("POST %s of %s: %s: %s", c.path, c.host, response.Status, body)
		}
	}
}

// TestServe_Admit promises that what no producer could serve is refused before anything is queued.
func TestServe_Admit(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir(), "--mcp.allow-private=127.0.0.8/32")
	tool := func(members string) string {
		return `{"model":"demo","input":"x","tools":[{"type":"mcp","require_approval":"never",` + members + `}]}`
	}
	for _, c := range []struct {
		body, code, param string
		status            int
	}{
		{`{"model":"gpt-nope","input":"x"}`, "model_not_found", "model", 404},
		{tool(`"server_label":"nope"`), "invalid_value", "tools[0].server_label", 400},
		{tool(`"server_label":"x","server_url":"http://127.0.0.1:1/mcp"`), "url_not_allowed", "tools[0].server_url", 400},
		{tool(`"server_label":"x","server_url":"http://169.254.169.254/"`), "url_not_allowed", "tools[0].server_url", 400},
		{tool(`"server_label":"x","server_url":"file:///etc/passwd"`), "url_not_allowed", "tools[0].server_url", 400},
		{tool(`"server_label":"x","server_url":"http://127.0.0.8:1/mcp"`), "", "", 424}, // admitted, and nobody there
	} {
		response, raw := node.do(t, "POST", "/v1/responses", c.body, nil)
		var got struct {
			Error struct {
				Code  string `json:"code"`
				Param string `json:"param"`
			} `json:"error"`
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != c.status || (c.code != "" && (got.Error.Code != c.code || got.Error.Param != c.param)) {
			t.Errorf("%s: %s %s, want %d, %s, %s", c.body, response.Status, raw, c.status, c.code, c.param)
		}
	}
}

// TestServe_OpenAI promises that OPENAI_API_KEY reaches the upstream, and nothing that the node writes; and that the upstream
// is told who asks.
func TestServe_OpenAI(t *testing.T) {
	keys := make(chan string, 10)
	openAI := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys <- r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("User-Agent")
		http.Error(w, `{"error":{"message":"no such key: sk-hush","code":"invalid_api_key"}}`, http.StatusUnauthorized)
	}))
	defer openAI.Close()
	t.Setenv("OPENAI_API_KEY", "sk-hush")
	t.Setenv("OPENAI_BASE_URL", openAI.URL+"/v1")
	node := serveNode(t, "--nats.data="+t.TempDir(), "--log.level=debug")
	_, body := node.do(t, "POST", "/v1/responses", `{"model":"gpt-5","input":"x"}`, nil)
	if got, want := <-keys, "/v1/responses Bearer sk-hush midstream/"+strings.Trim(version(), "()"); got != want {
		t.Errorf("the upstream got %q, want %q", got, want)
	}
	if written := string(body) + node.out.String() + node.errors.String(); strings.Contains(written, "sk-hush") {
		t.Errorf("the key was written: %s", written)
	}
}

// TestServe_Roles promises that a role is all that a node does: a gateway without a producer takes a response in, and a
// producer without a gateway opens no port.
func TestServe_Roles(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-hush")
	node := serveNode(t, "--nats.data="+t.TempDir(), "--roles=gateway")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "POST", node.url+"/v1/responses",
		strings.NewReader(`{"model":"gpt-5","input":"x","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first := make([]byte, len("event: response.created"))
	if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "event: response.created" {
		t.Errorf("a gateway alone answers %q, %v", first, err)
	}

	producer := start(t, "serve", "--nats.data="+t.TempDir(), "--roles=producer")
	await(t, "the producer", func() bool { return strings.Contains(producer.errors.String(), "node started") })
	if code := producer.stop(); code != exitOK || producer.out.String() != "" {
		t.Errorf("a producer alone: exit code %d, stdout %q", code, producer.out.String())
	}
}

// TestServe_PortTaken promises that a node that cannot listen says so and leaves nothing open.
func TestServe_PortTaken(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	code, _, stderr := runCommand(t, "serve", "--listen="+taken.Listener.Addr().String(), "--nats.data="+t.TempDir())
	if code != exitError || !strings.Contains(stderr, "address already in use") || strings.Contains(stderr, "node stopped") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// TestServe_UpstreamNowhere promises that an upstream that cannot be called is a fault of the configuration, found before
// anything is opened.
func TestServe_UpstreamNowhere(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "midstream.yaml"), filepath.Join(dir, "data")
	if err := os.WriteFile(file, []byte("upstreams: [{name: far, dialect: chat}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runCommand(t, "serve", "--config="+file, "--listen=127.0.0.1:0", "--nats.data="+data)
	if _, err := os.Stat(data); code != exitUsage || !strings.Contains(stderr, "upstream far") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exit code %d, stderr %q, data %v", code, stderr, err)
	}
}
