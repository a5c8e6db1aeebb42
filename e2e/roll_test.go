//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// The load of a rolling restart: so many responses at once, each of so many turns with one slow tool call.
const (
	rollRuns  = 6
	rollCalls = 14
)

// TestRoll promises that a cluster may be restarted node by node under load: every response ends well, under one id and with
// every byte once; every tool is called once, although nobody calls it idempotent; and no outcome is unknown.
func TestRoll(t *testing.T) {
	t.Parallel()
	tool := newTicker(t)
	nodes := fleet(t, tool.url)
	gateways := []string{nodes[0].url, nodes[1].url}

	riders := make([]*rider, rollRuns)
	var riding sync.WaitGroup
	for i := range riders {
		riders[i] = &rider{gateways: gateways, turn: i}
		riding.Go(func() { riders[i].ride(rollBody(i, tool.url)) })
	}
	for _, n := range []int{2, 0, 3, 1} {
		tool.wait(t, rollRuns) // the load goes on between two restarts
		began := time.Now()
		nodes[n].stop(t)
		t.Logf("node %d was down after %s", n, time.Since(began).Round(time.Millisecond))
		if nodes[n].url == "" {
			nodes[n].start(t)
		} else {
			nodes[n].again(t)
		}
	}
	riding.Wait()
	for i, r := range riders {
		r.judge(t, i, nodes[0], nodes[1])
	}
	tool.judge(t)
}

// fleet starts two gateways and two producers, on the NATS of a fifth node that is not restarted.
func fleet(t *testing.T, tool string) []*gateway {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	common := fmt.Sprintf("user: river, password: bank, secret_key: %q", base64.StdEncoding.EncodeToString(key))
	puppet := newPuppet(t)
	node := func(name, role, nats string) *gateway {
		return launch(t, fmt.Sprintf(`
node: %s
listen: 127.0.0.1:0
roles: [%s]
nats: {%s, %s}
upstreams:
  - {name: puppet, dialect: chat, base_url: %q, models: [puppet]}
mcp: {allow_private: ["127.0.0.0/8"]}
`, name, role, nats, common, puppet))
	}
	node("nats", "audit", fmt.Sprintf("data: %q, listen: 127.0.0.1:%s", t.TempDir(), port))
	shared := "url: nats://127.0.0.1:" + port
	return []*gateway{
		node("gateway-a", "gateway", shared), node("gateway-b", "gateway", shared),
		node("worker-a", "producer", shared), node("worker-b", "producer", shared),
	}
}

