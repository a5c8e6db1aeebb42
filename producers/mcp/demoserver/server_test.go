package demoserver

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T) *client.Client {
	t.Helper()
	ts := httptest.NewServer(Handler())
	t.Cleanup(ts.Close)
	t.Cleanup(ts.CloseClientConnections)
	c, err := client.NewStreamableHttpClient(ts.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Initialize(t.Context(), mcp.InitializeRequest{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func call(t *testing.T, ctx context.Context, c *client.Client, name string, args map[string]any, token any) (string, bool, error) {
	t.Helper()
	var req mcp.CallToolRequest
	req.Params.Name, req.Params.Arguments = name, args
	if token != nil {
		req.Params.Meta = &mcp.Meta{ProgressToken: token}
	}
	r, err := c.CallTool(ctx, req)
	if err != nil {
		return "", false, err
	}
	return r.Content[0].(mcp.TextContent).Text, r.IsError, nil
}

// Each tool answers as its description says, and an argument that makes no sense is told so in words.
func TestTools(t *testing.T) {
	t.Parallel()
	c := connect(t)
	for _, test := range []struct {
		name    string
		args    map[string]any
		want    string
		isError bool
	}{
		{"roll_dice", map[string]any{"count": 3, "sides": 6, "seed": 7}, "6, 1, 5 (sum 12)", false},
		{"roll_dice", map[string]any{"count": 0}, "count must be 1 to 100, sides 2 to 1000", true},
		{"roll_dice", map[string]any{"sides": 1e9}, "count must be 1 to 100, sides 2 to 1000", true},
		{"convert_units", map[string]any{"value": 5, "from": "mi", "to": "km"}, "8.04672 km", false},
		{"convert_units", map[string]any{"value": 100, "from": "cfs", "to": "m3/s"}, "2.83168 m3/s", false},
		{"convert_units", map[string]any{"value": 1, "from": "mi", "to": "kn"}, "cannot convert: units are", true},
		{"convert_units", map[string]any{"from": "mi", "to": "km"}, "required argument", true},
		{"river_facts", map[string]any{"river": "Danube"}, "The Danube rises in the Black Forest", false},
		{"river_facts", map[string]any{"river": "styx"}, "no such river here; there are amazon, danube", true},
		{"slow_count", map[string]any{"seconds": 0.01}, "counted 0.01 seconds", false},
		{"slow_count", map[string]any{"seconds": 11}, "seconds must be 0 to 10", true},
		{"slow_count", map[string]any{}, "seconds must be 0 to 10", true},
	} {
		got, isError, err := call(t, t.Context(), c, test.name, test.args, nil)
		if err != nil || !strings.HasPrefix(got, test.want) || isError != test.isError {
			t.Errorf("%s %v = %q, %v, %v", test.name, test.args, got, isError, err)
		}
	}
}

// Every tool that is listed has a description, and says that it changes nothing.
func TestTools_AreDescribed(t *testing.T) {
	t.Parallel()
	list, err := connect(t).ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil || len(list.Tools) != 4 {
		t.Fatalf("list = %+v, %v", list, err)
	}
	for _, tool := range list.Tools {
		if tool.Description == "" || tool.Annotations.ReadOnlyHint == nil || !*tool.Annotations.ReadOnlyHint {
			t.Errorf("tool = %+v", tool)
		}
	}
}

// slow_count tells each second, and stops counting when its caller has gone.
func TestSlowCount_TellsAndStops(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	var told atomic.Int32
	c.OnNotification(func(n mcp.JSONRPCNotification) {
		if n.Method == "notifications/progress" && n.Params.AdditionalFields["progressToken"] == "p1" {
			told.Add(1)
			cancel()
		}
	})
	if _, _, err := call(t, ctx, c, "slow_count", map[string]any{"seconds": 10}, "p1"); err == nil {
		t.Error("the count went on")
	}
	if told.Load() != 1 {
		t.Errorf("told %d times", told.Load())
	}
	// goleak sees to it that the server's goroutine has ended.
}
