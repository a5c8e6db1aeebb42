package sseserver

import (
	"net/http"
	"slices"
	"testing"

	"github.com/coder/websocket"

	"github.com/midstream-dev/midstream/schema"
)

var handshake = []string{
	"Connection", "keep-alive, Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
	"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==",
}

// What is no handshake, or of a page that may not connect, is refused before the upgrade, in the API's shape.
func TestSocket_RefusesHandshakes(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, row := range map[string]struct {
		change []string
		status int
		code   string
		header string
	}{
		"plain":         {[]string{"Upgrade", ""}, 426, "upgrade_required", "Upgrade"},
		"no connection": {[]string{"Connection", "close"}, 426, "upgrade_required", "Upgrade"},
		"old version":   {[]string{"Sec-WebSocket-Version", "8"}, 426, "upgrade_required", "Sec-WebSocket-Version"},
		"no key":        {[]string{"Sec-WebSocket-Key", ""}, 400, schema.CodeInvalidValue, ""},
		"a short key":   {[]string{"Sec-WebSocket-Key", "YQ=="}, 400, schema.CodeInvalidValue, ""},
		"foreign page":  {[]string{"Origin", "https://evil.example"}, 403, "origin_not_allowed", ""},
		"a file":        {[]string{"Origin", "null"}, 403, "origin_not_allowed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := s.get(t, socketPath, append(slices.Clip(handshake), row.change...)...)
			mustRefuse(t, resp, row.status, row.code)
			if row.header != "" && resp.Header.Get(row.header) == "" {
				t.Errorf("no %s in %v", row.header, resp.Header)
			}
		})
	}
}

// A page may connect to its own host, and others of the operator's list may.
func TestSocket_Origin(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Origins = []string{"https://app.example"} })
	s.openSocket(t, "Origin", s.url)
	s.openSocket(t, "Origin", "https://app.example")
	serve(t, func(c *Config) { c.Origins = []string{anyOrigin} }).openSocket(t, "Origin", "https://evil.example")
}

// Names of the network are refused by a server for loopback alone, as everywhere.
func TestSocket_Host(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.LoopbackHosts = true })
	req := s.request(t, http.MethodGet, socketPath, "", handshake...)
	req.Host = "rebound.example"
	mustRefuse(t, s.do(t, req), http.StatusMisdirectedRequest, "misdirected_request")
	s.openSocket(t)
}

type keyed struct{}

func (keyed) Tenant(r *http.Request) (string, error) {
	if r.Header.Get("Authorization") != "Bearer CANARY" {
		return "", &schema.Error{Status: 401, Type: schema.TypeInvalidRequest, Code: "invalid_api_key", Message: "Wrong key."}
	}
	return "keyed", nil
}

// A browser sends its key as a subprotocol. It is taken as a key, and never said again: neither in the answer nor in the log.
func TestSocket_KeyAsSubprotocol(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Tenants, c.Logger = keyed{}, log.logger() })
	mustRefuse(t, s.get(t, socketPath, handshake...), 401, "invalid_api_key")
	dial := func(protocols ...string) *caller {
		conn, answer, err := websocket.Dial(t.Context(), "ws://"+s.addr+socketPath, &websocket.DialOptions{Subprotocols: protocols})
		if err != nil {
			t.Fatal(err)
		}
		return &caller{t, conn, answer}
	}
	for want, c := range map[string]*caller{
		"realtime": dial(keyProtocol+"CANARY", "realtime"), "": dial(keyProtocol + "CANARY"),
	} {
		if got := c.answer.Header.Get("Sec-WebSocket-Protocol"); got != want {
			t.Errorf("answered %q, want %q", got, want)
		}
		c.sendf(created)
		if r := s.work(t); r.ref.Tenant() != "keyed" {
			t.Errorf("of tenant %s", r.ref.Tenant())
		}
		_ = c.conn.CloseNow()
	}
	waitFor(t, "the log", func() bool { return log.count(`"status":101`) == 2 })
	if contains(log.String(), "CANARY") {
		t.Errorf("the key is in the log: %s", log.String())
	}
}

// A node that drains opens nothing.
func TestSocket_RefusedByADrain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.subscribers.drain(t.Context(), 0)
	mustRefuse(t, s.get(t, socketPath, handshake...), 503, schema.CodeUnavailable)
}
