package mcp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// schemaText has all that mcp-go's own Tool type loses: keywords beside properties, a number beyond 2^53, the order of
// members.
const schemaText = `{"type":"object","$schema":"https://json-schema.org/draft/2020-12/schema","title":"T","properties":{"b":{"type":"integer","maximum":12345678901234567890},"a":{"type":["string","null"]}},"oneOf":[{"required":["a"]},{"required":["b"]}],"additionalProperties":false}`

// newMCPServer is a server of mcp-go itself.
func newMCPServer() *server.MCPServer {
	s := server.NewMCPServer("test", "1", server.WithToolCapabilities(true))
	raw := mcpgo.NewToolWithRawSchema("echo", "Says it again.", []byte(schemaText))
	s.AddTool(raw, func(_ context.Context, req mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultText("echo " + req.GetString("a", "?")), nil
	})
	s.AddTool(mcpgo.NewTool("fail"), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultError("it broke"), nil
	})
	return s
}

// eraServers are the same server in every way that it can be spoken to.
func eraServers(t testing.TB) map[era]Server {
	serveMCP := func(opts ...server.StreamableHTTPOption) Server {
		return Server{Label: "x", URL: serve(t, server.NewStreamableHTTPServer(newMCPServer(), opts...)).URL + "/mcp"}
	}
	events := server.NewSSEServer(newMCPServer())
	return map[era]Server{
		modern: serveMCP(server.WithStateLess(true)),
		legacy: serveMCP(server.WithStateful(true), server.WithStreamableHTTPProtocolVersions(mcpgo.LegacyProtocolVersions()...)),
		sse:    {Label: "x", URL: serve(t, events).URL + "/sse"},
		stdio:  {Label: "x", Command: []string{os.Args[0]}, Env: map[string]string{stdioVariable: "server"}},
	}
}

// A server is found to be modern, legacy, HTTP+SSE or stdio, and its tools can be listed and called in each of them.
func TestPool_SpeaksEveryEra(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for kind, s := range eraServers(t) {
		t.Run(string(kind), func(t *testing.T) {
			tools := mustList(t, p, s)
			echo := slices.IndexFunc(tools, func(t Tool) bool { return t.Name == "echo" })
			if echo < 0 || tools[echo].Description != "Says it again." || string(tools[echo].InputSchema) != schemaText {
				t.Fatalf("tools = %+v", tools)
			}
			if got := mustCall(t, p, s, "echo", `{"a":"hi"}`); got.Output != "echo hi" || got.IsError {
				t.Errorf("result = %+v", got)
			}
			want := Result{Output: "it broke", IsError: true, Content: []byte(`[{"type":"text","text":"it broke"}]`)}
			if diff := cmp.Diff(want, mustCall(t, p, s, "fail", "")); diff != "" {
				t.Errorf("a failed tool is a result (-want +got):\n%s", diff)
			}
			if got := eraOf(p, s); got != kind {
				t.Errorf("era = %q, want %q", got, kind)
			}
			_, err := p.CallTool(t.Context(), "t1", s, "absent", nil)
			wantError(t, err, KindProtocol, -32602)
		})
	}
}

func eraOf(p *Pool, s Server) era {
	p.mu.Lock()
	e := p.entries[s.key("t1")]
	p.mu.Unlock()
	if e == nil {
		return unknown
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.era
}

// A schema arrives with the bytes that the server sent.
func TestListTools_KeepsSchemaBytes(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/list": func(w http.ResponseWriter, _ *http.Request, m message) {
		reply(w, m, `{"tools":[{"name":"echo","inputSchema":`+schemaText+`,"annotations":{"readOnlyHint":true,"x":1}}]}`)
	}}}
	p := newPool(t, Config{})
	tools := mustList(t, p, Server{URL: serve(t, f).URL})
	if len(tools) != 1 || string(tools[0].InputSchema) != schemaText || string(tools[0].Annotations) != `{"readOnlyHint":true,"x":1}` {
		t.Fatalf("tools = %s", tools)
	}
}

// Arguments reach the server with every digit.
func TestCallTool_KeepsArguments(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fake{"legacy": {}, "modern": {on: handlers{"server/discover": asModern}}} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, Config{})
			mustCall(t, p, Server{URL: serve(t, f).URL}, "echo", `{"n":12345678901234567890123,"z":1,"a":2}`)
			all := f.requests()
			if last := all[len(all)-1]; !strings.Contains(last.params, `"arguments":{"n":12345678901234567890123,"z":1,"a":2}`) {
				t.Errorf("params = %s", last.params)
			}
		})
	}
}

// Many callers share a session, and none gets another's answer.
func TestPool_ServesManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for kind, s := range eraServers(t) {
		t.Run(string(kind), func(t *testing.T) {
			var callers sync.WaitGroup
			for i := range 32 {
				callers.Go(func() {
					r, err := p.CallTool(t.Context(), "t1", s, "echo", fmt.Appendf(nil, `{"a":"%d"}`, i))
					if want := fmt.Sprintf("echo %d", i); err != nil || r.Output != want {
						t.Errorf("call = %q, %v, want %q", r.Output, err, want)
					}
					if _, err := p.ListTools(t.Context(), "t1", s); err != nil {
						t.Errorf("list: %v", err)
					}
				})
			}
			callers.Wait()
		})
	}
}

// A server that answers any method with an empty result is a legacy one, not a modern one without versions.
func TestDial_ChecksDiscovery(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"server/discover": func(w http.ResponseWriter, _ *http.Request, m message) { reply(w, m, `{}`) }}}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	mustCall(t, p, s, "echo", "")
	if eraOf(p, s) != legacy || f.count("initialize") != 1 {
		t.Errorf("era = %q, initialized %d times", eraOf(p, s), f.count("initialize"))
	}
}

// A modern server that refuses the version which it lists itself is asked once more.
func TestDial_RetriesRefusedVersion(t *testing.T) {
	t.Parallel()
	var refusals int
	f := &fake{on: handlers{"server/discover": func(w http.ResponseWriter, r *http.Request, m message) {
		if refusals++; refusals > 1 {
			asModern(w, r, m)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`, m.ID)
	}}}
	p := newPool(t, Config{})
	s := Server{URL: serve(t, f).URL}
	mustCall(t, p, s, "echo", "")
	if eraOf(p, s) != modern || f.count("server/discover") != 2 {
		t.Errorf("era = %q after %d discoveries", eraOf(p, s), f.count("server/discover"))
	}
}

// A server that does not answer the probe costs the probe's time, not the session.
func TestDial_OutlastsSilentProbe(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"server/discover": hang}}
	p := newPool(t, Config{ProbeTimeout: 20 * time.Millisecond})
	s := Server{URL: serve(t, f).URL}
	mustCall(t, p, s, "echo", "")
	if eraOf(p, s) != legacy {
		t.Errorf("era = %q", eraOf(p, s))
	}
}

// A server is reached by TLS too, if its certificate is known; else it is not.
func TestPool_SpeaksTLS(t *testing.T) {
	t.Parallel()
	ts := httptest.NewUnstartedServer(&fake{})
	ts.EnableHTTP2 = true
	ts.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake that fails on purpose
	ts.StartTLS()
	t.Cleanup(ts.Close)
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	p := newPool(t, Config{TLS: &tls.Config{RootCAs: roots}})
	mustCall(t, p, Server{URL: ts.URL}, "echo", "")
	mustCall(t, p, Server{URL: ts.URL, Trusted: true}, "echo", "")
	_, err := newPool(t, Config{}).ListTools(t.Context(), "t1", Server{URL: ts.URL})
	wantError(t, err, KindHTTP, 502)
}
