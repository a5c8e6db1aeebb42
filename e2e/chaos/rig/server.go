//go:build e2e

package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Server is one nats-server of the cluster.
type Server struct {
	*Process
	Client  string // host:port of its clients
	Monitor string // URL
	Store   string // directory

	route string // host:port of the other servers
}

// newServer chooses addresses and names; configure writes them down.
func newServer(cfg *Config, n int) (*Server, error) {
	name := fmt.Sprintf("n%d", n+1)
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	store := filepath.Join(cfg.Dir, "store-"+name)
	if cfg.Store != nil {
		store = cfg.Store(n)
	}
	return &Server{
		Process: newProcess(cfg.Dir, name, cfg.NATSServer, "-c", filepath.Join(cfg.Dir, name+".conf")),
		Client:  ports[0], Monitor: "http://" + ports[1], route: ports[2], Store: store,
	}, nil
}

// Users of the cluster, as deploy/nats names them. Their passwords are the same here.
const (
	NodeUser  = "midstream"
	AdminUser = "admin"
	Password  = "chaos"
)

// deployed is the configuration that production runs. To it are added what makes the servers use lines only (an address
// that nobody answers at stands for their true ones, so that gossip leads nowhere), and what a story asks for.
const (
	deployed = "deploy/nats"
	alone    = "cluster {\n  no_advertise: true\n  advertise: \"127.0.0.1:1\"\n"
)

// copy puts a deployed file beside the configuration that includes it.
func (c Config) copy(name string) error {
	text, err := os.ReadFile(filepath.Join(c.Root, deployed, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, name), text, 0o600)
}

// configure writes the configuration, and the environment that it reads.
func (s *Server) configure(cfg *Config, routes []string) error {
	text, err1 := os.ReadFile(filepath.Join(cfg.Root, deployed, "nats.conf"))
	included := errors.Join(cfg.copy("permissions.conf"), cfg.copy("producer.conf"))
	for old, changed := range map[string]string{"\ncluster {\n": "\n" + alone, "sync_interval: always": "sync_interval: " + cfg.Sync} {
		if strings.Count(string(text), old) != 1 {
			return fmt.Errorf("configure %s: nats.conf does not have %q once", s.Name, old)
		}
		text = []byte(strings.Replace(string(text), old, changed, 1))
	}
	s.env = []string{
		"NATS_NAME=" + s.Name, quoted("NATS_LISTEN", s.Client), quoted("NATS_MONITOR", strings.TrimPrefix(s.Monitor, "http://")),
		quoted("NATS_STORE", s.Store), "NATS_MAX_FILE_STORE=64GB", quoted("NATS_CLUSTER_LISTEN", s.route),
		"NATS_ROUTES=[" + strings.Join(routes, ", ") + "]", "NATS_ROUTE_USER=route", "NATS_ROUTE_PASSWORD=" + Password,
		"NATS_SYS_USER=sys", "NATS_SYS_PASSWORD=" + Password, "NATS_MIDSTREAM_USER=" + NodeUser, "NATS_MIDSTREAM_PASSWORD=" + Password,
		"NATS_ADMIN_USER=" + AdminUser, "NATS_ADMIN_PASSWORD=" + Password,
		"NATS_PRODUCER_USER=producer", "NATS_PRODUCER_PASSWORD=" + Password,
	}
	if err := errors.Join(err1, included, os.WriteFile(filepath.Join(cfg.Dir, s.Name+".conf"), text, 0o600)); err != nil {
		return fmt.Errorf("configure %s: %w", s.Name, err)
	}
	return nil
}

func quoted(name, value string) string { return fmt.Sprintf("%s=%q", name, value) }

// Healthy reports whether the server says that it has caught up.
func (s *Server) Healthy(ctx context.Context) bool {
	return answers(ctx, s.Monitor+"/healthz")
}

// answers reports whether a GET gets 200 within two seconds.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// until asks again and again until a process is well, or ctx ends.
func until(ctx context.Context, p *Process, well func(context.Context) bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !well(ctx) {
		if !p.Running() {
			return fmt.Errorf("%s has ended by itself: %s", p.Name, p.lastWords())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is well: %w", p.Name, ctx.Err())
		}
	}
	return nil
}
