package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// Verdict is what a check has come to.
type Verdict string

// The verdicts. What cannot be seen is a warning: it may be right or wrong.
const (
	VerdictOK   Verdict = "ok"
	VerdictWarn Verdict = "warn"
	VerdictFail Verdict = "fail"
)

// Finding is the outcome of one check. Its texts hold no secrets.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	Do      string  `json:"do,omitzero"` // what to do about it
}

// examineTimeout bounds one check; where replicas look wrong the second look comes on top.
const examineTimeout = 30 * time.Second

// examiner checks one installation.
type examiner struct {
	b      *Broker
	dir    string // of the embedded server, whoever runs it
	held   bool   // a node runs that server, which has no monitoring page
	report func(Finding)
}

// Examine checks what a node with this configuration would meet, and calls report for each finding as it is made. It makes
// and changes nothing. An embedded data directory that a node holds is looked at through that node's listener, if it has
// one; one that nobody holds is opened as a node would, and closed again. It returns when all is checked or ctx ends.
func Examine(ctx context.Context, cfg Config, report func(Finding)) {
	cfg = cfg.withDefaults()
	x := &examiner{b: &Broker{cfg: cfg, log: cfg.Logger, ready: newReadiness()}, dir: cfg.DataDir, report: report}
	defer x.close(ctx)
	if x.configured() && x.connect() {
		x.all(ctx)
	}
}

func (x *examiner) ok(check, detail string, args ...any) {
	x.report(Finding{check, VerdictOK, fmt.Sprintf(detail, args...), ""})
}

func (x *examiner) warn(check, do, detail string, args ...any) {
	x.report(Finding{check, VerdictWarn, fmt.Sprintf(detail, args...), do})
}

func (x *examiner) fail(check, do, detail string, args ...any) {
	x.report(Finding{check, VerdictFail, fmt.Sprintf(detail, args...), do})
}

func (x *examiner) configured() bool {
	err := x.b.cfg.validate()
	if err != nil {
		x.fail("configuration", "mend the section nats of the configuration", "%s", err)
		return false
	}
	if x.b.metrics, err = newMetrics(nil); err == nil {
		x.b.archiver, err = newArchiver()
	}
	if err != nil {
		x.fail("configuration", "report this as a bug", "%s", err)
	}
	return err == nil
}

// connect reaches NATS, and starts the embedded server where nobody runs it.
func (x *examiner) connect() bool {
	if x.b.cfg.embedded() && !x.startServer() {
		return false
	}
	conns, err := connect(x.b.cfg, x.b.server)
	if err != nil {
		x.fail("nats", "check nats.url, user, password and certificates, and that the servers run", "%s", err)
		return false
	}
	x.b.conns, x.b.direct = conns, directGet
	x.b.js, x.b.replays = mustJetStream(conns.queue), mustJetStream(conns.replay)
	x.b.live = newLive(conns, func(error) {})
	x.b.Hubs = hub.New(source{x.b}, hub.Config{})
	x.ok("nats", "server %s, version %s", conns.queue.ConnectedServerName(), conns.queue.ConnectedServerVersion())
	if n := conns.queue.MaxPayload(); n < schema.MaxPayload {
		x.fail("max_payload", fmt.Sprintf("set max_payload to %d on every server", schema.MaxPayload), "%d bytes", n)
	} else {
		x.ok("max_payload", "%d bytes", n)
	}
	return true
}

// startServer opens the data directory as a node would: its server reads, and may mend, what it finds there. There is no way
// to look at it without.
func (x *examiner) startServer() bool {
	dir, listen := x.b.cfg.DataDir, x.b.cfg.Listen
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil {
		x.fail("data", "start a node first, or name the right directory in nats.data", "%s: there is no log", dir)
		return false
	}
	x.b.cfg.Listen = "" // nobody is to find this server
	err := x.b.startServer()
	switch {
	case errors.Is(err, embed.ErrInUse) && listen != "":
		x.ok("data", "%s: a node holds it; asking that one at %s", dir, listen)
		x.b.cfg.URL, x.b.cfg.DataDir, x.held = "nats://"+listen, "", true
		return true
	case errors.Is(err, embed.ErrInUse):
		x.warn("data", "stop the node, or start it with nats.listen, nats.user and nats.password, and give doctor the same; "+
			"meanwhile its /readyz and /metrics tell how it is",
			"%s: a node holds it, and lets nobody look inside; nothing else was checked", dir)
		return false
	case err != nil:
		x.fail("data", "read the log of the server", "%s", err)
		return false
	}
	x.ok("data", "%s: no node runs", dir)
	return true
}

