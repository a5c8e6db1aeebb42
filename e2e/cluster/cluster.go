package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// servers is how many NATS servers there are: as many as replicas in deploy/midstream/midstream.yaml.
const servers = 3

// Config says what is run. Its zero value is not usable: all but the counts must be there.
type Config struct {
	// Root is the repository, where deploy/ is.
	Root string
	// Dir takes data, secrets and logs. Whoever starts the cluster takes it away.
	Dir string
	// Midstream and NATS are the programs.
	Midstream, NATS string
	// Gateways and Producers are how many there are; 0 means 2.
	Gateways, Producers int
	// Env is added to the environment of every node, as NAME=value.
	Env []string
}

// Cluster is what was started.
type Cluster struct {
	Servers, Gateways, Producers []*Member
	// Node is the user that nodes are; Feeder sends events as a producer; Admin may do everything in the account that holds the
	// streams; System sees the servers.
	Node, Feeder, Admin, System User
	// Monitors are the monitoring pages of the servers; NodeSettings is what a node has in its environment.
	Monitors, NodeSettings []string
}

// User is who may connect to NATS.
type User struct{ Name, Password string }

// Start runs the servers, then the nodes, and returns when all of them serve. After an error nothing runs.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Gateways == 0 {
		cfg.Gateways = 2
	}
	if cfg.Producers == 0 {
		cfg.Producers = 2
	}
	p, err := newPlan(cfg)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Node:   User{p.settings["NATS_MIDSTREAM_USER"], p.settings["NATS_MIDSTREAM_PASSWORD"]},
		Feeder: User{p.settings["NATS_PRODUCER_USER"], p.settings["NATS_PRODUCER_PASSWORD"]},
		Admin:  User{p.settings["NATS_ADMIN_USER"], p.settings["NATS_ADMIN_PASSWORD"]},
		System: User{p.settings["NATS_SYS_USER"], p.settings["NATS_SYS_PASSWORD"]},
	}
	for i := range servers {
		c.Servers = append(c.Servers, p.server(i))
	}
	for i := range cfg.Gateways {
		c.Gateways = append(c.Gateways, p.gateway(i))
	}
	for i := range cfg.Producers {
		c.Producers = append(c.Producers, p.producer(i))
	}
	for _, address := range p.monitors {
		c.Monitors = append(c.Monitors, "http://"+address)
	}
	c.NodeSettings = p.nodeSettings()
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := startAll(ctx, c.Servers); err != nil {
		return err
	}
	return startAll(ctx, append(append([]*Member(nil), c.Gateways...), c.Producers...))
}

func startAll(ctx context.Context, members []*Member) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range members {
		group.Go(func() error { return m.Start(ctx) })
	}
	return group.Wait()
}

// Members lists every process, the servers first.
func (c *Cluster) Members() []*Member {
	return append(append(append([]*Member(nil), c.Servers...), c.Gateways...), c.Producers...)
}

// Stop ends every process that runs, the nodes first, so that they can hand over what they do. It returns how those ended
// that did not end well.
func (c *Cluster) Stop() error {
	return errors.Join(stopAll(c.Gateways), stopAll(c.Producers), stopAll(c.Servers))
}

func stopAll(members []*Member) error {
	var group errgroup.Group
	for _, m := range members {
		group.Go(m.Stop)
	}
	return group.Wait()
}

// Wipe takes away the data of a server that does not run, as losing its disk would.
func (c *Cluster) Wipe(server *Member) error {
	if server.data == "" || server.Running() {
		return fmt.Errorf("wipe %s: not a server, or it runs", server.Name)
	}
	if err := os.RemoveAll(server.data); err != nil {
		return fmt.Errorf("wipe %s: %w", server.Name, err)
	}
	return nil
}

// BuildMidstream compiles the binary into dir, with flags for go build, and returns its path.
func BuildMidstream(ctx context.Context, root, dir string, flags ...string) (string, error) {
	return build(ctx, root, filepath.Join(dir, "midstream"), ".", flags)
}

// BuildNATS compiles nats-server, in the version that go.mod has, into dir, and returns its path.
func BuildNATS(ctx context.Context, root, dir string) (string, error) {
	return build(ctx, root, filepath.Join(dir, "nats-server"), "github.com/nats-io/nats-server/v2", nil)
}

func build(ctx context.Context, root, out, target string, flags []string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", out}, flags...), target)...)
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", target, err, text)
	}
	return out, nil
}
