package cluster

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// plan is what every member must agree upon: addresses and secrets.
type plan struct {
	Config

	settings map[string]string // of deploy/nats/nats.env, and the secrets
	key      string            // nodes seal credentials with it
	clients  []string          // addresses of the servers
	routes   []string
	monitors []string
	gateways []string
}

func newPlan(cfg Config) (*plan, error) {
	settings, err := readEnv(filepath.Join(cfg.Root, "deploy/nats/nats.env"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"NATS_ROUTE_PASSWORD", "NATS_SYS_PASSWORD", "NATS_MIDSTREAM_PASSWORD", "NATS_PRODUCER_PASSWORD", "NATS_ADMIN_PASSWORD"} {
		settings[name] = "p" + hex.EncodeToString(dice(16)) // a letter first: NATS would read a number as a number
	}
	free, err := freeAddresses(3*servers + cfg.Gateways)
	if err != nil {
		return nil, err
	}
	return &plan{
		Config: cfg, settings: settings, key: base64.StdEncoding.EncodeToString(dice(32)),
		clients: free[:servers], routes: free[servers : 2*servers], monitors: free[2*servers : 3*servers],
		gateways: free[3*servers:],
	}, nil
}

func dice(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// readEnv reads a file of NAME=value.
func readEnv(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = value
		}
	}
	return settings, nil
}

// freeAddresses takes so many ports at once, so that they differ, and gives them back.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0")
		if listenErr != nil {
			return nil, fmt.Errorf("find a free port: %w", errors.Join(listenErr, err))
		}
		defer func() { err = errors.Join(err, l.Close()) }() //nolint:revive // all of them, when the last is known
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func (p *plan) server(i int) *Member {
	data := filepath.Join(p.Dir, fmt.Sprintf("nats-%d", i+1))
	m := p.member(fmt.Sprintf("nats-%d", i+1), "Server is ready", p.NATS, "--config", filepath.Join(p.Root, "deploy/nats/nats.conf"))
	m.URL, m.Monitor, m.data = "nats://"+p.clients[i], "http://"+p.monitors[i], data
	for name, value := range p.settings {
		m.env = append(m.env, name+"="+value)
	}
	var routes []string
	for _, route := range p.routes {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+p.settings["NATS_ROUTE_USER"]+":"+p.settings["NATS_ROUTE_PASSWORD"]+"@"+route))
	}
	m.env = append(m.env, // the last of two settings of one name counts
		"NATS_NAME="+m.Name, "NATS_LISTEN="+p.clients[i], "NATS_CLUSTER_LISTEN="+p.routes[i], "NATS_MONITOR="+p.monitors[i],
		"NATS_STORE="+data, "NATS_ROUTES=["+strings.Join(routes, ",")+"]")
	return m
}

func (p *plan) gateway(i int) *Member {
	m := p.node(fmt.Sprintf("gateway-%d", i+1), "gateway")
	m.URL = "http://" + p.gateways[i]
	m.env = append(m.env, "MIDSTREAM_LISTEN="+p.gateways[i])
	return m
}

func (p *plan) producer(i int) *Member { return p.node(fmt.Sprintf("producer-%d", i+1), "producer") }

func (p *plan) node(name, role string) *Member {
	m := p.member(name, "node started", p.Midstream, "serve", "--config", filepath.Join(p.Root, "deploy/midstream/midstream.yaml"))
	m.env = append(m.env, "MIDSTREAM_NODE="+name, "MIDSTREAM_ROLES="+role)
	m.env = append(append(m.env, p.nodeSettings()...), p.Env...)
	return m
}

// nodeSettings is what all nodes have in common.
func (p *plan) nodeSettings() []string {
	return []string{
		"MIDSTREAM_INSECURE_LISTEN=false", "MIDSTREAM_LISTEN=127.0.0.1:0",
		"MIDSTREAM_NATS_URL=" + strings.Join(p.clients, ","), "MIDSTREAM_NATS_MONITOR=http://" + strings.Join(p.monitors, ",http://"),
		"MIDSTREAM_NATS_PASSWORD=" + p.settings["NATS_MIDSTREAM_PASSWORD"], "MIDSTREAM_NATS_SECRET_KEY=" + p.key,
	}
}

// member is a process that inherits nothing of ours but where programs and temporary files are.
func (p *plan) member(name, ready, path string, args ...string) *Member {
	return &Member{
		Name: name, Log: filepath.Join(p.Dir, name+".log"), ready: ready, path: path, args: args,
		env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()},
	}
}
