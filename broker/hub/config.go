package hub

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

// Config bounds the hubs of a node. The zero value of each member is its default.
type Config struct {
	// HubBytes bounds the frames that one hub keeps; beyond it the head is dropped. Default 8 MiB. The newest segment
	// always stays, and a sealed response is kept whole, since its archive gives it whole.
	HubBytes int
	// NodeBytes bounds the frames of all hubs. Beyond it hubs without readers are closed, longest idle first; when none
	// is left, hubs that grow are held to 256 KiB each. Default 512 MiB.
	NodeBytes int
	// IdleHubs bounds the hubs without readers, each of which costs a goroutine and a subscription besides its frames: the one
	// that is idle for longest goes. Default 4096.
	IdleHubs int
	// Linger is how long a hub stays after its last reader, and after the terminal event. Default 1 minute.
	Linger time.Duration
	// QuietMin is after how much silence the leader is asked whether live delivery lost something; it doubles up to
	// QuietMax. Defaults 1 s and 15 s.
	QuietMin, QuietMax time.Duration
	// Silence is after how much silence of a response that has not ended Silent is called, again and again as the leader is
	// asked. Default 8 s: longer than a node that died keeps its runs.
	Silence time.Duration
	// Silent is told of such a response, on the goroutine of its hub, with a context that ends with that. Nil tells nobody.
	Silent func(context.Context, schema.Ref)
	// CursorPatience is how long a cursor beyond the end is judged again: another node may have shown more than this
	// one's leader has yet told. Default 2 s.
	CursorPatience time.Duration
	// HolePatience is how long a hole in the sequence numbers is read again before readers are cut. Default 5 s.
	HolePatience time.Duration
	// OpenPatience is how long a hub that opens tries to reach the log: an election takes 4 to 9 s. Default 15 s.
	OpenPatience time.Duration
	// AskTimeout bounds one question for the tip. Default 2 s.
	AskTimeout time.Duration
	// Laggards is how many followers of the node may read the log by themselves at a time. Default 4.
	Laggards int
	// LagBytes is what such a follower reads at a time: it stops behind the record that reaches it. Default 64 KiB.
	LagBytes int
	// Metrics is where the counters and gauges are registered. Nil keeps none.
	Metrics prometheus.Registerer
	// Logger gets what an operator must see. Nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	orDefault(&c.HubBytes, 8<<20)
	orDefault(&c.NodeBytes, 512<<20)
	orDefault(&c.IdleHubs, 4096)
	orDefault(&c.Linger, time.Minute)
	orDefault(&c.QuietMin, time.Second)
	orDefault(&c.QuietMax, 15*time.Second)
	orDefault(&c.Silence, 8*time.Second)
	orDefault(&c.CursorPatience, 2*time.Second)
	orDefault(&c.HolePatience, 5*time.Second)
	orDefault(&c.OpenPatience, 15*time.Second)
	orDefault(&c.AskTimeout, 2*time.Second)
	orDefault(&c.Laggards, 4)
	orDefault(&c.LagBytes, 64<<10)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Bounds that nobody needs to set.
const (
	// floorBytes is what a hub may keep while the node is beyond NodeBytes.
	floorBytes = 256 << 10
	// heldRecords and heldBytes bound the live records that wait for the log between to be read. What does not fit is
	// read from the log.
	heldRecords = 256
	heldBytes   = 1 << 20
	// segmentMin and segmentMax are the sizes of the first and of later segments: small, so that a short response costs
	// little, then large, so that a replay is few writes.
	segmentMin = 4 << 10
	segmentMax = 64 << 10
	// retryMin and retryMax bound the pause after a stale or failed read.
	retryMin = 5 * time.Millisecond
	retryMax = time.Second
)
