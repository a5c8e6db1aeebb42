package producers

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// The defaults of a Config, and the bounds that no configuration moves.
const (
	DefaultSlots       = 256
	DefaultMaxTurns    = 16
	DefaultMaxAttempts = 5
	DefaultMaxRun      = time.Hour
	DefaultSweepEvery  = 5 * time.Minute
	DefaultDrainCalls  = 10 * time.Second
	// DefaultProducerIdle outlasts the thinking of a model that says nothing meanwhile.
	DefaultProducerIdle = 2 * time.Minute

	// maxParallelCalls bounds the tool calls of one run that are under way at once.
	maxParallelCalls = 16
	// sealPatience bounds how long a finished run tries to be sealed before it is left to another attempt.
	sealPatience = 30 * time.Second
)

// Queue gives out the commands of runs, and their logs. [broker.Broker] is one.
type Queue interface {
	// Claim returns the next command. It blocks until there is one or ctx ends, and takes none in advance.
	Claim(ctx context.Context) (*broker.Job, error)
	// Begin writes the request record unless it is there already.
	Begin(ctx context.Context, rec schema.Record, ref schema.Ref) error
	// Read returns the whole log.
	Read(ctx context.Context, ref schema.Ref) (*broker.History, error)
	// Writer appends to a log that was read, as one attempt.
	Writer(h *broker.History, attempt int, nonce string) *broker.Writer
}

// Feeds give what other producers send. [broker.Broker] has them.
type Feeds interface {
	// Feed begins with the first batch of a response, and gives them in the order in which they are stored.
	Feed(ref schema.Ref) (*broker.Feed, error)
	// OpenFed opens the responses whose producers say so over NATS, until ctx ends.
	OpenFed(ctx context.Context) error
}

// Sweeper finds runs that have lost their job. [broker.Broker] is one.
type Sweeper interface {
	// SweepRuns looks once through all responses, slowly, and puts back into the queue what has neither a job nor an archive.
	SweepRuns(ctx context.Context) (found int, err error)
}

// Control tells which responses somebody wants to end. [broker.Broker] is one.
type Control interface {
	// Cancels calls cancelled for every response that is cancelled from now on, until ctx ends.
	Cancels(ctx context.Context, cancelled func(schema.Ref)) error
	// CancelAsked reports whether a response was cancelled before.
	CancelAsked(ctx context.Context, ref schema.Ref) (bool, error)
}

// Library finds earlier responses and conversations, which a run goes on from. [broker.Broker] is one.
type Library interface {
	// Past returns what was asked and said in a thread of responses, in its order. broker.ErrNotFound and broker.ErrGone say
	// that one of them is not there, or no longer.
	Past(ctx context.Context, tenant string, thread []string) ([]schema.Item, error)
	// Conversation returns a conversation as it is now, or broker.ErrNotFound.
	Conversation(ctx context.Context, tenant, id string) (*schema.Conversation, error)
	// ChangeConversation appends the fact that change decides upon, exactly once. broker.ErrNotFound: the conversation was
	// deleted. broker.ErrFull: there is no room for it.
	ChangeConversation(ctx context.Context, tenant, id string, change broker.ConversationChange) (*schema.Conversation, error)
	// Exchange returns what one response was asked and said, with the errors of Past.
	Exchange(ctx context.Context, ref schema.Ref) (*schema.Exchange, error)
}

// Models finds the upstream that serves a model. [upstream.Router] is one.
type Models interface {
	Route(model string) (upstream.Upstream, error)
}

// Tools reaches MCP servers. [mcp.Pool] is one. Its methods are safe for concurrent use and end with ctx.
type Tools interface {
	ListTools(ctx context.Context, tenant string, s mcp.Server) ([]mcp.Tool, error)
	// ListToolsAfresh asks the server now, whatever is known of it.
	ListToolsAfresh(ctx context.Context, tenant string, s mcp.Server) ([]mcp.Tool, error)
	CallTool(ctx context.Context, tenant string, s mcp.Server, name string, args jsontext.Value) (mcp.Result, error)
}

// Config is what a Node needs. Queue, Feeds, Control, Library, Models and Tools must be set; zero values of the rest are the defaults.
type Config struct {
	Name    string // of this node, in claim records
	Queue   Queue
	Feeds   Feeds
	Control Control
	Models  Models
	Tools   Tools
	// Sweeper looks after runs that nobody works on; nil: this node does not.
	Sweeper Sweeper
	// Library has the responses and conversations that others go on from.
	Library Library
	// Servers are the operator's MCP servers by label: a request may name them by label alone.
	Servers map[string]mcp.Server
	// Connectors are the URLs behind the connector ids that requests may name. Each caller brings its own credentials.
	Connectors map[string]string
	// Idempotent reports whether the operator allows a tool to be called again when the outcome of a call is unknown;
	// nil allows none. What a server itself says of its tools is not trusted.
	Idempotent func(label, tool string) bool

	Slots       int           // runs at once
	MaxTurns    int           // model calls of one run
	MaxAttempts int           // attempts in a row that got nowhere
	MaxRun      time.Duration // from the request to the terminal event
	// ProducerIdle is how long a producer that feeds a response may be silent before it has ended.
	ProducerIdle time.Duration
	SweepEvery   time.Duration // between two sweeps, on average
	// DrainCalls is how long tool calls that are under way may still take when the node is to stop.
	DrainCalls time.Duration

	// Now is the clock by which a response says when it was completed. Nothing else depends on it.
	Now     func() time.Time
	Logger  *slog.Logger
	Tracer  trace.Tracer
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	setDefault(&c.Slots, DefaultSlots)
	setDefault(&c.MaxTurns, DefaultMaxTurns)
	setDefault(&c.MaxAttempts, DefaultMaxAttempts)
	setDefault(&c.MaxRun, DefaultMaxRun)
	setDefault(&c.SweepEvery, DefaultSweepEvery)
	setDefault(&c.DrainCalls, DefaultDrainCalls)
	setDefault(&c.ProducerIdle, DefaultProducerIdle)
	if c.Idempotent == nil {
		c.Idempotent = func(string, string) bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider().Tracer("")
	}
	return c
}

func setDefault[T comparable](v *T, or T) {
	var zero T
	if *v == zero {
		*v = or
	}
}
