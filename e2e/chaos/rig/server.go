//go:build e2e

package rig

import (
	"context"
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

// configure writes the configuration. Servers know each other by lines only: an address that nobody answers at stands for
// the true ones, so that gossip leads nowhere.
func (s *Server) configure(cfg *Config, routes []string) error {
	_, port, _ := strings.Cut(s.Client, ":")
	text := fmt.Sprintf(`
server_name: %s
host: 127.0.0.1
port: %s
http: %q
max_payload: 8MB
write_deadline: "10s"
jetstream { store_dir: %q, sync_interval: %s, max_file_store: 64GB, max_memory_store: 64MB }
cluster {
  name: chaos
  listen: %q
  no_advertise: true
  advertise: "127.0.0.1:1"
  routes: [%s]
}
`, s.Name, port, strings.TrimPrefix(s.Monitor, "http://"), s.Store, cfg.Sync, s.route, strings.Join(routes, ", "))
	if err := os.WriteFile(filepath.Join(cfg.Dir, s.Name+".conf"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure %s: %w", s.Name, err)
	}
	return nil
}

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
