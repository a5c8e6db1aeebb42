//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

const (
	gauged = "gauge = 3.1 m\ngauge = 3.1 m\n"
	bonn   = "gauge(Bonn) = 3.1 m\ngauge(Bonn) = 3.1 m\n"
	danube = `river_facts({"river":"danube"}) = The Danube rises in the Black Forest, runs about 2 850 km, and passes ` +
		"through ten countries: more than any other river.\n"
)

// TestFrameworks promises that those who build on OpenAI's API need not know that it is not OpenAI's: the AI SDK, OpenAI's
// agents in both languages and LangChain stream, call functions of theirs in a loop of responses, and let the gateway
// call MCP tools; and so do the OpenAI clients themselves.
func TestFrameworks(t *testing.T) {
	g := serve(t, withServers(t))
	loop := []string{"function", "function", "message"}
	stories := []story{
		{program: "ai/stream.mjs", tells: []string{"message"}},
		{program: "ai/tools.mjs", tells: loop, prints: bonn},
		{program: "ai/hosted.mjs", tells: []string{"list mcp message"}, prints: `everything.echo({"message":"hello"}) = Echo: hello` + "\n"},
		{program: "agents/stream.mjs", tells: []string{"message"}},
		{program: "agents/tools.mjs", tells: loop, prints: gauged},
		{program: "agents-python/stream.py", tells: []string{"message"}},
		{program: "agents-python/tools.py", tells: loop, prints: gauged},
		{program: "langchain/tools.mjs", tells: loop, silent: true, prints: bonn},
		{program: "langchain/tools.mjs streamed", tells: loop, silent: true, prints: bonn},
		{program: "langchain/hosted.mjs", tells: []string{"list mcp message"}, silent: true, prints: danube},
		{program: "node/tools.mjs", tells: loop, prints: bonn},
		{program: "python/tools.py", tells: loop, prints: bonn},
		{program: "go/tools", tells: loop, prints: bonn},
	}
	for _, s := range stories {
		t.Run(s.program, func(t *testing.T) {
			t.Parallel()
			g.tell(t, s)
		})
	}
}

// TestHostedTools promises that OpenAI's agents run a tool of the gateway, known by its label alone, and show what it
// gave. They print it when the response has ended, after the answer.
func TestHostedTools(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"agents/hosted.mjs", "agents-python/hosted.py"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, g)
			heard := execute(t, clientEnv(f.url), command(program))
			id, _ := f.only(t)
			logged := g.replay(t, id)
			logged.tells(t, "list mcp message")
			heard.text = strings.TrimSuffix(heard.text, danube)
			heard.agrees(t, logged)
		})
	}
}

// TestChunks promises that LangChain hands on each delta as it came, none joined, split or lost.
func TestChunks(t *testing.T) {
	g := serve(t, "")
	heard, _ := g.listen(t, command("langchain/stream.mjs"))
	logged := g.replay(t, heard.id)
	logged.tells(t, "message")
	deltas := 0
	for _, e := range logged.events {
		if strings.HasSuffix(e, " response.output_text.delta") {
			deltas++
		}
	}
	if len(heard.events) != deltas || heard.text != logged.text {
		t.Errorf("got %d chunks that say %q, want the log's %d that say %q", len(heard.events), heard.text, deltas, logged.text)
	}
}

// TestGenerate promises that the AI SDK's unstreamed answer is the log's: its id, its text, its tokens.
func TestGenerate(t *testing.T) {
	g := serve(t, "")
	heard, _ := g.listen(t, command("ai/generate.mjs"))
	logged := g.replay(t, heard.id)
	logged.tells(t, "message")
	if want := heard.id + " stop 4 41\n" + logged.text + "\n"; heard.text != want {
		t.Errorf("printed %q, want %q", heard.text, want)
	}
}

// TestStructured promises that an answer asked for in a shape comes in that shape, as the clients' own parsers judge it.
func TestStructured(t *testing.T) {
	g := serve(t, "")
	for _, program := range []string{"ai/object.mjs", "node/parse.mjs", "python/parse.py", "go/parse"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			heard, _ := g.listen(t, command(program))
			g.replay(t, heard.id).tells(t, "message")
			if got := strings.TrimSpace(heard.text); got != `{"place":"Bonn","metres":3}` {
				t.Errorf("printed %s", got)
			}
		})
	}
}