// rollBody asks a puppet for rollCalls calls in a row, each with arguments of its own.
func rollBody(run int, tool string) string {
	var orders []string
	for n := range rollCalls {
		orders = append(orders, fmt.Sprintf(`{"name":"tick","arguments":{"run":%d,"n":%d}}`, run, n))
	}
	input, err := json.Marshal("[" + strings.Join(orders, ",") + "]")
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"model":"puppet","stream":true,"input":%s,"tools":[{"type":"mcp","server_label":"clock","server_url":%q,`+
		`"require_approval":"never"}]}`, input, tool)
}

// rider is a client that goes on at the next gateway whenever it is cut.
type rider struct {
	wire
	gateways []string
	turn     int
	cuts     int
	err      error
}

// rideTime bounds a ride: nothing takes so long unless something is stuck.
const rideTime = 3 * time.Minute

func (r *rider) ride(body string) {
	deadline := time.Now().Add(rideTime)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		if r.err = r.board(body); errors.Is(r.err, io.EOF) {
			r.err = nil
			return
		}
		r.turn++
		<-tick.C
	}
}

// board reads from one gateway until it is cut, or to the clean end.
func (r *rider) board(body string) error {
	url := r.gateways[r.turn%len(r.gateways)]
	req, err := http.NewRequest(http.MethodPost, url+"/v1/responses", strings.NewReader(body))
	if r.id != "" {
		req, err = http.NewRequest(http.MethodGet, url+"/v1/responses/"+r.id+"?stream=true", nil)
	}
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.last != "" {
		req.Header.Set("Last-Event-ID", r.last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return fmt.Errorf("%s %s: %s", req.Method, req.URL, resp.Status)
	}
	r.read(resp.Body)
	r.cuts++
	return r.rest()
}

func (r *rider) judge(t *testing.T, run int, gateways ...*gateway) {
	t.Helper()
	if r.err != nil {
		t.Errorf("run %d: %v", run, r.err)
		return
	}
	state, err := schema.CheckStream(r.frames)
	if err != nil {
		t.Fatalf("run %d: %v\n%s", run, err, r.frames)
	}
	if resp := state.Response(); resp.Status != "completed" || bytes.Contains(r.frames, []byte("unknown")) {
		t.Errorf("run %d is %s with %d items:\n%s", run, resp.Status, len(resp.Output), r.frames)
	}
	for _, g := range gateways {
		if raw := g.get(t, "/v1/responses/"+r.id+"?stream=true"); !bytes.Equal(raw, r.frames) {
			t.Errorf("run %d: a replay has other bytes than the client got over %d connections", run, r.cuts)
		}
	}
	t.Logf("run %d: %d bytes over %d connections", run, len(r.frames), r.cuts)
}

// ticker is an MCP server with one slow tool that counts its calls by their arguments.
type ticker struct {
	url string

	mu    sync.Mutex
	calls map[string]int
	total int
}

// tickTime is how long a call takes: a restart always meets some.
const tickTime = 1500 * time.Millisecond

func newTicker(t *testing.T) *ticker {
	tk := &ticker{calls: map[string]int{}}
	tk.url = hostile(t, tk.serve)
	return tk
}

func (tk *ticker) serve(w http.ResponseWriter, r *http.Request) {
	var m struct {
		rpc
		Params struct {
			Arguments jsontext.Value `json:"arguments"`
		} `json:"params"`
	}
	if err := json.UnmarshalRead(r.Body, &m); err != nil {
		http.Error(w, err.Error(), http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		m.answer(w, `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"clock","version":"1"}}`)
	case m.Method == "tools/list":
		m.answer(w, `"result":{"tools":[{"name":"tick","inputSchema":{"type":"object"}}]}`)
	case m.Method == "tools/call":
		tk.count(string(m.Params.Arguments))
		timer := time.NewTimer(tickTime)
		defer timer.Stop()
		<-timer.C // the work is done, whether or not somebody still waits
		m.answer(w, `"result":{"content":[{"type":"text","text":"tock"}]}`)
	default:
		m.answer(w, `"error":{"code":-32601,"message":"no such method"}`)
	}
}

func (tk *ticker) count(arguments string) {
	tk.mu.Lock()
	defer tk.mu.Unlock()
	tk.calls[arguments]++
	tk.total++
}

// wait returns when there were n more calls, or no call is left to be made.
func (tk *ticker) wait(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(rideTime)
	defer late.Stop()
	made := func() int {
		tk.mu.Lock()
		defer tk.mu.Unlock()
		return tk.total
	}
	for start := made(); made() < min(start+n, rollRuns*rollCalls); {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("no more than %d calls came", made())
		}
	}
}

func (tk *ticker) judge(t *testing.T) {
	t.Helper()
	tk.mu.Lock()
	defer tk.mu.Unlock()
	for arguments, n := range tk.calls {
		if n != 1 {
			t.Errorf("%s was called %d times", arguments, n)
		}
	}
	if len(tk.calls) != rollRuns*rollCalls {
		t.Errorf("%d different calls, want %d", len(tk.calls), rollRuns*rollCalls)
	}
}

// TestSecondSignal promises that a node which waits for a tool call ends at once when it is told to a second time.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	server := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		body := overhear(r)
		if strings.Contains(body, `"tools/call"`) {
			asked <- struct{}{}
		}
		mcpServers(w, r)
	})
	g := serve(t, fmt.Sprintf(`
upstreams:
  - {name: puppet, dialect: chat, base_url: %q, models: ["puppet"]}
mcp: {allow_private: ["127.0.0.0/8"]}
`, newPuppet(t)))
	client := &wire{}
	client.send(t, g.url, fmt.Sprintf(`{"model":"puppet","stream":true,"input":"[{\"name\":\"hang\"}]","tools":[{"type":"mcp",`+
		`"server_label":"bad","server_url":%q,"require_approval":"never"}]}`, server))
	<-asked
	began := time.Now()
	for range 2 {
		if err := g.process.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := client.rest(); errors.Is(err, io.EOF) { // the first one cuts the client off
			t.Error("the stream ended as if it were whole")
		}
	}
	<-g.process.exited
	if g.process.err == nil || !strings.Contains(g.process.err.Error(), "terminated") {
		t.Errorf("ended with %v, want the signal", g.process.err)
	}
	t.Logf("ended after %s", time.Since(began))
	g.start(t) // so that the test's end finds a node to stop
}
