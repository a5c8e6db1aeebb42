//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// gateway is the built binary, serving.
type gateway struct {
	url     string // empty if it has no HTTP face
	file    string // its configuration
	process *process
}

// started matches what a node says when it is up: a gateway its address, any other only that it has started.
var started = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)|node started`)

// serve runs the binary with a config file for as long as the test lasts, on a free port and an empty log.
func serve(t *testing.T, config string) *gateway {
	t.Helper()
	return launch(t, fmt.Sprintf("listen: 127.0.0.1:0\nnats: {data: %q}\n%s", t.TempDir(), config))
}

// launch is serve with a configuration that says everything itself. It fails the test if the binary does not end well on
// SIGTERM, or if its output tells of a data race or a panic.
func launch(t *testing.T, config string) *gateway {
	t.Helper()
	g := &gateway{file: filepath.Join(t.TempDir(), "midstream.yaml")}
	if err := os.WriteFile(g.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start(t)
	t.Cleanup(func() { g.stop(t) })
	return g
}

func (g *gateway) start(t *testing.T, flags ...string) {
	t.Helper()
	env := []string{"OPENAI_API_KEY=", "OPENAI_BASE_URL="}
	args := append([]string{"serve", "--config", g.file}, flags...)
	p, groups, err := start(started, env, shared.binary("midstream"), args...)
	if err != nil {
		t.Fatal(err)
	}
	g.process, g.url = p, groups[1]
}

// again starts the binary anew, on the address and the log that it had.
func (g *gateway) again(t *testing.T) {
	t.Helper()
	g.start(t, "--listen", strings.TrimPrefix(g.url, "http://"))
}

// stop ends a gateway with SIGTERM, and reads its last words.
func (g *gateway) stop(t *testing.T) {
	if err := g.process.stop(); err != nil {
		t.Errorf("the gateway after SIGTERM: %v", err)
	}
	g.judge(t)
}

// kill ends a gateway as a crash would.
func (g *gateway) kill(t *testing.T) {
	g.process.kill()
	g.judge(t)
}

func (g *gateway) judge(t *testing.T) {
	log := g.process.log.String()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, bad) {
			t.Errorf("the gateway's output has %q", bad)
		}
	}
	if t.Failed() {
		t.Logf("the gateway's output:\n%s", tail(log, 32<<10))
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// clientEnv makes an OpenAI client, unchanged, talk to the gateway.
func clientEnv(url string) []string {
	return []string{"OPENAI_BASE_URL=" + url + "/v1", "OPENAI_API_KEY=none"}
}

// client is OpenAI's Go client: each call is made once.
func (g *gateway) client() openai.Client {
	return openai.NewClient(option.WithBaseURL(g.url+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
}

// get returns the body of a GET that must answer 200.
func (g *gateway) get(t *testing.T, path string) []byte {
	t.Helper()
	resp, err := http.Get(g.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, resp.Status, body)
	}
	return body
}

// freePort returns a port that was free a moment ago, for servers that cannot be told to choose one.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return port, l.Close()
}
