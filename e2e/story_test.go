//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3/responses"
)

// story is what a client program does with the gateway, over as many responses as it takes.
type story struct {
	program string // "ai/tools", with its arguments
	tells   []string
	silent  bool   // the program cannot show events: only text and log are compared
	prints  string // what it prints before the answer
}

// command makes a command line of a program's name: agents-python/tools.py and node/tools.mjs are known by their
// endings, go/tools by its directory.
func command(program string) []string {
	words := strings.Fields(program)
	switch path := "clients/" + words[0]; {
	case strings.HasSuffix(path, ".mjs"):
		return append([]string{node, path}, words[1:]...)
	case strings.HasSuffix(path, ".py"):
		return append([]string{python, path}, words[1:]...)
	}
	return append([]string{shared.binary(strings.TrimPrefix(words[0], "go/"))}, words[1:]...)
}

// told is what came of a story: the program's own words, and each response as the log has it.
type told struct {
	heard  *transcript
	logged []*transcript
	bodies []string // what the program asked
}

// tell runs a story's program, and promises that the client saw the events of all its responses, in order and each once,
// that the log has the sequence that the story foresees, and that the program printed what its tools gave and the
// answer that the log has.
func (g *gateway) tell(t *testing.T, s story) *told {
	t.Helper()
	f := newFront(t, g)
	env := append(clientEnv(f.url), "MCP_URL="+shared.mcp, "LANGSMITH_TRACING=false", "OPENAI_AGENTS_DISABLE_TRACING=1")
	out := &told{heard: execute(t, env, command(s.program))}
	ids, bodies := f.all()
	if len(ids) != len(s.tells) {
		t.Fatalf("created %v with %v, want %d responses", ids, f.asked(), len(s.tells))
	}
	out.bodies = bodies
	for i, id := range ids {
		logged := g.replay(t, id)
		logged.tells(t, s.tells[i])
		out.logged = append(out.logged, logged)
	}
	out.compare(t, s)
	return out
}

func (o *told) compare(t *testing.T, s story) {
	t.Helper()
	var events []string
	answer := ""
	for _, logged := range o.logged {
		events = append(events, logged.events...)
		answer += logged.text
	}
	if diff := cmp.Diff(events, o.heard.events); diff != "" && !s.silent {
		t.Errorf("the client saw other events than the log has (-log +client):\n%s", diff)
	}
	if diff := cmp.Diff(s.prints+answer, o.heard.text); diff != "" {
		t.Errorf("the client printed other words than the log has (-log +client):\n%s", diff)
	}
}

// response is the finished response that the log has.
func (tr *transcript) response(t *testing.T) responses.Response {
	t.Helper()
	var final responses.Response
	if err := final.UnmarshalJSON(tr.final); err != nil {
		t.Fatalf("read the final response: %v", err)
	}
	return final
}
