package mcp

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Server is one MCP server as a run names it. Exactly one of URL and Command is set.
type Server struct {
	// Label is the request's server_label. It is used in logs only.
	Label string
	// URL is the endpoint of a streamable HTTP server, or of an older HTTP+SSE one; which of them is found out.
	URL string
	// Authorization is a token, sent as "Authorization: Bearer TOKEN"; with a scheme of its own (it contains a space)
	// it is sent as it is.
	Authorization string
	// Headers are sent with every request. Those that the protocol itself needs (Content-Type, Mcp-Session-Id, …) are
	// ignored, and Authorization above wins over an Authorization here.
	Headers map[string]string
	// Command starts a stdio server. It must only ever come from the operator's config.
	Command []string
	// Env is added to the environment of Command, which otherwise has PATH, HOME, LANG and TMPDIR only.
	Env map[string]string
	// Trusted says that URL comes from the operator's config: its exact origin is exempt from the dial guard.
	Trusted bool
	// Alone says that the origin has more than this server: a URL that a client names must be this one to be trusted.
	Alone bool
}

var (
	errNoTarget   = errors.New("server has neither a URL nor a command")
	errTwoTargets = errors.New("server has both a URL and a command")
)

func (s Server) validate(allow []netip.Prefix) error {
	switch {
	case s.URL == "" && len(s.Command) == 0:
		return errNoTarget
	case s.URL != "" && len(s.Command) > 0:
		return errTwoTargets
	case s.URL == "":
		return nil
	case s.Trusted:
		return checkTrusted(s.URL)
	default:
		return CheckURL(s.URL, allow)
	}
}

// Trusts reports whether a URL has the exact origin of one of the operator's servers, or is the very URL of one that is Alone.
func Trusts(servers map[string]Server, raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return false
	}
	for _, s := range servers {
		if own, err := url.Parse(s.URL); err == nil && s.URL != "" && own.Scheme == u.Scheme && own.Host == u.Host &&
			(!s.Alone || own.Path == u.Path) {
			return true
		}
	}
	return false
}

// key is what sessions and tool lists are shared by, and no further.
type key struct {
	tenant, target string
	credentials    [sha256.Size]byte
}

func (s Server) key(tenant string) key {
	target := "url " + s.URL
	if s.URL == "" {
		target = "command " + strings.Join(s.Command, "\x00")
	}
	k := key{tenant: tenant, target: target}
	h := sha256.New()
	writeField(h, s.Authorization)
	writeMap(h, s.Headers)
	writeMap(h, s.Env)
	if s.Trusted {
		writeField(h, "trusted")
	}
	h.Sum(k.credentials[:0])
	return k
}

func writeMap(h hash.Hash, m map[string]string) {
	writeField(h, string(binary.AppendUvarint(nil, uint64(len(m)))))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		writeField(h, name)
		writeField(h, m[name])
	}
}

// writeField prefixes the length: two fields must not hash like one that contains both.
func writeField(h hash.Hash, s string) {
	h.Write(binary.AppendUvarint(nil, uint64(len(s))))
	h.Write([]byte(s))
}

// reserved are the headers that belong to HTTP and to the protocol. A caller who could set them could smuggle requests
// or take over another caller's session.
var reserved = []string{
	"Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host",
	"Keep-Alive", "Last-Event-Id", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func isReserved(name string) bool {
	return slices.Contains(reserved, name) || strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "Proxy-")
}

// header is what the server is sent on every request.
func (s Server) header() http.Header {
	h := make(http.Header, len(s.Headers)+1)
	for name, value := range s.Headers {
		if name = http.CanonicalHeaderKey(name); !isReserved(name) {
			h.Set(name, value)
		}
	}
	switch {
	case s.Authorization == "":
	case strings.Contains(s.Authorization, " "):
		h.Set("Authorization", s.Authorization)
	default:
		h.Set("Authorization", "Bearer "+s.Authorization)
	}
	return h
}

// minSecret is the length from which a value counts as a secret: shorter ones occur in ordinary text.
const minSecret = 6

// redact removes the server's own credentials from a text that it sent, should it echo them.
func (s Server) redact(text string) string {
	pairs := make([]string, 0, 2*(len(s.Headers)+len(s.Env)+2))
	add := func(secret string) {
		if len(secret) >= minSecret {
			pairs = append(pairs, secret, "[redacted]")
		}
	}
	_, token, _ := strings.Cut(s.Authorization, " ")
	add(s.Authorization)
	add(token)
	for _, v := range s.Headers {
		add(v)
	}
	for _, v := range s.Env {
		add(v)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// host names the server in a log. The whole URL may hold a token in its query.
func (s Server) host() string {
	if s.URL == "" {
		return "stdio"
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "invalid"
	}
	return u.Host
}
