package main

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/broker"
)

// TestDoctor promises that the log of a node is found in order, whether the node runs, in which case it must listen, or not;
// that a healthy node which does not listen is no failure; that a log which is not there is a failure; and that no password is shown.
func TestDoctor(t *testing.T) {
	dir := "--nats.data=" + t.TempDir()
	if code, out, _ := runCommand(t, "doctor", dir); code != exitError || !strings.Contains(out, "there is no log") {
		t.Errorf("without a log: exit code %d\n%s", code, out)
	}
	node := serveNode(t, dir, "--nats.listen=127.0.0.1:0", "--nats.user=u", "--nats.password=CANARY")
	node.do(t, "POST", "/v1/responses", `{"model":"demo","input":"x"}`, nil)
	address := "--listen=" + strings.TrimPrefix(node.url, "http://")
	if code, out, _ := runCommand(t, "doctor", dir, address); code != exitOK || !strings.Contains(out, "a node holds it") ||
		!strings.Contains(out, "ok    node         "+node.url+"/readyz says that it is ready") || !strings.HasSuffix(out, ", 1 warning, 0 failures\n") {
		t.Errorf("beside a node that does not listen there: exit code %d\n%s", code, out)
	}
	node.stop()
	node.code <- exitOK // for the cleanup

	code, out, stderr := runCommand(t, "doctor", dir)
	if code != exitOK || stderr != "" || !strings.Contains(out, "ok    logs         1 read as a sample") {
		t.Errorf("exit code %d, stderr %q\n%s", code, stderr, out)
	}
	code, out, _ = runCommand(t, "doctor", dir, "--json", "--nats.user=u", "--nats.password=CANARY")
	var findings []broker.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != exitOK || len(findings) < 10 || strings.Contains(out, "CANARY") {
		t.Errorf("--json: exit code %d, %v\n%s", code, err, out)
	}
}

// TestDoctor_External promises a failure, and no password, where NATS is not there.
func TestDoctor_External(t *testing.T) {
	t.Setenv("MIDSTREAM_NATS_SECRET_KEY", "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0E=")
	code, out, stderr := runCommand(t, "doctor", "--nats.url=127.0.0.1:1", "--nats.user=u", "--nats.password=CANARY",
		"--nats.monitor=http://u:CANARY@127.0.0.1:1")
	if code != exitError || !strings.Contains(out, "fail  nats") || strings.Contains(out+stderr, "CANARY") || strings.Contains(out+stderr, "Q0FO") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
}
