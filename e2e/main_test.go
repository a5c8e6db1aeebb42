//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"go.uber.org/goleak"
)

const (
	node       = "node_modules/.bin/node"
	python     = ".venv/bin/python"
	everything = "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)

// shared is what every test uses and is dear to start: one build of the binary, one of each server. It lives as long as
// the test run.
var shared = &session{}

type session struct {
	dir       string
	processes []*process

	aimock string // base URLs
	mcp    string
	sse    string
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(run{m})
}

// run lets goleak look only after the shared processes have ended.
type run struct{ tests *testing.M }

func (r run) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	defer shared.stop()
	if err := shared.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return r.tests.Run()
}

func (s *session) start() error {
	dir, err := os.MkdirTemp("", "midstream-e2e-")
	if err != nil {
		return fmt.Errorf("make a directory for binaries: %w", err)
	}
	s.dir = dir
	return errors.Join(
		s.build("midstream", "-race", ".."),
		s.build("", "./clients/go/..."),
		s.build("producer", "../examples/producer/go"),
		s.build("shim", "-tags=e2e", "./conformance"),
		s.serve(),
	)
}

// build compiles a package to a file of the session's directory, or several to the directory.
func (s *session) build(name string, args ...string) error {
	out := s.dir + "/" + name
	cmd := exec.Command("go", append([]string{"build", "-o", out}, args...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, text)
	}
	return nil
}

// serve starts the servers that nobody here wrote.
func (s *session) serve() error {
	mcpPort, err1 := freePort()
	ssePort, err2 := freePort()
	mock, err3 := s.spawn(regexp.MustCompile(`listening on (http://\S+)`), nil,
		node, "node_modules/.bin/llmock", "--port=0", "--fixtures=fixtures", "--strict", "--validate-on-load")
	_, err4 := s.spawn(regexp.MustCompile(`listening on port`), []string{"PORT=" + mcpPort},
		node, everything, "streamableHttp")
	_, err5 := s.spawn(regexp.MustCompile(`running on port`), []string{"PORT=" + ssePort}, node, everything, "sse")
	s.aimock = mock + "/v1"
	s.mcp = "http://127.0.0.1:" + mcpPort + "/mcp"
	s.sse = "http://127.0.0.1:" + ssePort + "/sse"
	return errors.Join(err1, err2, err3, err4, err5)
}

// spawn starts a process that ends with the session, and returns the last group of what it was waited for.
func (s *session) spawn(ready *regexp.Regexp, env []string, name string, args ...string) (string, error) {
	p, groups, err := start(ready, env, name, args...)
	if err != nil {
		return "", err
	}
	s.processes = append(s.processes, p)
	return groups[len(groups)-1], nil
}

func (s *session) stop() {
	for _, p := range s.processes {
		_ = p.stop() // how somebody else's server ends is not ours to judge
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// binary is the path of a program that the session built.
func (s *session) binary(name string) string { return filepath.Join(s.dir, name) }
