package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/mcp/demoserver"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/sseserver"
)

// closeTimeout bounds how long the log may take to be written out at the end. With limits.drain before it, a stop takes less than
// the 30 s that Kubernetes gives by default.
const closeTimeout = 10 * time.Second

// node is everything that one process runs, in the order in which it is opened. What a role does not need is nil.
type node struct {
	name     string
	roles    []string
	log      *slog.Logger
	listener net.Listener
	registry *prometheus.Registry
	traces   traces
	broker   *broker.Broker
	router   *upstream.Router
	pool     *mcp.Pool
	producer *producers.Node
	server   *sseserver.Server
}

// openNode opens every part. After an error nothing is left open.
func openNode(ctx context.Context, cfg *Config, logs io.Writer) (*node, error) {
	n := &node{
		name: cfg.Node, roles: cfg.Roles,
		log: newLogger(cfg.Log, cfg.Node, logs), registry: newRegistry(cfg.Node),
	}
	if err := n.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *node) open(ctx context.Context, cfg *Config) (err error) {
	if cfg.HasRole(roleGateway) { // first: a port that is taken is the likeliest mistake
		if n.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return fmt.Errorf("open API: %w", err)
		}
	}
	if n.traces, err = newTraces(ctx, n.name); err != nil {
		return err
	}
	if err = n.openLog(ctx, cfg); err != nil {
		return err
	}
	if n.router, err = upstream.Open(cfg.upstreams(n.log)); err != nil {
		return fmt.Errorf("open upstreams: %w", err)
	}
	if err = n.router.Register(n.registry); err != nil {
		return err
	}
	servers := cfg.servers(n.demoURL(cfg))
	if cfg.HasRole(roleProducer) {
		if err = n.openProducer(cfg, servers); err != nil {
			return err
		}
	}
	if cfg.HasRole(roleGateway) {
		n.openServer(cfg, servers)
	}
	return nil
}

func (n *node) openLog(ctx context.Context, cfg *Config) error {
	settings, err := cfg.broker()
	if err != nil {
		return err
	}
	settings.Logger, settings.Metrics = n.log, n.registry
	if n.broker, err = broker.Open(ctx, settings); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	return nil
}

func (n *node) openProducer(cfg *Config, servers map[string]mcp.Server) (err error) {
	n.pool = mcp.NewPool(cfg.pool(n.log))
	n.producer, err = producers.New(producers.Config{
		Name: n.name, Queue: n.broker, Feeds: n.broker, Control: n.broker, Sweeper: n.broker, Library: n.broker,
		Models: n.router, Tools: n.pool,
		Servers: servers, Connectors: cfg.connectors(), Idempotent: cfg.idempotent,
		Slots: cfg.Limits.Runs, MaxTurns: cfg.Limits.Turns, MaxRun: cfg.Limits.RunTime, DrainCalls: cfg.drainCalls(),
		ProducerIdle: cfg.Limits.ProducerIdle,
		Logger:       n.log, Tracer: n.traces.tracer, Metrics: n.registry,
	})
	if err != nil {
		return fmt.Errorf("open producer: %w", err)
	}
	return nil
}

func (n *node) openServer(cfg *Config, servers map[string]mcp.Server) {
	door := door{n.router, servers, cfg.connectors(), cfg.MCP.AllowPrivate}
	mount := map[string]http.Handler{}
	if cfg.DemoOn() {
		mount[demoPath] = demoserver.Handler()
	}
	n.server = sseserver.New(sseserver.Config{
		Broker: n.broker, Library: n.broker, Control: n.broker, Conversations: n.broker,
		Follow: sseserver.Following(n.broker.Follow), Expect: n.broker.Expect, RetryAt: n.broker.RetryAt,
		Ingest: n.broker, Admit: door.admit, Models: door.models, Errands: errands{n.router, n.broker},
		Mount: mount, LoopbackHosts: !cfg.InsecureListen && len(cfg.Keys) == 0, Keys: cfg.keys(), Origins: cfg.CORS.Origins,
		Logger: n.log, Registry: n.registry, Tracer: n.traces.tracer, Limits: cfg.face(),
	})
}

// run works until ctx ends or a part fails, and returns when every part has ended.
func (n *node) run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	if n.server != nil {
		parts.Go(func() error { return n.server.Serve(ctx, n.listener) })
		parts.Go(func() error { return n.broker.WatchReplicas(ctx) })
	}
	if n.producer != nil {
		parts.Go(func() error { return n.producer.Run(ctx) })
	}
	n.log.Info("node started", "version", version(), "roles", n.roles)
	parts.Go(func() error {
		<-ctx.Done()
		n.log.Info("node stopping")
		return nil
	})
	if err := parts.Wait(); err != nil {
		return fmt.Errorf("run node: %w", err)
	}
	return nil
}

// close closes what is open, the last opened first, and returns when the log is on the disk.
func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if n.pool != nil {
		errs = append(errs, n.pool.Close())
	}
	if n.router != nil {
		n.router.Close()
	}
	if n.broker != nil {
		errs = append(errs, n.broker.Close(ctx))
	}
	if n.traces.stop != nil {
		errs = append(errs, n.traces.stop(ctx))
	}
	if n.listener != nil {
		if err := n.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close node: %w", err)
	}
	return nil
}

// url is the node's own address. A node that listens everywhere is reached by loopback.
func (n *node) url() string {
	addr, ok := n.listener.Addr().(*net.TCPAddr)
	if !ok {
		return "http://" + n.listener.Addr().String()
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

func (n *node) demoURL(cfg *Config) string {
	if !cfg.DemoOn() {
		return ""
	}
	return n.url() + demoPath
}
