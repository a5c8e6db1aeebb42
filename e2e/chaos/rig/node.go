//go:build e2e

package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Node is one midstream process: a gateway or a producer.
type Node struct {
	*Process
	URL   string  // empty for a producer
	Lines []*Line // to each server
}

// newNode lays its lines and writes its configuration.
func newNode(cfg *Config, name, role string, servers []*Server, extra string) (*Node, error) {
	n := &Node{Process: newProcess(cfg.Dir, name, cfg.Midstream, "serve", "--config", filepath.Join(cfg.Dir, name+".yaml"))}
	var urls, monitors []string
	var err error
	if n.Lines, err = lay(name, servers); err != nil {
		return nil, err
	}
	for i, s := range servers {
		urls = append(urls, "nats://"+n.Lines[i].Addr())
		monitors = append(monitors, fmt.Sprintf("%q", s.Monitor))
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	if role == "gateway" {
		n.URL = "http://" + ports[0]
	}
	text := fmt.Sprintf(`
node: %s
listen: %s
roles: [%s]
nats: {url: %q, user: %s, password: %s, monitor: [%s], replicas: %d, partitions: %d, secret_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
limits: {ack_wait: %s, heartbeat: %s, sse_heartbeat: 1s, drain: 5s}
log: {format: text}
%s`, name, ports[0], role, strings.Join(urls, ","), NodeUser, Password, strings.Join(monitors, ", "), len(servers), cfg.Partitions,
		cfg.AckWait, cfg.AckWait/4, extra)
	if err := os.WriteFile(filepath.Join(cfg.Dir, name+".yaml"), []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	return n, nil
}

// lay makes lines to each server.
func lay(name string, servers []*Server) (lines []*Line, err error) {
	for _, s := range servers {
		line, err := newLine(name+"-"+s.Name, s.Client)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// Lay makes lines to each server for somebody else, who closes them.
func (r *Rig) Lay(name string) ([]*Line, error) { return lay(name, r.Servers) }

// Healthy reports whether a gateway takes requests, and a producer claims them.
func (n *Node) Healthy(ctx context.Context) bool {
	if n.URL == "" {
		return n.Said("node started")
	}
	return answers(ctx, n.URL+"/readyz")
}
