//go:build e2e

package rig

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The tools: one must never run twice, the other may, since the nodes' configuration says so.
const (
	Charge = "charge"
	Look   = "look"
)

// callTime is how long a call takes at most: long enough to be interrupted.
const callTime = 300 * time.Millisecond

// Tools is an MCP server over streamable HTTP that counts executions. Safe for concurrent use.
type Tools struct {
	URL    string
	server *httptest.Server

	mu   sync.Mutex
	runs map[string]int // by the call's key
}

func newTools() *Tools {
	t := &Tools{runs: map[string]int{}}
	t.server = httptest.NewServer(t)
	t.URL = t.server.URL + "/mcp"
	return t
}

func (t *Tools) close() {
	t.server.CloseClientConnections()
	t.server.Close()
}

// Executions returns how often each call was executed.
func (t *Tools) Executions() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.runs)
}

// rpc is what the server reads of a message.
type rpc struct {
	ID     jsontext.Value `json:"id"`
	Method string         `json:"method"`
	Params struct {
		Name      string `json:"name"`
		Arguments struct {
			Key string `json:"key"`
		} `json:"arguments"`
	} `json:"params"`
}

const toolList = `"result":{"tools":[{"name":"charge","inputSchema":{"type":"object","properties":{"key":{"type":"string"}}}},` +
	`{"name":"look","inputSchema":{"type":"object","properties":{"key":{"type":"string"}}}}]}`

func (t *Tools) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m rpc
	if err := json.UnmarshalRead(r.Body, &m); err != nil {
		http.Error(w, err.Error(), http.StatusMethodNotAllowed) // a GET for a stream, or a DELETE
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		m.answer(w, `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"bank","version":"1"}}`)
	case m.Method == "tools/list":
		m.answer(w, toolList)
	case m.Method == "tools/call":
		t.execute(m.Params.Arguments.Key)
		m.answer(w, fmt.Sprintf(`"result":{"content":[{"type":"text","text":"done %s"}]}`, m.Params.Arguments.Key))
	default:
		m.answer(w, `"error":{"code":-32601,"message":"no such method"}`)
	}
}

// execute counts first: who is interrupted then has executed.
func (t *Tools) execute(key string) {
	t.mu.Lock()
	t.runs[key]++
	t.mu.Unlock()
	h := fnv.New32a()
	h.Write([]byte(key))
	timer := time.NewTimer(time.Duration(h.Sum32()) % callTime)
	defer timer.Stop()
	<-timer.C
}

func (m rpc) answer(w io.Writer, member string) {
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%s}`, m.ID, member)
}
