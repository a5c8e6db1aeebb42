package mcp

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// refusedURLs must not pass CheckURL when no private network is allowed.
var refusedURLs = []string{
	// A port with a zero in front of it (found by FuzzCheckURL).
	"https://a:0443", "https://a:00",
	// Literal addresses, however written.
	"https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/",
	"https://0177.0.0.1/", "https://017700000001/", "https://0/", "https://0.0.0.0/", "https://127.0.0.1./",
	"https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/",
	"https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::7f00:1]/", "https://[2002:7f00:1::]/", "https://[fe80::1%25eth0]/",
	"https://[fe80::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[::ffff:169.254.169.254]/",
	"https://169.254.169.254/", "https://169.254.170.2/", "https://100.100.100.200/", "https://192.0.0.192/",
	"https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://198.18.0.1/",
	"https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/", "https://[ff02::1]/",
	"https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://127%2e0%2e0%2e1/",
	// Names that are private by definition.
	"https://localhost/", "https://localhost./", "https://LOCALHOST/", "https://a.localhost/", "https://printer.local/",
	"https://metadata.google.internal/",
	// Schemes, ports, user info.
	"http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "unix:///run/x.sock",
	"data:text/plain,x", "//example.com/", "example.com", "", "https://", "https:///x", "https:example.com",
	"https://example.com:80/", "https://example.com:4222/", "https://example.com:0/", "https://example.com:65536/",
	"https://example.com:/", "https://example.com:x/", "https://example.com:-1/", "https://8.8.8.8:22/", "http://8.8.8.8/",
	"https://ok@127.0.0.1/", "https://user:pass@example.com/", "https://@example.com/",
	// What parsers disagree about.
	"https://ok#@x/", "https://example.com\\@127.0.0.1/", "https://example.com/%00\x00", "https://exa mple.com/",
	"https://example.com/\r\nHost: x", "https://exam\tple.com/", "https://example..com/", "https://.example.com/",
	"https://example.com#", "https://ex%61mple.com/", "https://[::1", "https://[example.com]/", "https://a*b.com/",
	"https://example.com/" + strings.Repeat("a", 64<<10),
}

// Every URL of the catalogue is refused when it is submitted, with one and the same text.
func TestCheckURL_Refuses(t *testing.T) {
	t.Parallel()
	for _, raw := range refusedURLs {
		if err := CheckURL(raw, nil); err != ErrURLNotAllowed {
			t.Errorf("CheckURL(%.60q) = %v", raw, err)
		}
	}
}

// Public names and addresses pass, as do the networks that the operator has opened.
func TestCheckURL_Allows(t *testing.T) {
	t.Parallel()
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for raw, allow := range map[string][]netip.Prefix{
		"https://example.com":                      nil,
		"https://mcp.example.com:8443/a/b?c=d%2Fe": nil,
		"https://xn--bcher-kva.example/":           nil,
		"https://8.8.8.8/":                         nil,
		"https://[2606:4700:4700::1111]/":          nil,
		"https://127.0.0.1.nip.io/":                nil, // its address is known at dial only
		"https://a_b.example.com./":                nil,
		"http://10.1.2.3:8080/mcp":                 ten,
		"https://10.1.2.3:9000/":                   ten,
		"http://[fd00::1]:8080/":                   ten,
		"http://[::ffff:10.0.0.1]/":                ten,
		"http://tools.internal:8080/":              ten, // likewise
	} {
		if err := CheckURL(raw, allow); err != nil {
			t.Errorf("CheckURL(%q) = %v", raw, err)
		}
	}
	for _, raw := range []string{"http://127.0.0.1/", "https://192.168.0.1/", "http://8.8.8.8/", "https://[::1]/", "http://u@10.0.0.1/"} {
		if err := CheckURL(raw, ten); err == nil {
			t.Errorf("CheckURL(%q) passes with 10/8 open", raw)
		}
	}
}

