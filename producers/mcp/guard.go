package mcp

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrURLNotAllowed is the one answer to every refused URL and address: a text that told them apart would be a port
// scanner.
var ErrURLNotAllowed = errors.New("MCP server URL is not allowed")

// maxURL bounds a server URL, in bytes.
const maxURL = 2048

// publicPorts are the ports on which a client-named URL may reach a public address.
var publicPorts = []uint16{443, 8443}

// CheckURL refuses, when a request is submitted, a URL that no dial could allow: it judges scheme, user info, port,
// the shape of the host and literal addresses. allow are the networks of [Config.AllowPrivate]: a literal address in
// one of them may use plain http and any port, and so may a name as long as there are such networks, since only the
// dial knows its address. A nil error is no permission; the guard that counts is the one at dial.
//
// The error is always [ErrURLNotAllowed].
func CheckURL(raw string, allow []netip.Prefix) error {
	u, err := parseURL(raw)
	if err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return checkLiteral(u, addr, allow)
	}
	if !isName(u.Hostname()) || (len(allow) == 0 && isLocalName(u.Hostname())) {
		return ErrURLNotAllowed
	}
	if len(allow) == 0 && !isPublicShape(u) {
		return ErrURLNotAllowed
	}
	return nil
}

// checkTrusted asks of the operator's own URL only what HTTP needs.
func checkTrusted(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return ErrURLNotAllowed
	}
	return nil
}

func parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL || strings.ContainsFunc(raw, isSuspect) {
		return nil, ErrURLNotAllowed
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Contains(raw, "#") {
		return nil, ErrURLNotAllowed
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, ErrURLNotAllowed
	}
	if _, ok := port(u); !ok {
		return nil, ErrURLNotAllowed
	}
	return u, nil
}

// isSuspect finds the characters on which URL parsers disagree. Names outside of ASCII must come as punycode: IDNA
// turns digits in circles into an address.
func isSuspect(r rune) bool {
	return r <= ' ' || r >= 0x7f || r == '\\'
}

func port(u *url.URL) (uint16, bool) {
	switch text := u.Port(); {
	case text == "" && strings.HasSuffix(u.Host, ":"):
		return 0, false
	case text == "" && u.Scheme == "http":
		return 80, true
	case text == "":
		return 443, true
	default:
		n, err := strconv.ParseUint(text, 10, 16)
		return uint16(n), err == nil && text[0] != '0' // a port has one way to be written
	}
}

func checkLiteral(u *url.URL, addr netip.Addr, allow []netip.Prefix) error {
	if addr.Zone() != "" {
		return ErrURLNotAllowed
	}
	if contains(allow, addr) {
		return nil
	}
	if !isPublicShape(u) || ssrf.New().SafeAddr(addr) != nil {
		return ErrURLNotAllowed
	}
	return nil
}

func isPublicShape(u *url.URL) bool {
	n, ok := port(u)
	return ok && u.Scheme == "https" && slices.Contains(publicPorts, n)
}

// isName tells a DNS name from the many ways to write an IPv4 address that resolvers read and parsers do not (127.1,
// 2130706433, 0x7f000001, 0177.0.0.1): no name ends in a number.
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.ContainsFunc(label, isNotNameRune) {
			return false
		}
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err != nil && strings.ContainsFunc(last, isLetter)
}

func isNotNameRune(r rune) bool {
	return !isLetter(r) && (r < '0' || r > '9') && r != '-' && r != '_'
}

func isLetter(r rune) bool {
	return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
}

// isLocalName knows the names that are private by definition (RFC 6761, RFC 6762, and ICANN's .internal).
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last == "localhost" || last == "local" || last == "internal"
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// control is the guard that counts: a [net.Dialer]'s Control, called with each resolved address before a packet is
// sent to it.
type control func(network, address string, c syscall.RawConn) error

// guard makes the control for TLS connections, which may also go to public addresses, or for plain ones, which may not.
func guard(allow []netip.Prefix, tls bool) control {
	public := ssrf.New(ssrf.WithPorts(publicPorts...))
	return func(network, address string, c syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err == nil && contains(allow, to.Addr()) {
			return nil
		}
		if tls && public.Safe(network, address, c) == nil {
			return nil
		}
		return ErrURLNotAllowed
	}
}
