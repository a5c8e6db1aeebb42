package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
	"github.com/midstream-dev/midstream/sseserver"
)

const (
	openAI        = "https://api.openai.com/v1"
	demoLabel     = "demo"
	demoPath      = "/demo/mcp"
	anyTool       = "*"
	dialectDemo   = "demo"
	dialectOpenAI = "responses"
)

// addOpenAI makes OPENAI_API_KEY alone enough: without an upstream of the operator's, it means OpenAI.
func (c *Config) addOpenAI() {
	key := os.Getenv("OPENAI_API_KEY")
	if key == "" || len(c.Upstreams) > 0 {
		return
	}
	base := os.Getenv("OPENAI_BASE_URL")
	if base == "" {
		base = openAI
	}
	c.Upstreams = []UpstreamConfig{{Name: "openai", Dialect: dialectOpenAI, BaseURL: base, APIKey: Secret(key)}}
}

// upstreams returns what the router is made from. The demo stands first: its two names are its own, while others may
// serve everything.
func (c *Config) upstreams(log *slog.Logger) []upstream.Config {
	var out []upstream.Config
	if c.DemoOn() {
		out = append(out, upstream.Config{Name: "demo", Dialect: dialectDemo, Logger: log})
	}
	for _, u := range c.Upstreams {
		out = append(out, upstream.Config{
			Name: u.Name, Dialect: u.Dialect, BaseURL: u.BaseURL, APIKey: u.APIKey.Reveal(), Models: u.Models,
			MaxTokensName: u.MaxTokensName, SendReasoning: u.SendReasoning,
			MaxTokens: u.MaxTokens, CachePrompts: u.CachePrompts, MCP: u.MCP, Resume: u.Resume,
			Model: u.Model, Retries: u.Retries, Fallback: u.Fallback, MaxCalls: u.MaxCalls, MaxWait: u.MaxWait,
			UserAgent: "midstream/" + strings.Trim(version(), "()"), // (devel) is no token
			FirstByte: u.FirstByte, FirstToken: u.FirstToken, Idle: u.Idle, Total: u.Total, Logger: log,
		})
	}
	return out
}

// validateUpstreams checks what the router will be made from, by making one: it contacts nobody.
func (c *Config) validateUpstreams() error {
	router, err := upstream.Open(c.upstreams(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("upstreams: %w", err)
	}
	router.Close()
	return nil
}

// validateServers checks what requests will name MCP servers by.
func (c *Config) validateServers() error {
	var errs []error
	seen, connectors := map[string]bool{}, map[string]bool{}
	for i, s := range c.MCP.Servers {
		switch {
		case !schema.ValidToken(s.Label):
			errs = append(errs, fmt.Errorf("mcp.servers[%d]: the label %q is not 1 to 64 letters, digits, _ or -", i, s.Label))
		case seen[s.Label] || (s.Label == demoLabel && c.DemoOn()):
			errs = append(errs, fmt.Errorf("mcp.servers[%d]: there is another server with the label %s", i, s.Label))
		case (s.URL == "") == (len(s.Command) == 0):
			errs = append(errs, fmt.Errorf("mcp.servers[%d] %s: needs a url or a command, one of them", i, s.Label))
		case s.ConnectorID != "" && s.URL == "":
			errs = append(errs, fmt.Errorf("mcp.servers[%d] %s: a connector_id needs a url: callers bring credentials of their own", i, s.Label))
		case connectors[s.ConnectorID]:
			errs = append(errs, fmt.Errorf("mcp.servers[%d] %s: there is another server with the connector_id %s", i, s.Label, s.ConnectorID))
		}
		seen[s.Label], connectors[s.ConnectorID] = true, s.ConnectorID != ""
	}
	return errors.Join(errs...)
}

// servers returns the operator's MCP servers by label, with the demo's if it is on.
func (c *Config) servers(demoURL string) map[string]mcp.Server {
	servers := map[string]mcp.Server{}
	for _, s := range c.MCP.Servers {
		servers[s.Label] = mcp.Server{
			Label: s.Label, URL: s.URL, Authorization: s.Authorization.Reveal(), Headers: reveal(s.Headers),
			Command: s.Command, Env: reveal(s.Env), Trusted: true,
		}
	}
	if c.DemoOn() {
		servers[demoLabel] = mcp.Server{Label: demoLabel, URL: demoURL, Trusted: true, Alone: true} // beside the API
	}
	return servers
}

// connectors returns the URLs behind connector ids.
func (c *Config) connectors() map[string]string {
	urls := map[string]string{}
	for _, s := range c.MCP.Servers {
		if s.ConnectorID != "" {
			urls[s.ConnectorID] = s.URL
		}
	}
	return urls
}

// idempotent reports whether the operator allows a tool to be called again.
func (c *Config) idempotent(label, tool string) bool {
	return slices.ContainsFunc(c.MCP.Servers, func(s MCPServerConfig) bool {
		return s.Label == label && (slices.Contains(s.IdempotentTools, tool) || slices.Contains(s.IdempotentTools, anyTool))
	})
}

// door refuses, before anything is queued, what no producer could serve.
type door struct {
	router     *upstream.Router
	servers    map[string]mcp.Server
	connectors map[string]string
	private    []netip.Prefix
}

func (d door) admit(_ context.Context, r *schema.CreateRequest) error {
	if err := d.router.Admit(r); err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	up, err := d.router.Route(r.Model)
	if err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	for i, t := range r.Tools {
		if t.Type != schema.ToolMCP {
			continue
		}
		judge := d.admitServer
		if upstream.RunsMCP(up) {
			judge = admitPassthrough
		}
		if err := judge(fmt.Sprintf("tools[%d]", i), &t); err != nil {
			return err
		}
	}
	return nil
}

func (d door) admitServer(param string, t *schema.Tool) error {
	_, known := d.servers[t.ServerLabel]
	_, connects := d.connectors[t.ConnectorID]
	switch {
	case t.ConnectorID != "" && !connects:
		return schema.Refuse(schema.CodeInvalidValue, param+".connector_id",
			"No connector %.64q is configured here: give a 'server_url'.", t.ConnectorID)
	case t.ConnectorID != "":
		return nil
	case t.ServerURL == "" && !known:
		return schema.Refuse(schema.CodeInvalidValue, param+".server_label",
			"No MCP server is configured under the label '%s': give a 'server_url'.", t.ServerLabel)
	case t.ServerURL == "":
		return nil
	case !mcp.Trusts(d.servers, t.ServerURL) && mcp.CheckURL(t.ServerURL, d.private) != nil:
		return schema.Refuse(schema.CodeURLNotAllowed, param+".server_url",
			"This gateway does not connect to '%s.server_url'.", param)
	}
	return nil
}

// admitPassthrough judges an entry that the upstream will use: this gateway's own servers mean nothing to it.
func admitPassthrough(param string, t *schema.Tool) error {
	if t.ServerURL == "" && t.ConnectorID == "" {
		return schema.Refuse(schema.CodeInvalidValue, param,
			"The upstream of this model calls MCP servers itself: give '%s' a 'server_url' or a 'connector_id'.", param)
	}
	return nil
}

// models lists what GET /v1/models shows.
func (d door) models(ctx context.Context) ([]sseserver.Model, error) {
	var out []sseserver.Model
	for _, m := range d.router.Models(ctx) {
		out = append(out, sseserver.Model{ID: m.ID, OwnedBy: m.OwnedBy})
	}
	return out, nil
}
