//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
)

// TestProducers promises that the examples feed a response, as they stand, from four languages at once: each twice, as a producer
// does whose acknowledgement was lost, and all that they say is there once.
func TestProducers(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	g := launch(t, fmt.Sprintf("listen: 127.0.0.1:0\nnats: {data: %q, listen: 127.0.0.1:%s, user: midstream, password: ocean, producer_user: river, producer_password: bank}\n",
		t.TempDir(), port))
	id := g.declare(t, `{"model":"agent","midstream":{"producers":["go","python","node","curl"]}}`)
	env := []string{"NATS_URL=nats://river:bank@127.0.0.1:" + port, "MIDSTREAM_URL=" + g.url}
	programs := map[string][]string{
		"Go":     {shared.binary("producer"), id},
		"Python": {python, "../examples/producer/producer.py", id},
		"Node":   {node, withModules(t, "../examples/producer/producer.mjs"), id},
		"curl":   {"../examples/producer/producer.sh", id},
	}

	var running errgroup.Group
	for name, command := range programs {
		running.Go(func() error {
			for range 2 {
				if said, err := attempt(env, command); err != nil {
					return fmt.Errorf("%s: %w: %s, %v", name, err, said.text, said.events)
				}
			}
			return nil
		})
	}
	if err := running.Wait(); err != nil {
		t.Fatal(err)
	}
	logged := g.replay(t, id)
	if response := logged.response(t); response.Status != "completed" || kinds(response) != "message message message message" {
		t.Errorf("%s: %s", response.Status, kinds(response))
	}
	for name := range programs {
		if n := strings.Count(logged.text, "Hello from "+name+"."); n != 1 {
			t.Errorf("%s is heard %d times in %q", name, n, logged.text)
		}
	}
}

// declare opens a response for producers.
func (g *gateway) declare(t *testing.T, body string) (id string) {
	t.Helper()
	resp, err := http.Post(g.url+"/v1/responses", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var opened struct {
		ID string `json:"id"`
	}
	if err := json.UnmarshalRead(resp.Body, &opened); err != nil || opened.ID == "" {
		t.Fatalf("declare: %s: %v", resp.Status, err)
	}
	return opened.ID
}

// withModules copies a Node program to where it finds the packages of these tests.
func withModules(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, filepath.Base(program))
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

// TestProducers_Pins promises that the packages which the examples tell readers to install are those that they are run with.
func TestProducers_Pins(t *testing.T) {
	told, err := os.ReadFile("../examples/producer/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var packages struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	raw, err := os.ReadFile("package.json")
	if err == nil {
		err = json.Unmarshal(raw, &packages)
	}
	requirements, err2 := os.ReadFile("requirements.txt")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for _, name := range []string{"@nats-io/transport-node", "@nats-io/jetstream"} {
		if pin := name + "@" + packages.Dependencies[name]; !bytes.Contains(told, []byte(pin)) {
			t.Errorf("the examples do not say %s", pin)
		}
	}
	for line := range strings.Lines(string(requirements)) {
		if pin := strings.TrimSpace(line); strings.HasPrefix(pin, "nats-py==") && bytes.Contains(told, []byte(pin)) {
			return
		}
	}
	t.Error("the examples do not say which nats-py")
}
