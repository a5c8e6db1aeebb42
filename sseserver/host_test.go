package sseserver

import (
	"io"
	"net/http"
	"testing"
)

// A server for loopback answers to loopback names and addresses only, on every route, so that no web page reaches it by
// pointing a name of its own at 127.0.0.1.
func TestHost_LoopbackOnly(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 100)
	s := serve(t, func(c *Config) {
		c.LoopbackHosts = true
		c.Mount = map[string]http.Handler{"/demo/": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reached <- r.Host
			_, _ = io.WriteString(w, "mounted")
		})}
	})
	for _, host := range []string{
		s.addr, "127.0.0.1", "127.8.8.8:8080", "localhost", "LocalHost:80", "app.localhost:1", "[::1]", "[::1]:8080",
		"[::ffff:127.0.0.1]",
	} {
		req := s.request(t, http.MethodGet, "/demo/mcp", "")
		req.Host = host
		if body := string(read(t, s.do(t, req))); body != "mounted" || <-reached != host {
			t.Errorf("Host %q: %s", host, body)
		}
	}
	for _, host := range []string{
		"evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "evillocalhost",
		"0.0.0.0:8080", "10.0.0.1", "127.1", "2130706433", "[::]", "[fe80::1]:80", ".", ":80", "localhost:80:80",
	} {
		for _, route := range [][2]string{
			{"POST", "/v1/responses"}, {"GET", "/v1/responses/" + storyID}, {"GET", "/v1/models"}, {"POST", "/demo/mcp"},
			{"GET", "/healthz"}, {"GET", "/metrics"}, {"GET", "/nowhere"},
		} {
			req := s.request(t, route[0], route[1], streamed)
			req.Host = host
			mustRefuse(t, s.do(t, req), http.StatusMisdirectedRequest, "misdirected_request")
		}
	}
	if len(reached) != 0 || len(s.memory.commands) != 0 {
		t.Errorf("%d requests reached the mount, %d the queue", len(reached), len(s.memory.commands))
	}
}

// A server that is not for loopback only answers to any name.
func TestHost_Any(t *testing.T) {
	t.Parallel()
	s := serve(t)
	req := s.request(t, http.MethodGet, "/healthz", "")
	req.Host = "gateway.example"
	if resp := s.do(t, req); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
