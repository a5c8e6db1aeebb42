package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/broker/hub"
)

// Defaults of Config, and bounds that are no setting.
const (
	DefaultPartitions = 16
	DefaultLogAge     = 2 * time.Hour
	DefaultArchiveAge = 30 * 24 * time.Hour
	DefaultLogBytes   = 4 << 30
	DefaultRunBytes   = 256 << 20
	// DefaultConversationBytes is room for some thousand long conversations.
	DefaultConversationBytes = 4 << 30
	// DefaultIngestBytes is room for what other producers send in the time of a log.
	DefaultIngestBytes = 1 << 30
	DefaultAckWait     = 6 * time.Second
	// DefaultQueued is sixteen times what one node works at by default; behind so many a run waits for minutes.
	DefaultQueued = 4096
	// DefaultQueueWait is about when whoever waits for a first word gives up.
	DefaultQueueWait = time.Minute
	// DefaultDiskFree is the most of a disk that is kept free by default; of a small one it is a tenth.
	DefaultDiskFree = 10 << 30
	// DefaultCancelPatience leaves an owner that is alive ample time, and whoever waits for the end half of its 2 s.
	DefaultCancelPatience = time.Second
	// DefaultWatchEvery finds a damaged replica within 7 minutes, and asks the leader of each stream once in five.
	DefaultWatchEvery = 5 * time.Minute
	// DefaultWatchDoubt outlasts what replicas of a busy stream, and of servers whose clocks differ, may differ by.
	DefaultWatchDoubt = 30 * time.Second

	// holdShare is the part of Config.DiskFree below which open runs wait too.
	holdShare = 10
	// maxPartitions bounds what a wrong setting can make: each partition is two streams.
	maxPartitions = 256
	// maxAckPending is how many runs may be in the hands of workers at once, in the whole cluster.
	maxAckPending = 20_000
	// keyBytes is the length of the key that seals secrets: AES-256.
	keyBytes = 32
)

