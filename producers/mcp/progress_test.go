package mcp

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// addSlow gives a server a tool that is at work for so long, and says so all the time.
func addSlow(s *server.MCPServer, name string, took time.Duration) {
	s.AddTool(mcpgo.NewTool(name), func(ctx context.Context, req mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		tick, end := time.NewTicker(50*time.Millisecond), time.After(took)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-tick.C:
				_ = server.ServerFromContext(ctx).SendNotificationToClient(ctx, string(mcpgo.MethodNotificationProgress),
					map[string]any{"progressToken": req.Params.Meta.ProgressToken, "progress": n})
			case <-end:
				return mcpgo.NewToolResultText("slow, but whole"), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
}

// slowServers are a server with a slow tool, in the ways that it can be spoken to over a network.
func slowServers(t testing.TB, took time.Duration) map[era]Server {
	build := func() *server.MCPServer {
		s := newMCPServer()
		addSlow(s, "slow", took)
		return s
	}
	over := func(opts ...server.StreamableHTTPOption) Server {
		return Server{URL: serve(t, server.NewStreamableHTTPServer(build(), opts...)).URL + "/mcp"}
	}
	return map[era]Server{
		modern: over(server.WithStateLess(true)),
		legacy: over(server.WithStateful(true), server.WithStreamableHTTPProtocolVersions(mcpgo.LegacyProtocolVersions()...)),
		sse:    {URL: serve(t, server.NewSSEServer(build())).URL + "/sse"},
		stdio:  stdioServer("server"),
	}
}

// A call whose server tells of progress may take longer than one that is silent.
func TestPool_WaitsForACallThatMakesProgress(t *testing.T) {
	t.Parallel()
	for kind, s := range slowServers(t, slowTime) {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p := newPool(t, Config{CallTimeout: slowTime / 2})
			mustList(t, p, s) // a session that is open costs the call no time
			r := mustCall(t, p, s, "slow", "")
			if r.Output != "slow, but whole" || r.Progress < 2 {
				t.Errorf("result: %+v", r)
			}
		})
	}
}

// slowTime is how long the slow tool of the stdio server works.
const slowTime = 2 * time.Second

// Progress without end does not keep a call for ever.
func TestPool_EndsACallThatOnlyMakesProgress(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{CallTimeout: 500 * time.Millisecond, CallTotal: time.Second})
	_, err := p.CallTool(t.Context(), "t1", slowServers(t, time.Minute)[legacy], "slow", nil)
	wantError(t, err, KindHTTP, http.StatusGatewayTimeout)
}

// A sign of life under another call's token, or behind the end, is nobody's.
func TestCalls_DropWhatIsLate(t *testing.T) {
	t.Parallel()
	var c calls
	beats := 0
	tell := func(method, token string) {
		n := mcpgo.JSONRPCNotification{}
		n.Method, n.Params.AdditionalFields = method, map[string]any{"progressToken": token}
		c.progress(n)
	}
	token, end := c.begin(func() { beats++ })
	tell("notifications/progress", token)
	tell("notifications/message", token)
	tell("notifications/progress", "call-0")
	tell("notifications/progress", "")
	end()
	tell("notifications/progress", token)
	if beats != 1 || len(c.beats) != 0 {
		t.Errorf("%d signs of life, %d calls kept", beats, len(c.beats))
	}
}

// The time of a call is measured from the last sign of life, and bounded in all.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{cfg: Config{CallTimeout: 10 * time.Second, CallTotal: 25 * time.Second}}
		for beats, want := range []time.Duration{10 * time.Second, 19 * time.Second, 25 * time.Second, 25 * time.Second} {
			ctx, b := p.beginPulse(t.Context())
			began := time.Now()
			for range beats {
				<-time.After(9 * time.Second)
				b.beat()
			}
			<-ctx.Done()
			if took := time.Since(began); took != max(want, time.Duration(beats)*9*time.Second) || context.Cause(ctx) != context.DeadlineExceeded {
				t.Errorf("with %d signs of life: ended after %v, %v", beats, took, context.Cause(ctx))
			}
			b.stop()
			if b.beat(); b.stop() > beats {
				t.Error("a sign of life behind the end counts")
			}
		}
	})
}

// A list that is asked for afresh does not come from memory, and is what memory has from then on.
func TestPool_ListsAfresh(t *testing.T) {
	t.Parallel()
	f, lists := &fake{}, 0
	f.on = handlers{"tools/list": func(w http.ResponseWriter, _ *http.Request, m message) {
		if lists++; lists == 1 {
			f.answer(w, m)
			return
		}
		reply(w, m, `{"tools":[{"name":"other","inputSchema":{"type":"object"}}]}`)
	}}
	p := newPool(t, Config{ListTTL: time.Hour})
	s := Server{URL: serve(t, f).URL}
	mustList(t, p, s)
	if got := mustList(t, p, s); got[0].Name != "echo" {
		t.Errorf("from memory: %+v", got)
	}
	got, err := p.ListToolsAfresh(t.Context(), "t1", s)
	if err != nil || got[0].Name != "other" {
		t.Errorf("afresh: %+v, %v", got, err)
	}
	if got := mustList(t, p, s); got[0].Name != "other" || f.count("tools/list") != 2 {
		t.Errorf("from memory: %+v after %d requests", got, f.count("tools/list"))
	}
}

// A picture that is larger than a result may be leaves the rest of the result whole.
func TestPool_TakesALargePicture(t *testing.T) {
	t.Parallel()
	f := &fake{on: handlers{"tools/call": func(w http.ResponseWriter, _ *http.Request, m message) {
		reply(w, m, `{"content":[{"type":"text","text":"see"},{"type":"image","mimeType":"image/png","data":"`+strings.Repeat("A", 2<<20)+`"}]}`)
	}}}
	r := mustCall(t, newPool(t, Config{}), Server{URL: serve(t, f).URL}, "look", "")
	if want := "see\n" + `{"type":"image","mimeType":"image/png","data":"[2097152 bytes of base64 left out]"}`; r.Output != want {
		t.Errorf("output: %.200s", r.Output)
	}
}
