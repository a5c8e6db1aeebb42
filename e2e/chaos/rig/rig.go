//go:build e2e

package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Config says what to build. Dir, Root, Midstream and NATSServer must be set; of the rest, zero values are the defaults.
type Config struct {
	Dir                   string // of everything that the processes write
	Root                  string // of the module: the servers' configuration is in deploy/nats
	Midstream, NATSServer string // the binaries

	Servers, Gateways, Producers int           // 3, 2, 2
	Partitions                   int           // 2
	AckWait                      time.Duration // 2 s
	Sync                         string        // the servers' sync_interval: always

	Store func(server int) string // where a server keeps its data; a directory of its own in Dir
}

func (c Config) withDefaults() Config {
	set := func(v *int, or int) {
		if *v == 0 {
			*v = or
		}
	}
	set(&c.Servers, 3)
	set(&c.Gateways, 2)
	set(&c.Producers, 2)
	set(&c.Partitions, 2)
	if c.AckWait == 0 {
		c.AckWait = 2 * time.Second
	}
	if c.Sync == "" {
		c.Sync = "always"
	}
	return c
}

// Rig is everything that runs.
type Rig struct {
	Config
	Servers   []*Server
	Gateways  []*Node
	Producers []*Node
	Routes    map[[2]int]*Line // from one server to another, by their numbers
	Model     *Model
	Tools     *Tools
}

// New lays out a rig and starts its model and tools, but no process.
func New(cfg Config) (*Rig, error) {
	r := &Rig{Config: cfg.withDefaults(), Routes: map[[2]int]*Line{}, Model: newModel(), Tools: newTools()}
	for n := range r.Config.Servers {
		s, err := newServer(&r.Config, n)
		if err != nil {
			return r, err
		}
		r.Servers = append(r.Servers, s)
	}
	if err := r.connect(); err != nil {
		return r, err
	}
	extra := fmt.Sprintf(`upstreams:
  - {name: model, dialect: chat, base_url: %q, models: [script], retries: 10, idle: 60s}
mcp:
  servers: [{label: bank, url: %q, idempotent_tools: [%s]}]
`, r.Model.URL, r.Tools.URL, Look)
	var faults []error
	node := func(list *[]*Node, count int, letter, role string) {
		for i := range count {
			n, err := newNode(&r.Config, fmt.Sprintf("%s%d", letter, i+1), role, r.Servers, extra)
			faults = append(faults, err)
			*list = append(*list, n)
		}
	}
	node(&r.Gateways, r.Config.Gateways, "g", "gateway")
	node(&r.Producers, r.Config.Producers, "p", "producer")
	return r, errors.Join(faults...)
}

// connect lays a line from each server to every other one: they call each other.
func (r *Rig) connect() error {
	for i, from := range r.Servers {
		var routes []string
		for j := range r.Servers {
			if i == j {
				continue
			}
			line, err := newLine(from.Name+"-"+r.Servers[j].Name, r.Servers[j].route)
			if err != nil {
				return err
			}
			r.Routes[[2]int{i, j}] = line
			routes = append(routes, fmt.Sprintf("%q", "nats://route:"+Password+"@"+line.Addr()))
		}
		if err := from.configure(&r.Config, routes); err != nil {
			return err
		}
	}
	return nil
}

// Nodes are gateways and producers.
func (r *Rig) Nodes() []*Node { return append(append([]*Node{}, r.Gateways...), r.Producers...) }

// Processes are all that there are.
func (r *Rig) Processes() []*Process {
	var all []*Process
	for _, s := range r.Servers {
		all = append(all, s.Process)
	}
	for _, n := range r.Nodes() {
		all = append(all, n.Process)
	}
	return all
}

// Start starts every process, nodes behind the servers, and waits until the rig is well.
func (r *Rig) Start(ctx context.Context) error {
	for _, s := range r.Servers {
		if err := s.Start(); err != nil {
			return err
		}
	}
	for _, s := range r.Servers {
		if err := until(ctx, s.Process, s.Healthy); err != nil {
			return err
		}
	}
	for _, n := range r.Nodes() {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return r.Well(ctx)
}

// Well waits until every server is healthy and every gateway takes requests.
func (r *Rig) Well(ctx context.Context) error {
	for _, s := range r.Servers {
		if err := until(ctx, s.Process, s.Healthy); err != nil {
			return err
		}
	}
	for _, n := range r.Nodes() {
		if err := until(ctx, n.Process, n.Healthy); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends everything: nodes first, well, then the servers, whose end is not ours to judge.
func (r *Rig) Stop() error {
	defer http.DefaultClient.CloseIdleConnections()
	ends := make(chan error, len(r.Nodes()))
	for _, n := range r.Nodes() {
		n.Resume()
		go func() { ends <- errors.Join(n.End(), n.Judge()) }()
	}
	var faults []error
	for range r.Nodes() {
		faults = append(faults, <-ends)
	}
	var down sync.WaitGroup
	for _, s := range r.Servers {
		down.Go(s.Kill)
	}
	down.Wait()
	for _, n := range r.Nodes() {
		for _, l := range n.Lines {
			l.Close()
		}
	}
	for _, l := range r.Routes {
		l.Close()
	}
	r.Model.close()
	r.Tools.close()
	return errors.Join(faults...)
}

// given are the addresses that freePorts has returned: whoever has one may not listen there yet.
var given sync.Map

// freePorts returns addresses on which nobody listens, each only once, below the ports that the kernel gives to callers: a process
// that is started again must find its own still free.
func freePorts(n int) ([]string, error) {
	var found []string
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 18000+rand.IntN(14000))
		if _, twice := given.LoadOrStore(addr, true); twice {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		if found = append(found, addr); len(found) == n {
			return found, nil
		}
	}
	return nil, os.ErrDeadlineExceeded
}