// Config says which NATS to use and how to keep the log there. Its zero value with a DataDir is a broker with an
// embedded server that no port leads to, and that calls fsync before every acknowledgement.
type Config struct {
	// URL of an existing NATS; empty starts one inside the process.
	URL string
	// User and Password, or Creds, a file of NATS credentials, prove who we are; TLS is used where it is not nil.
	User, Password, Creds string
	TLS                   *tls.Config
	// Dial opens the connections to an existing NATS, in place of TCP to URL. It is called again for every reconnect.
	Dial func() (net.Conn, error)
	// Monitor lists HTTP monitoring addresses of the external servers: there Open reads how often they call fsync.
	Monitor []string

	// DataDir is where the embedded server keeps everything, and the key of secrets if SecretKey is nil.
	DataDir string
	// Listen opens the embedded server to others on a host:port; needs User and Password.
	Listen string
	// Producer is a user of the embedded server that may send events as any producer, and nothing else; "" for none.
	Producer, ProducerPassword string
	// SyncInterval is how often the embedded server calls fsync; 0 means before every acknowledgement.
	SyncInterval time.Duration

	// Partitions of log and archive, fixed for ever by the first start; 0 takes those that are there, or 16.
	Partitions int
	// Replicas of every stream; 0 means 1.
	Replicas int
	// LogAge is how long the hot log is kept (0: 2 h), longer than the longest run; ArchiveAge the archive (0: 30 days).
	LogAge, ArchiveAge time.Duration
	// LogBytes bounds the hot log of all partitions together (0: 4 GiB), RunBytes the queue (0: 256 MiB).
	LogBytes, RunBytes int64
	// ConversationBytes bounds all conversations together (0: 4 GiB). They have no age: they are kept until they are deleted.
	ConversationBytes int64
	// IngestBytes bounds what other producers have sent in the last LogAge (0: 1 GiB).
	IngestBytes int64

	// Queued bounds how many runs of the whole cluster wait for a worker (0: 4 096), QueueWait how long the first of them may
	// have waited (0: 1 min). Beyond either nothing more is enqueued.
	Queued    int
	QueueWait time.Duration
	// DiskFree is how much of the embedded server's disk new runs leave free, in bytes (0: a tenth of it, 10 GiB at most).
	// With a tenth of that left, open runs wait until there is room.
	DiskFree int64

	// AckWait is how long a silent worker keeps a job (0: 6 s); Heartbeat how often a busy one calls (0: AckWait/3).
	AckWait, Heartbeat time.Duration

	// CancelPatience is how long Cancel leaves it to the owner of a run to end it (0: 1 s). Then Cancel does.
	CancelPatience time.Duration

	// WatchEvery is how often WatchReplicas looks, on average (0: 5 min); WatchDoubt after what time it looks again, where
	// something looked wrong (0: 30 s).
	WatchEvery, WatchDoubt time.Duration

	// SecretKey, 32 bytes, seals secrets in the queue. Nodes share it. Nil is allowed with the embedded server only: it makes
	// one on its first start. A key that does not open what the first start has sealed is refused.
	SecretKey []byte
	// OtherKeys, 32 bytes each, open what is sealed, and seal nothing: for a change of the key, one node after the other.
	OtherKeys [][]byte
	// RenewKey accepts a SecretKey though the one before is lost. What that has sealed stays closed.
	RenewKey bool

	// Hub says how readers share frames in memory. Its Metrics and Logger default to those below.
	Hub hub.Config

	// Metrics takes the broker's metrics; nil keeps them unregistered.
	Metrics prometheus.Registerer
	// Logger takes lifecycle and what an operator must act upon; nil discards it.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	orDefault(&c.Replicas, 1)
	orDefault(&c.LogAge, DefaultLogAge)
	orDefault(&c.ArchiveAge, DefaultArchiveAge)
	orDefault(&c.LogBytes, DefaultLogBytes)
	orDefault(&c.RunBytes, DefaultRunBytes)
	orDefault(&c.ConversationBytes, DefaultConversationBytes)
	orDefault(&c.IngestBytes, DefaultIngestBytes)
	orDefault(&c.Queued, DefaultQueued)
	orDefault(&c.QueueWait, DefaultQueueWait)
	orDefault(&c.AckWait, DefaultAckWait)
	orDefault(&c.Heartbeat, c.AckWait/3)
	orDefault(&c.CancelPatience, DefaultCancelPatience)
	orDefault(&c.WatchEvery, DefaultWatchEvery)
	orDefault(&c.WatchDoubt, DefaultWatchDoubt)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Hub.Logger == nil {
		c.Hub.Logger = c.Logger
	}
	if c.Hub.Metrics == nil {
		c.Hub.Metrics = c.Metrics
	}
	return c
}

func orDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// diskFree is how much of a disk of that size is left free.
func (c Config) diskFree(total int64) int64 {
	if c.DiskFree > 0 {
		return c.DiskFree
	}
	return min(total/10, DefaultDiskFree)
}

func (c Config) embedded() bool { return c.URL == "" && c.Dial == nil }

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	switch {
	case c.embedded() && c.DataDir == "":
		return errors.New("broker: neither a NATS URL nor a data directory is set")
	case !c.embedded() && (c.Listen != "" || c.SyncInterval != 0):
		return errors.New("broker: listen and sync interval are settings of the embedded server, but a NATS URL is set")
	case !c.embedded() && c.SecretKey == nil:
		return errors.New("broker: nodes on an existing NATS need a common secret key of 32 bytes")
	case c.SecretKey != nil && len(c.SecretKey) != keyBytes:
		return fmt.Errorf("broker: secret key has %d bytes, not %d", len(c.SecretKey), keyBytes)
	case slices.ContainsFunc(c.OtherKeys, func(key []byte) bool { return len(key) != keyBytes }):
		return fmt.Errorf("broker: one of the other keys has not %d bytes", keyBytes)
	case c.Partitions < 0 || c.Partitions > maxPartitions:
		return fmt.Errorf("broker: %d partitions, not 1 to %d", c.Partitions, maxPartitions)
	case c.Heartbeat >= c.AckWait:
		return fmt.Errorf("broker: a heartbeat every %s cannot keep a job that is given up after %s", c.Heartbeat, c.AckWait)
	}
	return nil
}
