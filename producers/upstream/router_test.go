package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// A model goes to the first upstream, in the order of the configuration, with a pattern that matches.
func TestRoute_FirstMatchWins(t *testing.T) {
	t.Parallel()
	chat := func(name string, models ...string) Config {
		return Config{Name: name, Dialect: "chat", BaseURL: "http://" + name + ".example", Models: models}
	}
	router, err := Open([]Config{{Name: "demo", Dialect: "demo"}, chat("a", "gpt-*", "o3"), chat("b", "meta*/*-chat"), chat("c", "gpt-5", "x")})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	for model, want := range map[string]string{
		"demo": "demo", "demo-slow": "demo", "gpt-5": "a", "gpt-": "a", "o3": "a", "o3-mini": "", "x": "c",
		"meta-llama/Llama-3-chat": "b", "meta/x": "", "GPT-5": "", "": "", "*": "", "demo-": "",
	} {
		up, err := router.Route(model)
		var refused *schema.Error
		switch {
		case want == "" && (!errors.As(err, &refused) || refused.Status != 404 || refused.Code != schema.CodeModelNotFound || refused.Param != "model"):
			t.Errorf("Route(%q) = %v", model, err)
		case want != "" && (err != nil || up.(*route).line[0].name() != want):
			t.Errorf("Route(%q) = %v, %v, want %s", model, up, err, want)
		}
	}
}

// A configuration that cannot work is refused at start, by an error that names the upstream and never its key.
func TestOpen_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	ok := Config{Name: "up", Dialect: "chat", BaseURL: "https://api.example/v1", APIKey: secret}
	for name, spoil := range map[string]func(*Config){
		"no name": func(c *Config) { c.Name = "" }, "no dialect": func(c *Config) { c.Dialect = "" },
		"no URL": func(c *Config) { c.BaseURL = "" }, "other scheme": func(c *Config) { c.BaseURL = "ftp://api.example" },
		"user info": func(c *Config) { c.BaseURL = "https://u:" + secret + "@api.example" }, "query": func(c *Config) { c.BaseURL += "?key=" + secret },
		"broken URL": func(c *Config) { c.BaseURL = "http://%zz" + secret }, "key with a line": func(c *Config) { c.APIKey += "\n" },
		"unknown member":           func(c *Config) { c.MaxTokensName = "tokens" },
		"MCP that chat cannot say": func(c *Config) { c.MCP = mcpPassthrough }, "MCP by nobody": func(c *Config) { c.MCP = "upstream" },
	} {
		c := ok
		spoil(&c)
		if _, err := Open([]Config{c}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
	if _, err := Open([]Config{ok, ok}); err == nil {
		t.Error("two upstreams of one name were accepted")
	}
}

// Models lists plain names as they are and asks upstreams for patterns; it asks once a minute, and one that fails
// neither spoils nor delays the rest.
func TestModels_AsksForPatternsOnly(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/v1/models" || r.Header.Get("Authorization") != "Bearer "+secret {
			t.Errorf("%s with %q", r.URL, r.Header)
		}
		fmt.Fprint(w, `{"object":"list","data":[{"id":"gpt-5","x":1},{"id":"gpt-5"},{"id":"other"},{"id":"gpt-\u0007"},{"id":""},{"id":"gpt-6"}]}`)
	}))
	defer list.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	defer broken.Close()
	router, err := Open([]Config{
		{Name: "demo", Dialect: "demo"},
		{Name: "open", Dialect: "chat", BaseURL: list.URL + "/v1/", APIKey: secret, Models: []string{"mine", "gpt-*"}},
		{Name: "down", Dialect: "responses", BaseURL: broken.URL, Models: []string{"*", "named"}},
		{Name: "plain", Dialect: "chat", BaseURL: "http://127.0.0.1:1", Models: []string{"gpt-6", "plain"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	want := []Model{
		{"demo", "demo"}, {"demo-slow", "demo"}, {"mine", "open"}, {"gpt-5", "open"}, {"gpt-6", "open"}, {"named", "down"}, {"plain", "plain"},
	}
	for range 3 {
		if diff := cmp.Diff(want, router.Models(t.Context())); diff != "" {
			t.Errorf("models (-want +got):\n%s", diff)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
}
