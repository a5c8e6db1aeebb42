//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const clientTimeout = time.Minute

// TestClients promises that OpenAI's clients for Node, Python and Go work unchanged: they stream, they let an MCP tool
// be called, and they resume in the middle. The programs are those of the README.
func TestClients(t *testing.T) {
	g := serve(t, "")
	languages := []struct {
		name    string
		command func(program string) []string
	}{
		{"node", func(p string) []string { return []string{node, "clients/node/" + p + ".mjs"} }},
		{"python", func(p string) []string { return []string{python, "clients/python/" + p + ".py"} }},
		{"go", func(p string) []string { return []string{shared.binary(p)} }},
	}
	for _, language := range languages {
		t.Run(language.name+"/stream", func(t *testing.T) {
			t.Parallel()
			heard, _ := g.listen(t, language.command("stream"))
			heard.agrees(t, g.replay(t, heard.id))
		})
		t.Run(language.name+"/final", func(t *testing.T) {
			t.Parallel()
			testFinal(t, g, language.command("final"))
		})
		t.Run(language.name+"/resume", func(t *testing.T) {
			t.Parallel()
			testResume(t, g, language.command("resume"))
		})
	}
}

// testFinal promises that the object a client keeps holds the tool's call and the text that was streamed.
func testFinal(t *testing.T, g *gateway, command []string) {
	heard, _ := g.listen(t, command)
	logged := g.replay(t, heard.id)
	call, text, ok := strings.Cut(heard.text, "\n")
	if !ok || !strings.HasPrefix(call, "demo.") || strings.HasSuffix(call, " = ") {
		t.Errorf("printed %q, want the call of a tool of demo and what it gave", heard.text)
	}
	heard.text = strings.TrimSuffix(text, "\n")
	heard.agrees(t, logged)
}

// testResume promises that a client that was cut off gets the rest, and only the rest, with starting_after.
func testResume(t *testing.T, g *gateway, command []string) {
	heard, requests := g.listen(t, command)
	heard.agrees(t, g.replay(t, heard.id))
	if len(requests) != 2 || !strings.Contains(requests[1], "starting_after=9") {
		t.Errorf("asked for %q, want a create and a resume after 9", requests)
	}
}

// TestFollow promises that Node's helper can replay a response that another client created, from its first event.
func TestFollow(t *testing.T) {
	g := serve(t, "")
	heard, _ := g.listen(t, []string{node, "clients/node/stream.mjs"})
	logged := g.replay(t, heard.id)

	again := execute(t, clientEnv(g.url), []string{node, "clients/node/follow.mjs", heard.id})
	again.text = strings.TrimSuffix(again.text, "\n")
	again.agrees(t, logged)
}

// listen runs a client that creates one response, and returns what it printed and what it asked for.
func (g *gateway) listen(t *testing.T, command []string) (*transcript, []string) {
	t.Helper()
	f := newFront(t, g)
	heard := execute(t, clientEnv(f.url), command)
	id, requests := f.only(t)
	heard.id = id
	return heard, requests
}

// execute runs a client: text on stdout, one event a line on stderr.
func execute(t *testing.T, env, command []string) *transcript {
	t.Helper()
	heard, err := attempt(env, command)
	if err != nil {
		t.Fatalf("run %v: %v\n%s", command, err, strings.Join(heard.events, "\n"))
	}
	return heard
}

// attempt is execute for a client that may fail.
func attempt(env, command []string) (*transcript, error) {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return &transcript{text: stdout.String(), events: strings.Split(strings.TrimSpace(stderr.String()), "\n")}, err
}
