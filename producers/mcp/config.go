package mcp

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"
)

// Config says how far a [Pool] trusts, waits and stores. The zero value is ready for use: a zero field takes the
// default that stands beside it.
type Config struct {
	// AllowPrivate opens networks to URLs that clients name; plain http and any port are allowed there too.
	AllowPrivate []netip.Prefix
	// TLS is used for https; nil means the system's roots.
	TLS *tls.Config

	// Name and Version tell servers who calls. Defaults "midstream" and "dev".
	Name, Version string

	DialTimeout  time.Duration // one TCP connection, and one TLS handshake; 5 s
	ProbeTimeout time.Duration // server/discover, before the server is taken as a legacy one; 1.5 s
	InitTimeout  time.Duration // a session, with all its fallbacks; 10 s
	ListTimeout  time.Duration // all pages of tools/list; 10 s
	CallTimeout  time.Duration // one tools/call, from its start or from its last progress notification; 60 s
	CallTotal    time.Duration // one tools/call in all, whatever progress it makes; 10 min, and CallTimeout at least

	IdleTTL     time.Duration // a session that nobody uses is ended after it; 5 min
	MaxSessions int           // sessions at once; the least recently used goes first; 256
	ListTTL     time.Duration // how long a tool list is served from memory if the server does not say; 30 s
	MaxListTTL  time.Duration // how long at most, whatever the server says; 5 min

	MaxMessage     int // bytes of one JSON-RPC message; 4 MiB
	MaxAnswer      int // bytes of one streamed answer, notifications included; 16 MiB
	MaxResult      int // bytes of one tool result, without what MaxBlob leaves out; 1 MiB
	MaxBlob        int // bytes of base64 in a block of a tool result; what is longer is left out of it; 4 KiB
	MaxTools       int // tools of one server; the rest is left out; 128
	MaxPages       int // pages of one tools/list; 20
	MaxDescription int // bytes of a tool's description, which is cut there; 8 KiB
	MaxSchema      int // bytes of a tool's schema; a tool with a larger one is left out; 64 KiB
	MaxSchemaDepth int // levels of a tool's schema, likewise; 32

	// Logger receives what happens to sessions and tools, without content; nil discards it.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	set(&c.Name, "midstream")
	set(&c.Version, "dev")
	set(&c.DialTimeout, 5*time.Second)
	set(&c.ProbeTimeout, 1500*time.Millisecond)
	set(&c.InitTimeout, 10*time.Second)
	set(&c.ListTimeout, 10*time.Second)
	set(&c.CallTimeout, 60*time.Second)
	set(&c.CallTotal, 10*time.Minute)
	c.CallTotal = max(c.CallTotal, c.CallTimeout)
	set(&c.IdleTTL, 5*time.Minute)
	set(&c.MaxSessions, 256)
	set(&c.ListTTL, 30*time.Second)
	set(&c.MaxListTTL, 5*time.Minute)
	set(&c.MaxMessage, 4<<20)
	set(&c.MaxAnswer, 16<<20)
	set(&c.MaxResult, 1<<20)
	set(&c.MaxBlob, 4<<10)
	set(&c.MaxTools, 128)
	set(&c.MaxPages, 20)
	set(&c.MaxDescription, 8<<10)
	set(&c.MaxSchema, 64<<10)
	set(&c.MaxSchemaDepth, 32)
	set(&c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
