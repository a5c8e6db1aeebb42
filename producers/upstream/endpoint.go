package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// endpoint is an upstream over HTTP.
type endpoint struct {
	cfg     Config
	dialect dialect
	client  *http.Client
	secrets *strings.Replacer // key and addresses, to be taken out of an upstream's words
	list    listing
}

// The bounds of connections, and of what an upstream may say besides its answer.
const (
	maxHeaderBytes  = 64 << 10
	maxIdleConns    = 64 // kept to one upstream between calls
	idleConnTimeout = 90 * time.Second
	maxRefusalBytes = 64 << 10
	drainBytes      = 4 << 10
	drainTime       = 50 * time.Millisecond
)

func openEndpoint(c Config, d dialect) (served, error) {
	set(&c.MaxEventBytes, d.maxEvent)
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &endpoint{cfg: c, dialect: d, client: newClient(&c), secrets: newReplacer(&c)}, nil
}

// newClient follows no redirect, since the next host would get the key and the prompt, asks for no compression, since
// a small answer could then be a huge one, and takes no proxy from the environment.
func newClient(c *Config) *http.Client {
	dialer := &net.Dialer{Timeout: c.DialTimeout}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    c.DialTimeout,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns:           maxIdleConns,
			MaxIdleConnsPerHost:    maxIdleConns,
			IdleConnTimeout:        idleConnTimeout,
		},
	}
}

// newReplacer knows the key and the forms in which an upstream, or a proxy before it, may repeat its own address.
func newReplacer(c *Config) *strings.Replacer {
	pairs := []string{c.BaseURL, "[upstream]"}
	if c.APIKey != "" {
		pairs = append(pairs, c.APIKey, "[key]")
	}
	if u, err := url.Parse(c.BaseURL); err == nil && strings.ContainsAny(u.Host, ".:") { // not a bare word
		pairs = append(pairs, u.Host, "[upstream]", u.Hostname(), "[upstream]")
	}
	return strings.NewReplacer(pairs...)
}

// newCallerReplacer knows the credentials that a caller has given for MCP servers which the upstream runs: as they came, and
// without the scheme in front (Bearer, Basic), which an upstream may leave out.
func newCallerReplacer(req *Request) *strings.Replacer {
	var pairs []string
	for i := range req.Tools {
		for _, secret := range append(slices.Collect(maps.Values(req.Tools[i].Headers)), req.Tools[i].Authorization) {
			if secret != "" {
				pairs = append(pairs, secret, "[credential]")
			}
			if _, bare, ok := strings.Cut(secret, " "); ok && bare != "" {
				pairs = append(pairs, bare, "[credential]")
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

func (e *endpoint) config() *Config { return &e.cfg }
func (e *endpoint) close()          { e.client.CloseIdleConnections() }

// Stream implements [Upstream].
func (e *endpoint) Stream(ctx context.Context, req *Request, emit func(schema.Event) error) (Outcome, error) {
	body, err := e.body(req)
	if err != nil && req.Resume == nil {
		return Outcome{}, unsayable(err)
	}
	start := time.Now()
	x := &exchange{endpoint: e, caller: ctx, callers: newCallerReplacer(req)}
	var cancel context.CancelFunc
	x.ctx, cancel = x.limit(ctx)
	defer cancel()
	defer x.watch.stop()
	x.path, x.accept = e.dialect.path, "text/event-stream"
	emitted := x.guard(emit)
	defer x.silence.Stop()
	outcome, err := x.do(body, &answer{req: req, items: items{emit: emitted}, name: e.cfg.Name, redact: x.redact})
	x.forsake(err)
	e.cfg.Logger.DebugContext(ctx, "model call ended", "upstream", e.cfg.Name, "response", req.Response, "turn", req.Turn,
		"took", time.Since(start), "bytes", x.bytes, "events", x.events, "ok", err == nil)
	return outcome, err
}

// unsayable wraps what a dialect cannot say.
func unsayable(err error) error {
	if public, ok := errors.AsType[*schema.Error](err); ok {
		return &Error{Public: public}
	}
	return fmt.Errorf("write model call: %w", err)
}

// post sends a body, and again without what the upstream has refused, as often as the dialect relents.
func (x *exchange) post(body any) (*http.Response, error) {
	for {
		resp, err := x.send(body)
		if err != nil || resp.StatusCode != http.StatusBadRequest || x.dialect.relent == nil {
			return resp, err
		}
		refusal := readRefusal(resp.Body)
		if !x.dialect.relent(body, refusal) {
			resp.Body.Close()
			return nil, x.refused(resp, refusal)
		}
		x.release(resp)
	}
}

func (x *exchange) send(body any) (*http.Response, error) {
	data, err := json.Marshal(body, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write model call: %w", err)
	}
	req, err := x.newRequest(x.ctx, http.MethodPost, x.path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", x.accept)
	if x.response != "" {
		req.Header.Set("X-Client-Request-Id", x.response)
	}
	return x.roundTrip(req)
}

// roundTrip sends a request, and puts its answer under the limits of the call.
func (x *exchange) roundTrip(req *http.Request) (*http.Response, error) {
	x.bytes, x.watch.heard = 0, false
	x.watch.start(x.cfg.FirstByte, errFirstByte)
	resp, err := x.client.Do(req)
	x.watch.stop()
	if err != nil {
		return nil, x.lost(err, "could not be reached")
	}
	resp.Body = &guardedBody{ReadCloser: resp.Body, x: x}
	return resp, nil
}

func (e *endpoint) newRequest(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.cfg.BaseURL+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request to upstream %s: %w", e.cfg.Name, withoutURL(err))
	}
	req.Header.Set("User-Agent", e.cfg.UserAgent)
	e.dialect.sign(&e.cfg, req.Header)
	return req, nil
}
