package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout bounds how long a start may take: a store of some tens of gigabytes after a kill.
const startTimeout = 5 * time.Minute

// maxStore keeps the server from choosing a bound of its own: three quarters of what is free when it starts, for as long as it
// runs. One that was started on a full disk would take nothing even when there is room again. What bounds it is the disk.
const maxStore = 1 << 60

// ErrInUse says that another process has the data directory open.
var ErrInUse = errors.New("the data directory is in use by another process")

// Config says how a server is run.
type Config struct {
	// Dir holds everything that the server keeps. It must not be shared with another process.
	Dir string
	// Sync is how often the server calls fsync; 0 means before every acknowledgement.
	Sync time.Duration
	// Listen is the host:port on which other programs reach the server. Empty: there is no port at all.
	Listen string
	// User and Password are asked of every connection. With Listen they must be there.
	User, Password string
	// Producer is the name of another user, who may publish to ProducerSubject, hear the answers to that, and do nothing else; "" for none.
	Producer, ProducerPassword string
	// ProducerSubject is the only subject of Producer's.
	ProducerSubject string
	// MaxPayload is the largest message in bytes; 0 leaves the server's own 1 MiB.
	MaxPayload int32
	// Logger takes the server's own log; nil discards it.
	Logger *slog.Logger
}

// Server is a running NATS server. Its methods may be called from any goroutine.
type Server struct {
	nats   atomic.Pointer[server.Server] // another one after Revive
	cfg    Config
	opts   *server.Options
	unlock func() error

	mu      sync.Mutex // one of Revive and Stop at a time
	stopped bool
}

// Start runs a server and returns once it takes connections and JetStream has read its stores.
func Start(cfg Config) (*Server, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	unlock, err := lock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, opts: opts, unlock: unlock}
	nats, err := run(cfg, opts)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	s.nats.Store(nats)
	return s, nil
}

func run(cfg Config, opts *server.Options) (*server.Server, error) {
	nats, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make embedded NATS server: %w", err)
	}
	nats.SetLoggerV2(logger{cfg.Logger}, false, false, false)
	nats.Start()
	if !nats.ReadyForConnections(startTimeout) || !nats.JetStreamEnabled() {
		nats.Shutdown()
		nats.WaitForShutdown()
		return nil, fmt.Errorf("start embedded NATS server in %s: JetStream is not ready; the server's log says why", cfg.Dir)
	}
	return nats, nil
}

func (c Config) options() (*server.Options, error) {
	if c.Dir == "" {
		return nil, errors.New("embedded NATS server: a data directory is needed")
	}
	opts := &server.Options{
		ServerName: "midstream", JetStream: true, StoreDir: c.Dir,
		JetStreamMaxStore: maxStore,
		SyncInterval:      c.Sync, SyncAlways: c.Sync == 0,
		MaxPayload: c.MaxPayload, Username: c.User, Password: c.Password,
		NoSigs: true, DontListen: c.Listen == "",
		LameDuckGracePeriod: time.Millisecond, LameDuckDuration: time.Second,
	}
	if c.Listen == "" {
		return opts, nil
	}
	if c.User == "" || c.Password == "" {
		return nil, fmt.Errorf("embedded NATS server: listening on %s needs a user and a password", c.Listen)
	}
	if c.Producer != "" {
		opts.Username, opts.Password = "", ""
		opts.Users = []*server.User{{Username: c.User, Password: c.Password}, c.producer()}
	}
	return opts, listen(opts, c.Listen)
}

// producerInbox is where a producer hears answers: the inboxes of clients that say nothing else. A node's own have another
// prefix, since whoever may hear one of these may hear all of them.
const producerInbox = "_INBOX.>"

func (c Config) producer() *server.User {
	return &server.User{Username: c.Producer, Password: c.ProducerPassword, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{c.ProducerSubject}},
		Subscribe: &server.SubjectPermission{Allow: []string{producerInbox}},
	}}
}

func listen(opts *server.Options, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", address, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("listen address %q: port: %w", address, err)
	}
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return nil
}

// InProcessConn returns a connection to the server that no network carries; nats.InProcessServer takes the Server for it.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.Load().InProcessConn() }

// URL is the address of the server for clients outside of the process; it means nothing without Config.Listen.
func (s *Server) URL() string { return s.nats.Load().ClientURL() }

// Sync tells how often the running server calls fsync: 0 means before every acknowledgement. It is read from the server
// itself, not from the Config.
func (s *Server) Sync() (time.Duration, error) {
	varz, err := s.nats.Load().Varz(nil)
	if err != nil {
		return 0, fmt.Errorf("read settings of embedded NATS server: %w", err)
	}
	if varz.JetStream.Config == nil {
		return 0, errors.New("read settings of embedded NATS server: JetStream is off")
	}
	if varz.JetStream.Config.SyncAlways {
		return 0, nil
	}
	return varz.JetStream.Config.SyncInterval, nil
}

// Check returns nil while the server and all of its streams are healthy.
func (s *Server) Check() error {
	if h := s.nats.Load().Healthz(nil); h.Status != "ok" {
		return fmt.Errorf("embedded NATS server: %s %s", h.Status, h.Error)
	}
	return nil
}

// Stop sends clients away, writes everything to the disk and waits until the server is gone. When ctx ends first it
// returns ctx's error, and the server goes on stopping.
func (s *Server) Stop(ctx context.Context) error {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = true
		halt(s.nats.Load())
	}()
	select {
	case <-gone:
		if err := s.unlock(); err != nil {
			return fmt.Errorf("give back the data directory: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop embedded NATS server: %w", ctx.Err())
	}
}