// key proves that this configuration could open what the nodes seal.
func (x *examiner) key(probe string) {
	cfg := x.b.cfg
	cfg.DataDir = x.dir
	if cfg.SecretKey == nil {
		if _, err := os.Stat(filepath.Join(x.dir, keyFile)); err != nil { // or it would be made
			x.fail("secret key", "put it back from a backup, or start once with nats.renew_key", "%s is missing in %s", keyFile, x.dir)
			return
		}
	}
	keys, err := newVault(cfg)
	if err == nil && probe != "" {
		_, err = keys.prove(probe, false)
	}
	switch {
	case err != nil:
		x.fail("secret key", "set nats.secret_key to that of the nodes", "%s", err)
	case probe == "":
		x.warn("secret key", "start a node: it leaves the proof", "unknown: no node has left a proof of its key yet")
	default:
		x.ok("secret key", "opens what the nodes seal")
	}
}

func (x *examiner) close(ctx context.Context) {
	if err := x.b.Close(context.WithoutCancel(ctx)); err != nil {
		x.warn("close", "", "%s", err)
	}
}

// all makes every check that needs a connection.
func (x *examiner) all(ctx context.Context) {
	seen := x.servers(ctx)
	s := x.streams(ctx)
	if s == nil {
		return
	}
	x.leaders(s)
	x.copies(s)
	x.room(s, seen)
	x.clock(s)
	x.queue(ctx, s)
	x.drift(ctx)
	x.sealed(ctx, s)
}

// servers asks the monitoring page of every server.
func (x *examiner) servers(ctx context.Context) []*monitored {
	if x.b.server != nil {
		every, err := syncOf(ctx, x.b.cfg, x.b.server)
		if err != nil {
			x.fail("sync", "report this as a bug", "%s", err)
		} else {
			x.sync("embedded", every)
		}
		return nil
	}
	if x.held {
		return nil // its node has said at its start how often it calls fsync
	}
	if len(x.b.cfg.Monitor) == 0 {
		x.warn("sync", "list the monitoring URL of every server in nats.monitor",
			"unknown: only the monitoring page tells how often a server calls fsync, and what its replicas hold")
	}
	var seen []*monitored
	for _, address := range x.b.cfg.Monitor {
		m, err := monitor(ctx, address)
		if err != nil {
			x.warn("monitor", "check nats.monitor, and that the server runs", "%s", err)
			continue
		}
		seen = append(seen, m)
		x.sync(m.name, m.sync)
		if m.maxPayload < schema.MaxPayload {
			x.fail("max_payload", fmt.Sprintf("set max_payload to %d there", schema.MaxPayload), "server %s: %d bytes", m.name, m.maxPayload)
		}
	}
	x.versions(seen)
	return seen
}

func (x *examiner) sync(server, every string) {
	switch every {
	case "always":
		x.ok("sync", "server %s: always", server)
	case "":
		x.fail("sync", "turn JetStream on there", "server %s: JetStream is off", server)
	default:
		x.warn("sync", "set sync_interval: always, unless that loss was chosen", "server %s: a power cut may take %s of what was acknowledged", server, every)
	}
}

func (x *examiner) versions(seen []*monitored) {
	versions := make(map[string]bool)
	var all []string
	for _, m := range seen {
		versions[m.version] = true
		all = append(all, m.name+" "+m.version)
	}
	if len(versions) > 1 {
		x.warn("versions", "bring all servers to one version", "%s", strings.Join(all, ", "))
	}
}
