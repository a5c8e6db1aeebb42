package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

const (
	// prepareTimeout bounds one go at the streams: a request that came too early for a starting cluster is never answered.
	prepareTimeout = 10 * time.Second
	// reachTimeout is how long NATS may take until it can be reached at all: servers and nodes may start together.
	reachTimeout = time.Minute
	// peersTimeout is how long a cluster may take until as many servers are there as a stream has replicas.
	peersTimeout = time.Minute
)

// Broker is the log and the queue. Its methods may be called from any goroutine.
type Broker struct {
	*hub.Hubs

	cfg        Config
	log        *slog.Logger
	metrics    *metrics
	server     *embed.Server // nil on an existing NATS
	conns      *conns
	js         jetstream.JetStream // on the connection for publishing
	replays    jetstream.JetStream
	direct     string // where any replica answers
	runs       jetstream.Consumer
	live       *live
	partitions int
	gates      []gate
	watch      *watch
	commits    breaker

	sweeper *sweeper

	conversations struct{ gate gate }

	terms    terms // of the streams' leaders
	vouching singleflight.Group
	ready    *readiness
	news     news // of damaged replicas

	queueSilent atomic.Bool // the last claim had no answer

	vault    *vault
	archiver *archiver
	sync     string
}

// Open connects to NATS, having started it if it is embedded, and makes or checks the streams. A NATS that could not keep
// what this package promises is refused, with an error that says what to do.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, log: cfg.Logger, ready: newReadiness()}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.Close(context.WithoutCancel(ctx)))
	}
	b.log.Info("broker open", "embedded", cfg.embedded(), "partitions", b.partitions, "replicas", cfg.Replicas, "sync", b.sync)
	return b, nil
}

func (b *Broker) open(ctx context.Context) (err error) {
	if b.vault, err = newVault(b.cfg); err != nil {
		return err
	}
	if b.metrics, err = newMetrics(b.cfg.Metrics); err != nil {
		return err
	}
	if b.archiver, err = newArchiver(); err != nil {
		return err
	}
	if err = b.startServer(); err != nil {
		return err
	}
	if b.conns, err = b.reach(ctx); err != nil {
		return err
	}
	b.js, b.replays, b.direct = mustJetStream(b.conns.publish), mustJetStream(b.conns.replay), directGet
	if b.partitions, err = b.prepare(ctx); err != nil {
		return err
	}
	if b.sync, err = syncOf(ctx, b.cfg, b.server); err != nil {
		return err
	}
	b.gates = newGates(b.partitions)
	b.conversations.gate, b.sweeper = newGates(1)[0], newSweeper(b.partitions)
	b.live = newLive(b.conns, func(err error) { b.log.Error("live record", "error", err) })
	hubs := b.cfg.Hub
	hubs.Silent = b.lookFor
	b.Hubs = hub.New(source{b}, hubs)
	b.conns.live.SetReconnectHandler(b.restored)
	b.watch = newWatch(ctx, b)
	b.watch.start()
	return nil
}

// prepare makes or checks the streams and the queue's consumer, and waits for a cluster that is starting until ctx ends. Of two
// first starts at once one makes the run stream, and the other begins again, with what that one has fixed.
func (b *Broker) prepare(ctx context.Context) (partitions int, err error) {
	until := time.Now().Add(peersTimeout)
	err = whileEarly(ctx, func(err error) { b.log.Warn("nats not ready, waiting", "error", err) }, func() (early bool, err error) {
		try, cancel := context.WithTimeout(ctx, prepareTimeout)
		defer cancel()
		if partitions, err = prepare(try, b.js, b.cfg, b.vault); err == nil {
			b.runs, err = runConsumer(try, mustJetStream(b.conns.queue), b.cfg)
		}
		made := errors.Is(err, jetstream.ErrStreamNameAlreadyInUse)
		return unreachable(err) || made || noPeers(err) && time.Now().Before(until), err
	})
	return partitions, err
}

// whileEarly tries again for as long as an attempt fails because it came early, and says so once for each reason.
func whileEarly(ctx context.Context, say func(error), attempt func() (early bool, err error)) error {
	var wait backoff
	for said := ""; ; {
		early, err := attempt()
		if err == nil || !early {
			return err
		}
		if why := err.Error(); why != said {
			said = why
			say(err)
		}
		if wait.wait(ctx) != nil {
			return err
		}
	}
}

func (b *Broker) startServer() (err error) {
	if !b.cfg.embedded() {
		return nil
	}
	b.server, err = embed.Start(embed.Config{
		Dir: b.cfg.DataDir, Sync: b.cfg.SyncInterval, Listen: b.cfg.Listen,
		User: b.cfg.User, Password: b.cfg.Password,
		Producer: b.cfg.Producer, ProducerPassword: b.cfg.ProducerPassword, ProducerSubject: allProducers,
		MaxPayload: schema.MaxPayload, Logger: b.log,
	})
	return err
}

// restored makes up for what the live connection has missed.
func (b *Broker) restored(*nats.Conn) {
	b.log.Info("nats connection restored", "connection", "live")
	b.Nudge()
}

// Close cuts every follower, ends the connections, and stops the embedded server once all is on the disk. Writers and jobs
// should have been closed before; what they still do fails. Close waits until ctx ends at most.
func (b *Broker) Close(ctx context.Context) error {
	if b.Hubs != nil {
		b.Hubs.Close()
	}
	if b.watch != nil {
		b.watch.close(ctx)
	}
	if b.conns != nil {
		b.conns.close()
	}
	if b.archiver != nil {
		b.archiver.close()
	}
	if b.server == nil {
		return nil
	}
	return b.server.Stop(ctx)
}

// Sync says when what is acknowledged is on the disk: "always", which is before the acknowledgement; "1s" or the like, which
// is how much a power cut may take; or "unknown" for an external NATS that does not tell.
func (b *Broker) Sync() string { return b.sync }

func describeSync(every time.Duration) string {
	if every == 0 {
		return "always"
	}
	return every.String()
}
