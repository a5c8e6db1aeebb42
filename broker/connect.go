package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/schema"
)

// reconnectWait is short: an embedded server is back at once, and a cluster's clients are spread by jitter.
const reconnectWait = 100 * time.Millisecond

// inbox is the prefix of a node's inboxes. Producers hear those that clients have by default.
const inbox = "_INBOX_midstream"

// conns holds one connection for each kind of traffic. A batched read holds up everything else on its connection while the
// server looks for messages, and a reader that is slow to take what was republished must not hold up acknowledgements.
type conns struct {
	publish, live, replay, queue *nats.Conn

	outages *outages
}

func (c *conns) all() []*nats.Conn { return []*nats.Conn{c.publish, c.live, c.replay, c.queue} }

// reach connects to NATS, and waits for servers that are not there yet. Who lets nobody in, or has a wrong certificate, is not waited
// for.
func (b *Broker) reach(ctx context.Context) (c *conns, err error) {
	until := time.Now().Add(reachTimeout)
	err = whileEarly(ctx, func(err error) { b.log.Warn("nats cannot be reached, waiting", "error", err) }, func() (early bool, err error) {
		c, err = dial(b.cfg, b.server)
		return !b.cfg.embedded() && absent(err) && time.Now().Before(until), err
	})
	return c, err
}

// absent reports whether nobody answered, or somebody who is just about to start or to end.
func absent(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, nats.ErrNoServers) || errors.Is(err, io.EOF) || errors.Is(err, nats.ErrTimeout)
}

// dial connects to a NATS that takes our largest message.
func dial(cfg Config, server *embed.Server) (*conns, error) {
	c, err := connect(cfg, server)
	if err != nil {
		return nil, err
	}
	if n := c.publish.MaxPayload(); n < schema.MaxPayload {
		c.close()
		return nil, fmt.Errorf("NATS takes messages of %d bytes: set max_payload to %d on every server", n, schema.MaxPayload)
	}
	return c, nil
}

func connect(cfg Config, server *embed.Server) (*conns, error) {
	c := conns{outages: newOutages()}
	for name, slot := range map[string]**nats.Conn{
		"publish": &c.publish, "live": &c.live, "replay": &c.replay, "queue": &c.queue,
	} {
		nc, err := nats.Connect(cfg.URL, cfg.options(name, server, c.outages.strike)...)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("connect to NATS %s: %w", cfg.URL, err)
		}
		*slot = nc
	}
	return &c, nil
}

func (c Config) options(name string, server *embed.Server, lost func()) []nats.Option {
	log := c.Logger.With("connection", name)
	opts := []nats.Option{
		nats.Name("midstream " + name), nats.CustomInboxPrefix(inbox), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait),
		// A server that refuses us may not know its users yet, or not the new ones: a node must outlast that.
		nats.IgnoreAuthErrorAbort(),
		// What cannot be sent now fails now and is tried again by its owner, rather than sent late by the client.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			lost()
			if err != nil {
				log.Warn("nats connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("nats connection restored") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("nats connection", "error", err) }),
	}
	switch {
	case server != nil:
		opts = append(opts, nats.InProcessServer(server))
	case c.Dial != nil:
		opts = append(opts, nats.InProcessServer(dialer(c.Dial)))
	}
	if c.User != "" {
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.TLS != nil && server == nil {
		opts = append(opts, nats.Secure(c.TLS))
	}
	return opts
}

// dialer is what Config.Dial is for the client library, which looks up no host name for it.
type dialer func() (net.Conn, error)

func (d dialer) InProcessConn() (net.Conn, error) { return d() }

// close ends every connection and waits for their callbacks.
func (c *conns) close() {
	for _, nc := range c.all() {
		if nc != nil && !nc.IsClosed() {
			closed := nc.StatusChanged(nats.CLOSED)
			nc.Close()
			<-closed
		}
	}
}

// check asks for an answer on every connection at once.
func (c *conns) check(ctx context.Context) error {
	var checks errgroup.Group
	for _, nc := range c.all() {
		checks.Go(func() error {
			if err := flush(ctx, nc); err != nil {
				return fmt.Errorf("%s: %w", nc.Opts.Name, err)
			}
			return nil
		})
	}
	return checks.Wait()
}

// flush returns when the server has seen all that was sent on nc.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

func mustJetStream(nc *nats.Conn) jetstream.JetStream {
	js, err := jetstream.New(nc)
	if err != nil {
		panic("broker: internal error: " + err.Error()) // only a nil option fails
	}
	return js
}
