package mcp

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
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

func readEvents(body io.Reader, maxEvent, maxTotal int) (string, error) {
	out, err := io.ReadAll(newEvents(io.NopCloser(body), &exchange{}, maxEvent, maxTotal))
	return string(out), err
}

// Of a stream of events, one response passes, with what a client needs to resume; what nobody reads does not.
func TestEvents_PassOneResponse(t *testing.T) {
	t.Parallel()
	in := ": hello\r\n\r\nid: 1\nretry: 5\ndata:\n\nid: 2\ndata: {\"method\":\"n\"}\n\n" +
		"data: {\"method\":\"ping\",\"id\":9}\n\ndata: noise\n\nevent: message\ndata:{\"id\":1,\ndata:\"result\":{}}\n\ndata: {\"id\":1}\n\n"
	want := "id: 1\nretry: 5\n\nid: 2\n\ndata: {\"method\":\"ping\",\"id\":9}\n\nevent: message\ndata: {\"id\":1,\ndata: \"result\":{}}\n\n"
	for name, body := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
		if got, err := readEvents(body, 1<<20, 1<<20); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, _ := readEvents(strings.NewReader("data: {\"id\":1}"), 1<<20, 1<<20); got != "data: {\"id\":1}\n\n" {
		t.Errorf("an event without its empty line gives %q", got)
	}
}

// A listening stream passes responses without end, and the address to post to.
func TestEvents_Listen(t *testing.T) {
	t.Parallel()
	in := "event: endpoint\ndata: /x\n\ndata: {\"id\":1}\n\ndata: {\"id\":2}\n\n"
	if got, err := readEvents(strings.NewReader(in), 1<<10, endless); err != nil || got != in {
		t.Errorf("%q, %v", got, err)
	}
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
