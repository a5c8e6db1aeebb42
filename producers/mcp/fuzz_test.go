package mcp

import (
	"bytes"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// A URL that passes is https on a public port of a name, or of an address that the dialer would allow.
func FuzzCheckURL(f *testing.F) {
	for _, raw := range refusedURLs {
		if len(raw) < maxURL {
			f.Add(raw)
		}
	}
	f.Add("https://example.com:8443/mcp?x=y")
	judge := guard(nil, true)
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckURL(raw, nil) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.User != nil || !slices.Contains([]string{"", "443", "8443"}, u.Port()) {
			t.Fatalf("CheckURL passes %q", raw)
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			return
		}
		network := "tcp6"
		if addr.Is4() {
			network = "tcp4"
		}
		if judge(network, netip.AddrPortFrom(addr, 443).String(), nil) != nil {
			t.Fatalf("CheckURL passes %q, the dialer does not", raw)
		}
	})
}

// No body makes the filter hold more than the bound of an event, pass more than that of an answer, or pass two
// responses.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("id: 1\ndata: {\"id\":1}\n\n"))
	f.Add([]byte("data: {\"method\":\"n\"}\r\n\r\n: c\ndata: {\"id\":1,\ndata: \"result\":{}}\n\ndata: {\"id\":2}\n\n"))
	f.Add([]byte(strings.Repeat("x", 300)))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := readEvents(bytes.NewReader(body), 256, 1024)
		if err != nil && !errors.Is(err, errTooLarge) {
			t.Fatalf("error = %v", err)
		}
		if len(out) > 8*1024 {
			t.Fatalf("%d bytes passed", len(out))
		}
	})
}
