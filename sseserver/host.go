package sseserver

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// checkHost refuses what was sent to a name of the network, if the server is for loopback only. A web page can make its
// own name resolve to 127.0.0.1, and is then of one origin with the server; the name in Host gives it away.
func (s *Server) checkHost(next echo.HandlerFunc) echo.HandlerFunc {
	if !s.cfg.LoopbackHosts {
		return next
	}
	return func(c echo.Context) error {
		if !isLoopback(c.Request().Host) {
			e := schema.Refuse("misdirected_request", "",
				"This node answers to loopback names only. A proxy before it must send Host: localhost.")
			e.Status = http.StatusMisdirectedRequest
			return e
		}
		return next(c)
	}
}

// isLoopback reports whether a Host header, with or without port, names this machine wherever it is resolved: RFC 6761
// keeps localhost and all names below it for that.
func isLoopback(host string) bool {
	name := strings.ToLower((&url.URL{Host: host}).Hostname())
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}