// The dialer refuses every address that is not public, on any port; and public ones on ports other than 443 and 8443,
// or without TLS.
func TestGuard_JudgesResolvedAddress(t *testing.T) {
	t.Parallel()
	secure, plain := guard(nil, true), guard(nil, false)
	for _, host := range []string{
		"127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1",
		"100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::",
		"::ffff:127.0.0.1", "::127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::",
		"fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
	} {
		for _, judge := range []control{secure, plain} {
			if err := judge("tcp", net.JoinHostPort(host, "443"), nil); err != ErrURLNotAllowed {
				t.Errorf("dial of %s = %v", host, err)
			}
		}
	}
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "8.8.8.8:8443": true, "8.8.8.8:80": false, "8.8.8.8:4222": false, "8.8.8.8:0": false,
		"[2606:4700:4700::1111]:443": true, "nonsense": false,
	} {
		network := "tcp4"
		if address[0] == '[' {
			network = "tcp6"
		}
		if got := secure(network, address, nil) == nil; got != want {
			t.Errorf("dial of %s allowed = %v", address, got)
		}
		if plain(network, address, nil) == nil {
			t.Errorf("plain dial of %s is allowed", address)
		}
	}
	if secure("udp4", "8.8.8.8:443", nil) == nil {
		t.Error("udp is allowed")
	}
}

// counted is a listener that counts the connections which reach it.
func counted(t *testing.T) (port string, count *atomic.Int32) {
	ts, count := serve(t, http.NotFoundHandler()), new(atomic.Int32)
	ts.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			count.Add(1)
		}
	}
	_, port, err := net.SplitHostPort(ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, count
}

// A name that passes the check and resolves to a forbidden address is refused at dial: not one packet reaches it.
func TestPool_RefusesNameOfPrivateAddress(t *testing.T) {
	t.Parallel()
	port, connections := counted(t)
	// 10/8 is open, so that names may have any port; localhost is not in it.
	p := newPool(t, Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, scheme := range []string{"http", "https"} {
		_, err := p.ListTools(t.Context(), "t1", Server{URL: scheme + "://localhost:" + port})
		e := wantError(t, err, KindHTTP, 400)
		if e.Message != ErrURLNotAllowed.Error() || !errors.Is(err, ErrURLNotAllowed) {
			t.Errorf("message = %q", e.Message)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections reached the address", n)
	}
}

// What CheckURL refuses is refused by the pool too, whoever forgot to ask.
func TestPool_ChecksURLItself(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{AllowPrivate: []netip.Prefix{}})
	for _, s := range []Server{{URL: "http://127.0.0.1:1/"}, {URL: "ftp://x/", Trusted: true}, {}, {URL: "https://x.example", Command: []string{"true"}}} {
		_, err := p.CallTool(t.Context(), "t1", s, "echo", nil)
		wantError(t, err, KindHTTP, 400)
	}
}

// The operator's own URL reaches its origin wherever that is, and a client that names the same URL does not ride on the
// connection that this has left open.
func TestPool_TrustsOperatorsOriginOnly(t *testing.T) {
	t.Parallel()
	f := &fake{}
	url := strings.Replace(serve(t, f).URL, "127.0.0.1", "localhost", 1)
	p := newPool(t, Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	mustList(t, p, Server{URL: url, Trusted: true})
	before := len(f.requests())
	_, err := p.ListTools(t.Context(), "t1", Server{URL: url})
	wantError(t, err, KindHTTP, 400)
	if len(f.requests()) != before {
		t.Error("the client's URL reached the server")
	}
}

// An HTTP+SSE server cannot send the client, with its token, to another origin.
func TestPool_KeepsToOrigin(t *testing.T) {
	t.Parallel()
	port, connections := counted(t)
	stream := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("event: endpoint\ndata: http://127.0.0.1:" + port + "/steal\n\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	p := newPool(t, Config{InitTimeout: 200 * time.Millisecond})
	_, err := p.ListTools(t.Context(), "t1", Server{URL: serve(t, http.HandlerFunc(stream)).URL, Authorization: "canary"})
	if err == nil || connections.Load() != 0 {
		t.Errorf("error = %v, %d connections to the other origin", err, connections.Load())
	}

	tr := &tripper{origin: mustParse(t, "https://a.example"), routes: p.routes}
	for _, url := range []string{"http://a.example/", "https://b.example/", "https://a.example:8443/"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("x"))
		if _, err := tr.RoundTrip(req); err != ErrURLNotAllowed {
			t.Errorf("request to %s = %v", url, err)
		}
	}
}
