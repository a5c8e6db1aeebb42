package mcp

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"
)

// routes are the ways out of this process, shared by all sessions so that connections are re-used. There are three,
// since a kept connection is not dialled again: one that the operator's word opened must not serve a client-named URL,
// and one that was judged as TLS must not carry plain text.
type routes struct {
	trusted, tls, plain *http.Transport
}

func newRoutes(c Config) *routes {
	return &routes{
		trusted: newTransport(c, nil),
		tls:     newTransport(c, guard(c.AllowPrivate, true)),
		plain:   newTransport(c, guard(c.AllowPrivate, false)),
	}
}

// maxHeader bounds the header of an HTTP answer, in bytes; idleConns the kept connections of a route and of one host.
const (
	maxHeader        = 64 << 10
	idleConns        = 256
	idleConnsPerHost = 32
)

func newTransport(c Config, judge control) *http.Transport {
	dialer := &net.Dialer{Timeout: c.DialTimeout, Control: judge}
	return &http.Transport{
		Proxy:                  nil, // a proxy would do the dialling, and the guard would judge the proxy's address
		DialContext:            dialer.DialContext,
		TLSClientConfig:        c.TLS.Clone(),
		TLSHandshakeTimeout:    c.DialTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // 10 KB of gzip can be 10 GB of JSON
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		IdleConnTimeout:        90 * time.Second,
	}
}

func (r *routes) close() {
	for _, t := range []*http.Transport{r.trusted, r.tls, r.plain} {
		t.CloseIdleConnections()
	}
}

func (r *routes) to(s Server, u *url.URL) *http.Transport {
	switch {
	case s.Trusted:
		return r.trusted
	case u.Scheme == "https":
		return r.tls
	default:
		return r.plain
	}
}

// tripper is the [http.RoundTripper] of one session: it keeps to the server's origin, adds its credentials (to the
// DELETE at the end too, for which mcp-go forgets them), and bounds every body.
type tripper struct {
	server     Server
	header     http.Header
	origin     *url.URL
	routes     *routes
	maxMessage int
	maxAnswer  int
	// listens is true for HTTP+SSE, whose GET stream carries the answers to all requests.
	listens bool
}

func (t *tripper) client() *http.Client {
	return &http.Client{
		Transport: t,
		// A followed redirect would send the body, and headers like X-Api-Key, to whomever the server names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *tripper) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	if !x.claim() {
		x = &exchange{}
	}
	// HTTP+SSE servers name the address to post to: the same host by plain http would get the token in clear.
	if req.URL.Scheme != t.origin.Scheme || req.URL.Host != t.origin.Host {
		x.fail(ErrURLNotAllowed)
		closeBody(req)
		return nil, ErrURLNotAllowed
	}
	resp, err := t.routes.to(t.server, req.URL).RoundTrip(t.authorized(req))
	if err != nil {
		if errors.Is(err, ErrURLNotAllowed) {
			err = ErrURLNotAllowed
		}
		x.fail(err)
		return nil, err
	}
	t.bound(req, resp, x)
	return resp, nil
}

func (t *tripper) authorized(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	maps.Copy(req.Header, t.header)
	return req
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing was read from it
	}
}

func (t *tripper) bound(req *http.Request, resp *http.Response, x *exchange) {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode/100 != 2:
		refuse(resp, x)
	case media == "text/event-stream" && t.listens && req.Method == http.MethodGet:
		resp.Body = newEvents(resp.Body, x, t.maxMessage, endless)
	case media == "text/event-stream":
		resp.Body = newEvents(resp.Body, x, t.maxMessage, t.maxAnswer)
	default:
		resp.Body = &capped{ReadCloser: resp.Body, x: x, left: t.maxMessage}
	}
}

// maxRefusal bounds what is read of the body of an HTTP error, in bytes.
const maxRefusal = 64 << 10

// refuse takes note of an HTTP error. mcp-go takes any JSON object for a JSON-RPC answer there, and drops the body of a
// 404, so it is shown the body only if that is a JSON-RPC error.
func refuse(resp *http.Response, x *exchange) {
	x.refused(resp.StatusCode)
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a broken body is no JSON-RPC error
	_ = resp.Body.Close()
	if rpc := parseRPCError(body); rpc != nil {
		x.rejected(rpc)
	} else {
		body = nil
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// capped ends a body with errTooLarge after so many bytes.
type capped struct {
	io.ReadCloser
	x    *exchange
	left int
}

// Read implements [io.Reader].
func (c *capped) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left -= n; c.left < 0 {
		n, err = 0, errTooLarge
	}
	if err != nil && err != io.EOF {
		c.x.fail(err)
	}
	return n, err
}
