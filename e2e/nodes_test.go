//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3/responses"
)

// TestNodes promises that a client which loses one gateway goes on at another: three processes share one NATS, roles
// apart. The first gateway's server is the NATS of the others.
func TestNodes(t *testing.T) {
	t.Parallel()
	d := newDam(t)
	one, two := cluster(t, d)
	target, err := url.Parse(one.url)
	if err != nil {
		t.Fatal(err)
	}
	cut := newCutter(t, target.Host, 1)

	client := &wire{}
	client.post(t, "http://"+cut.address(), "dam", "Tell me about rivers.")
	if err := client.rest(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("the connection ended with %v, want a cut", err)
	}
	client.resume(t, two.url)
	client.until(t, damHeld) // the model waits: two follows a response that is made elsewhere
	d.open()
	logged := client.finish(t, two, one)

	if n := strings.Count(logged.text, "w"); n != damWords {
		t.Errorf("the log has %q, want %d words", logged.text, damWords)
	}
}

// cluster starts two gateways and a producer.
func cluster(t *testing.T, d *dam) (one, two *gateway) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	common := fmt.Sprintf("user: river, password: bank, secret_key: %q", base64.StdEncoding.EncodeToString(key))
	inside := fmt.Sprintf("nats: {data: %q, listen: 127.0.0.1:%s, %s}", t.TempDir(), port, common)
	outside := fmt.Sprintf("nats: {url: nats://127.0.0.1:%s, %s}", port, common)
	node := func(name, role, nats string) *gateway {
		return launch(t, fmt.Sprintf(`
node: %s
listen: 127.0.0.1:0
roles: [%s]
%s
upstreams:
  - {name: dam, dialect: chat, base_url: %q, models: [dam]}
`, name, role, nats, d.url))
	}
	one = node("one", "gateway", inside)
	node("worker", "producer", outside)
	return one, node("two", "gateway", outside)
}

// slowly is told by demo-slow in 16 words, a second apart: on a busy machine too there is time to kill a process in the
// middle.
const slowly = "Tell me about rivers. [[tokens=16]] [[delay=1s]]"

// TestKill promises that kill -9 of the only process costs a client nothing but time: started again on the same log, the
// process finishes what it had begun, and the client gets the rest behind its last id.
func TestKill(t *testing.T) {
	t.Parallel()
	g := serve(t, "")
	client := &wire{}
	client.post(t, g.url, "demo-slow", slowly)
	client.until(t, 3)
	g.kill(t)
	if err := client.rest(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("the connection ended with %v, want an abort", err)
	}
	g.again(t)
	client.resume(t, g.url)
	logged := client.finish(t, g)

	var final responses.Response
	if err := final.UnmarshalJSON(logged.final); err != nil {
		t.Fatal(err)
	}
	if final.Status != "completed" || kinds(final) != "message message" {
		t.Fatalf("got %s, want the message that was cut off and one that goes on", logged.final)
	}
	if first, second := final.Output[0].AsMessage(), final.Output[1].AsMessage(); first.Status != "incomplete" ||
		second.Status != "completed" {
		t.Errorf("the messages are %s and %s", first.Status, second.Status)
	}
	if words := strings.Fields(logged.text); len(words) != 16 {
		t.Errorf("the log has %q, want 16 words", logged.text)
	}
}

// TestTail promises that `midstream tail` follows a response across a restart of its gateway, shows all of it once, and
// ends with it.
func TestTail(t *testing.T) {
	t.Parallel()
	g := serve(t, "")
	client := &wire{}
	client.post(t, g.url, "demo-slow", slowly)
	client.until(t, 1)
	follower, _, err := start(regexp.MustCompile(client.id), nil,
		shared.binary("midstream"), "tail", client.id, "--server", g.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.kill)

	g.stop(t)
	if err := client.rest(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("the connection ended with %v, want an abort", err)
	}
	g.again(t)
	client.resume(t, g.url)
	logged := client.finish(t, g)
	<-follower.exited
	testTold(t, follower, logged)
}

// testTold looks at what a tail has shown: lines of its own, marked, and the text in between.
func testTold(t *testing.T, follower *process, logged *transcript) {
	t.Helper()
	printed := follower.log.String()
	if follower.err != nil || !strings.Contains(printed, "trying again") || !strings.Contains(printed, "✓ completed") {
		t.Errorf("tail ended with %v:\n%s", follower.err, printed)
	}
	var text strings.Builder
	for line := range strings.Lines(printed) {
		if own := regexp.MustCompile(`^(resp_|midstream: |\s*[✓✗] )`); !own.MatchString(line) {
			text.WriteString(line)
		}
	}
	told, want := strings.Fields(text.String()), strings.Fields(logged.text)
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("tail has shown other words than the log has (-log +tail):\n%s\n%s", diff, printed)
	}
}
