package sseserver

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// connect makes a WebSocket of GET /v1/responses, and serves it until either side ends it. Whatever is refused is refused
// before the upgrade, in the API's shape: behind it there are only events.
func (s *Server) connect(c echo.Context) error {
	r := c.Request()
	if refusal := checkUpgrade(r, c.Response().Header()); refusal != nil {
		return refusal
	}
	tenant, err := s.cfg.Tenants.Tenant(withKey(r))
	if err != nil {
		return err
	}
	ctx, leave, err := s.subscribers.enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	s.sockets.Add(1) // before the upgrade: from then on net/http does not wait for the handler
	defer s.sockets.Done()
	up := &upgrade{Response: c.Response(), limit: s.cfg.WriteTimeout}
	conn, err := websocket.Accept(up, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // checkOrigin has judged it
		Subprotocols:       subprotocols,
	})
	if err != nil {
		return err
	}
	return s.serveSocket(ctx, c, newSocket(s, conn, up.peer, tenant, idOf(c)))
}

// serveSocket serves one WebSocket to its end. One that ends in the middle of a response is an aborted request.
func (s *Server) serveSocket(ctx context.Context, c echo.Context, k *socket) error {
	s.metrics.sockets.open.Inc()
	defer s.metrics.sockets.open.Dec()
	reason := abortReason(k.run(ctx))
	c.Response().Size = k.peer.wrote.Load()
	if cut := k.cut.Load(); cut > 0 {
		s.metrics.aborted.WithLabelValues(reason).Add(float64(cut))
		panic(http.ErrAbortHandler)
	}
	return nil
}

// checkUpgrade refuses what is no WebSocket handshake (RFC 6455, 4.2.1). A plain GET learns what this URL is for.
func checkUpgrade(r *http.Request, answer http.Header) *schema.Error {
	e := &schema.Error{Status: http.StatusUpgradeRequired, Type: schema.TypeInvalidRequest, Code: "upgrade_required"}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
	switch {
	case !r.ProtoAtLeast(1, 1) || !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		answer.Set("Connection", "Upgrade")
		answer.Set("Upgrade", "websocket")
		e.Message = "A GET of this URL opens a WebSocket. Send POST to create a response, or name one to read it."
		return e
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		answer.Set("Sec-WebSocket-Version", "13")
		e.Message = "Only version 13 of the WebSocket protocol is served."
		return e
	case err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) > 1:
		return schema.Refuse(schema.CodeInvalidValue, "Sec-WebSocket-Key", "Sec-WebSocket-Key must be given once: 16 bytes in base64.")
	}
	return nil
}

// hasToken reports whether a header lists a word, in whatever case.
func hasToken(h http.Header, name, word string) bool {
	return slices.ContainsFunc(tokens(h, name), func(t string) bool { return strings.EqualFold(t, word) })
}

func tokens(h http.Header, name string) (all []string) {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(t))
		}
	}
	return all
}

// subprotocols are the names that an answer may repeat. A browser that offered any must be answered with one of them; it
// may also have to send its key as one, for it can set no header. So nothing is repeated that is not listed here.
var subprotocols = []string{"responses", "realtime"}

// keyProtocol is how OpenAI's browser clients send a key as a subprotocol (openai-node src/realtime/websocket.ts).
const keyProtocol = "openai-insecure-api-key."

// withKey returns r with a key that came as a subprotocol where all other requests have theirs. A header wins.
func withKey(r *http.Request) *http.Request {
	if r.Header.Get("Authorization") != "" {
		return r
	}
	for _, offered := range tokens(r.Header, "Sec-WebSocket-Protocol") {
		if key, ok := strings.CutPrefix(offered, keyProtocol); ok {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+key)
			break
		}
	}
	return r
}

// socketPath is where WebSockets are opened.
const socketPath = "/v1/responses"

// awaitSockets waits for the handlers of WebSockets. It is called when no request can become one any more. Those that are
// late are ended by the end of their base context.
func (s *Server) awaitSockets(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.sockets.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain WebSockets: %w", ctx.Err())
	}
}
