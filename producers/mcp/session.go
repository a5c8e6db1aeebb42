package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// era is how a server is spoken to. Finding out costs requests, so an entry remembers it.
type era string

const (
	unknown era = ""
	modern  era = "modern" // streamable HTTP, 2026-07-28 and later: no session
	legacy  era = "legacy" // streamable HTTP up to 2025-11-25: initialize, then a session
	sse     era = "sse"    // HTTP+SSE of 2024-11-05
	stdio   era = "stdio"
)

// session is one initialized client. It is safe for concurrent calls.
type session struct {
	client *client.Client
	wire   *wire
	lose   context.CancelCauseFunc
	era    era
	proc   *process // stdio only
	calls  calls
}

// silent keeps mcp-go from logging: its texts hold addresses and bodies.
var silent = slog.New(slog.DiscardHandler)

func (s *session) isAlive() bool { return s.wire.lost.Err() == nil }

// close tells the server, if there is something to tell, and waits for the process of a stdio server to end.
func (s *session) close() {
	_ = s.client.Close() // nobody is left to whom it would matter
	if s.proc != nil {
		s.proc.stop()
	}
	s.lose(ErrClosed)
}

// dialer opens sessions to one server.
type dialer struct {
	cfg    Config
	server Server
	routes *routes
	life   context.Context // ends all sessions
	spawn  func(func())    // runs a goroutine that the pool waits for
}

// dial opens a session in the era that is known, or finds it out. ctx bounds the opening, not the session.
func (d *dialer) dial(ctx context.Context, known era) (*session, error) {
	switch {
	case len(d.server.Command) > 0:
		return d.dialStdio(ctx)
	case known == sse:
		return d.dialSSE(ctx)
	}
	s, err := d.dialStreamable(ctx, known)
	if !errors.Is(err, transport.ErrLegacySSEServer) || !mayBeSSE(exchangeOf(ctx).seen().status) {
		return s, err
	}
	refusal := exchangeOf(ctx).seen()
	s, err = d.dialSSE(ctx)
	if err != nil && exchangeOf(ctx).seen().status != 0 {
		// It is neither: then the answer to the first attempt tells the user more.
		exchangeOf(ctx).restore(refusal)
	}
	return s, err
}

// mayBeSSE knows the statuses by which, says the specification of 2025-11-25, an HTTP+SSE server gives itself away.
func mayBeSSE(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusMethodNotAllowed
}

func (d *dialer) tripper(listens bool) (*tripper, error) {
	origin, err := url.Parse(d.server.URL)
	if err != nil {
		return nil, ErrURLNotAllowed
	}
	return &tripper{
		server: d.server, header: d.server.header(), origin: origin, routes: d.routes,
		maxMessage: d.cfg.MaxMessage, maxAnswer: d.cfg.MaxAnswer, listens: listens,
	}, nil
}

// newSession wraps a transport. The session is lost, at the latest, when the dialer's life ends.
func (d *dialer) newSession(inner transport.Interface, overHTTP bool) *session {
	lost, lose := context.WithCancelCause(d.life)
	w := &wire{Interface: inner, limits: d.cfg, lost: lost, spawn: d.spawn, http: overHTTP}
	return &session{wire: w, lose: lose}
}

func (d *dialer) dialStreamable(ctx context.Context, known era) (*session, error) {
	t, err := d.tripper(false)
	if err != nil {
		return nil, err
	}
	inner, err := transport.NewStreamableHTTP(d.server.URL,
		transport.WithHTTPBasicClient(t.client()), transport.WithHTTPLogger(silent))
	if err != nil {
		return nil, fmt.Errorf("prepare streamable HTTP: %w", err)
	}
	s := d.newSession(inner, true)
	options := []client.ClientOption{client.WithDiscoverTimeout(d.cfg.ProbeTimeout)}
	if known == legacy {
		options = append(options, client.WithProtocolVersion(mcpgo.LATEST_LEGACY_PROTOCOL_VERSION))
	}
	s.client = client.NewClient(httpWire{s.wire}, options...)
	if err := d.open(ctx, s.wire.lost, s); err != nil {
		return nil, err
	}
	if s.era = legacy; s.wire.isModern() {
		s.era = modern
	}
	return s, nil
}

func (d *dialer) dialSSE(ctx context.Context) (*session, error) {
	t, err := d.tripper(true)
	if err != nil {
		return nil, err
	}
	inner, err := transport.NewSSE(d.server.URL, transport.WithHTTPClient(t.client()), transport.WithSSELogger(silent),
		transport.WithEndpointTimeout(d.cfg.InitTimeout), transport.WithResponseTimeout(d.cfg.InitTimeout+d.cfg.CallTotal))
	if err != nil {
		return nil, fmt.Errorf("prepare HTTP+SSE: %w", err)
	}
	s := d.newSession(inner, true)
	s.era = sse
	inner.SetConnectionLostHandler(func(err error) { s.lose(err) })
	s.client = client.NewClient(httpWire{s.wire}, client.WithProtocolVersion(mcpgo.LATEST_LEGACY_PROTOCOL_VERSION))

	// The stream lives as long as the session, but what happens while it is opened belongs to the exchange of ctx.
	x := exchangeOf(ctx)
	x.reset()
	return s, d.open(ctx, context.WithValue(s.wire.lost, exchangeKey{}, x), s)
}

func (d *dialer) dialStdio(ctx context.Context) (*session, error) {
	proc, err := startProcess(d.server, d.cfg, d.spawn)
	if err != nil {
		return nil, err
	}
	s := d.newSession(transport.NewIO(proc.stdout, proc.stdin, nil), false)
	s.era, s.proc = stdio, proc
	proc.onFailure(s.lose)
	s.client = client.NewClient(s.wire, client.WithDiscoverTimeout(d.cfg.ProbeTimeout))
	return s, d.open(ctx, s.wire.lost, s)
}

// open starts and initializes a session's client. life is the context of what runs as long as the session.
func (d *dialer) open(ctx, life context.Context, s *session) error {
	stop := context.AfterFunc(ctx, func() { s.lose(context.Cause(ctx)) })
	defer stop()
	s.client.OnNotification(s.calls.progress)
	err := s.client.Start(life)
	if err == nil {
		var req mcpgo.InitializeRequest
		req.Params.ClientInfo = mcpgo.Implementation{Name: d.cfg.Name, Version: d.cfg.Version}
		_, err = s.client.Initialize(ctx, req)
	}
	if err != nil {
		d.spawn(s.close) // may take its time, which the caller has not
		return fmt.Errorf("initialize: %w", err)
	}
	return nil
}

// call makes one tools/call. The server may show that it is at work: beat is called each time.
func (s *session) call(ctx context.Context, x *exchange, name string, args jsontext.Value, beat func()) (jsontext.Value, error) {
	token, end := s.calls.begin(beat)
	defer end()
	var req mcpgo.CallToolRequest
	req.Params.Name = name
	req.Params.Arguments = args
	req.Params.Meta = &mcpgo.Meta{ProgressToken: token}
	if _, err := s.client.CallTool(ctx, req); err != nil {
		return nil, err
	}
	return x.seen().result, nil
}
