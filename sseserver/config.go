package sseserver

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// Broker is what the face needs of the log and the queue. All methods are safe for concurrent use.
type Broker interface {
	// Enqueue commits the command to the queue, with the caller's secrets beside it (nil for none). It retries until
	// the outcome is known. broker.ErrFull means that nothing was queued; broker.ErrExists, that it already was.
	Enqueue(ctx context.Context, cmd *schema.Command, secrets []byte) error
	// Begin puts the request record at the head of the response's log. It is nil also if that record is there already,
	// and broker.ErrExists if another one is.
	Begin(ctx context.Context, rec schema.Record, ref schema.Ref) error
	// Fold returns what the response is now; hub.ErrNotFound, hub.ErrGone and hub.ErrExpired as Follow has them.
	Fold(ctx context.Context, ref schema.Ref) (*schema.State, error)
	// Ready reports why the log cannot be reached, if it cannot.
	Ready(ctx context.Context) error
}

// Library finds what earlier responses were asked and said. Its methods are safe for concurrent use, and return
// broker.ErrNotFound for a response that is not there, broker.ErrGone for one that was erased.
type Library interface {
	// Exchange returns both. One that was not to be stored is not there once it has ended.
	Exchange(ctx context.Context, ref schema.Ref) (*schema.Exchange, error)
	// Past returns what was asked and said in a thread of responses, in its order.
	Past(ctx context.Context, tenant string, thread []string) ([]schema.Item, error)
	// Summary returns what a compaction stands for that was made here; ours is false for one of another maker. An error says
	// that it was made for another tenant, or changed.
	Summary(tenant string, it *schema.Item) (text string, ours bool, err error)
	// Command returns what a response was made from.
	Command(ctx context.Context, ref schema.Ref) (*schema.Command, error)
}

// Errands are questions about a request that make no response. An error is answered as it is if it is a *schema.Error. Both
// methods are safe for concurrent use. past is what the request goes on from.
type Errands interface {
	// CountTokens returns how many tokens the request would put before its model.
	CountTokens(ctx context.Context, req *schema.CreateRequest, past []schema.Item) (int64, error)
	// Compact returns items to go on with instead of the request's context; usage may be nil. ref names the answer, for logs.
	Compact(ctx context.Context, ref schema.Ref, req *schema.CreateRequest, past []schema.Item) ([]schema.Item, *schema.Usage, error)
}

// Control ends responses, whoever works on them. Both methods are safe for concurrent use, and return broker.ErrNotFound for
// a response that is not there, broker.ErrGone for one that was erased before.
type Control interface {
	// Cancel returns nil when the response's terminal event is durable, whatever it says: it may have ended by itself.
	Cancel(ctx context.Context, ref schema.Ref) error
	// Delete returns nil when the response is erased. One that runs is cancelled first.
	Delete(ctx context.Context, ref schema.Ref) error
}

// Conversations keeps what responses go on from. [broker.Broker] is one. A broker.ErrNotFound says that there is no such
// conversation of the tenant's, broker.ErrFull that nothing was stored.
type Conversations interface {
	Conversation(ctx context.Context, tenant, id string) (*schema.Conversation, error)
	CreateConversation(ctx context.Context, tenant, id string, metadata map[string]string) (*schema.Conversation, error)
	// ChangeConversation appends the fact that change decides upon, exactly once. An error of change is returned as it is.
	ChangeConversation(ctx context.Context, tenant, id string, change broker.ConversationChange) (*schema.Conversation, error)
	// DeleteConversation erases a conversation.
	DeleteConversation(ctx context.Context, tenant, id string) error
}

// Follower is one reader's place in one response. It is used by one goroutine.
type Follower interface {
	// Next returns the whole frames behind the reader's place, as many as there are, and waits for some if there are
	// none. The bytes must not be changed. It returns io.EOF once the terminal frame was handed out; hub.ErrCut, if
	// the stream must be aborted. An error of ctx loses nothing: the next call goes on.
	Next(ctx context.Context) ([]byte, error)
	// Ended reports whether the reader's place is behind the terminal frame.
	Ended() bool
	// Seq returns the sequence number of the last frame behind the reader, -1 at the start.
	Seq() int64
	// Close gives up the place.
	Close()
}

// FollowFunc opens a follower behind the cursor after, -1 for the start. It returns hub.ErrNotFound, hub.ErrGone,
// hub.ErrExpired, or a *hub.CursorError if after is beyond the end.
type FollowFunc func(ctx context.Context, ref schema.Ref, after int64) (Follower, error)

// Following turns a broker's own Follow method, whose follower has a concrete type, into a FollowFunc.
func Following[F Follower](follow func(context.Context, schema.Ref, int64) (F, error)) FollowFunc {
	return func(ctx context.Context, ref schema.Ref, after int64) (Follower, error) {
		f, err := follow(ctx, ref, after)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
}

// Tenants says whose a request is. An error is answered as it is if it is a *schema.Error.
type Tenants interface {
	Tenant(r *http.Request) (string, error)
}

// defaultTenant has what nobody else is named for.
const defaultTenant = "default"

type oneTenant string

func (t oneTenant) Tenant(*http.Request) (string, error) { return string(t), nil }

// Model is one entry of GET /v1/models.
type Model struct {
	ID      string
	Created int64 // seconds since 1970, 0 if unknown
	OwnedBy string
}

// Config is what a Server is made from. Broker, Library, Control and Follow are required, every zero value else has the default that its
// comment names.
type Config struct {
	Broker  Broker
	Library Library
	Control Control
	Follow  FollowFunc
	// Conversations serves /v1/conversations, and responses in conversations. Nil does without both.
	Conversations Conversations
	// Expect is told of a response just before it begins, so that following it finds it at once; release is called when
	// the request is over. Nil does without.
	Expect func(schema.Ref) (release func())

	// RetryAt returns until when the upstream asks to be left alone that has failed a response; the zero time where it does
	// not. Nil does without: such an answer has no Retry-After.
	RetryAt func(context.Context, schema.Ref) (time.Time, error)

	// Admit refuses a request that no producer could serve, with a *schema.Error. Nil admits all.
	Admit func(context.Context, *schema.CreateRequest) error
	// Errands answers POST /v1/responses/input_tokens and /compact. Nil means that there are no such routes.
	Errands Errands
	// Ingest keeps what other producers send. Nil means that there is no such route.
	Ingest Ingest
	// Models lists what GET /v1/models shows. Nil shows an empty list.
	Models func(context.Context) ([]Model, error)
	// Keys are the API keys, without a Tenant or Scopes for "default" and for all scopes. None: everybody is let in.
	Keys []Key
	// Tenants says whose a request is. Nil means whose its key is, or without Keys that all are of the tenant "default".
	Tenants Tenants
	// Mount adds handlers by path; a path that ends in a slash takes all below it.
	Mount map[string]http.Handler
	// LoopbackHosts answers 421 on every route, mounts too, unless the Host header is localhost, a name below it, or a
	// loopback address, with or without port. A server without keys needs it: any web page could reach it else, by
	// pointing a name of its own at 127.0.0.1. False answers to any name.
	LoopbackHosts bool
	// Origins are the origins whose pages may use the API, as browsers write them (scheme://host, :port unless it is the
	// scheme's own), or "*" for all. None means that only pages of the server's own origin may.
	Origins []string

	Logger   *slog.Logger         // nil discards
	Registry *prometheus.Registry // nil makes one; served at /metrics
	Tracer   trace.Tracer         // nil traces nothing, and still passes a caller's traceparent on

	Limits
}

// Limits are the server's bounds. A zero value has the default that its comment names.
type Limits struct {
	// RequestsPerMinute is how many runs a tenant may start on this node in a minute, on average and at once, counts of tokens
	// and compactions included; more get 429. 0 sets no limit.
	RequestsPerMinute int
	// MaxBody bounds a request body, in bytes: schema.MaxBody.
	MaxBody int64
	// PlacingBytes bounds the bodies of all create requests that were read and whose responses have not begun yet: 256 MiB. They may
	// wait for the log, and each of them is held about three times. Beyond it the answer is 503. MaxBody always fits.
	PlacingBytes int64
	// MaxHeader bounds request line and headers, in bytes: 64 KiB.
	MaxHeader int
	// MaxConns bounds open connections: 18 000, below the usual 20 000 descriptors. One more is closed at once,
	// unanswered: an EventSource reconnects after that, and gives up for good after a 503.
	MaxConns int
	// SendBuffer is the kernel's send buffer of a connection, in bytes: 16 KiB. Measured: 300 subscribers that do not
	// read hold 3.95 MB of kernel memory each with the system's default, and 138 KB each with this.
	SendBuffer int

	HeaderTimeout time.Duration // to read the headers: 5 s
	BodyTimeout   time.Duration // to read the body: 30 s
	IdleTimeout   time.Duration // between two requests of a connection: 60 s
	WriteTimeout  time.Duration // for the peer to take each 32 KiB: 10 s
	FindTimeout   time.Duration // to find what a create request refers to, for one answer of the log to ingest, and for a turn there: 10 s
	CommitTimeout time.Duration // to commit a command and its request record: 30 s
	// ProducerTimeout is how long a producer may be silent in the middle of a body: 2 min.
	ProducerTimeout time.Duration
	Heartbeat       time.Duration // of silence before a comment is sent: 15 s

	// DrainSpread is over how long a drain spreads its cuts, so that not all subscribers reconnect at once: 1 s.
	DrainSpread time.Duration
	// DrainTimeout bounds the whole drain; what is open then is closed: 15 s.
	DrainTimeout time.Duration

	Socket SocketLimits // of each WebSocket
}

func (l Limits) withDefaults() Limits {
	l.MaxBody = cmp.Or(l.MaxBody, schema.MaxBody)
	l.PlacingBytes = cmp.Or(l.PlacingBytes, 256<<20)
	l.MaxHeader = cmp.Or(l.MaxHeader, 64<<10)
	l.MaxConns = cmp.Or(l.MaxConns, 18_000)
	l.SendBuffer = cmp.Or(l.SendBuffer, 16<<10)
	l.HeaderTimeout = cmp.Or(l.HeaderTimeout, 5*time.Second)
	l.BodyTimeout = cmp.Or(l.BodyTimeout, 30*time.Second)
	l.IdleTimeout = cmp.Or(l.IdleTimeout, 60*time.Second)
	l.WriteTimeout = cmp.Or(l.WriteTimeout, 10*time.Second)
	l.FindTimeout = cmp.Or(l.FindTimeout, 10*time.Second)
	l.CommitTimeout = cmp.Or(l.CommitTimeout, 30*time.Second)
	l.ProducerTimeout = cmp.Or(l.ProducerTimeout, 2*time.Minute)
	l.Heartbeat = cmp.Or(l.Heartbeat, 15*time.Second)
	l.DrainSpread = cmp.Or(l.DrainSpread, time.Second)
	l.DrainTimeout = cmp.Or(l.DrainTimeout, 15*time.Second)
	l.Socket = l.Socket.withDefaults(l.MaxBody)
	return l
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.withDefaults()
	if c.Admit == nil {
		c.Admit = func(context.Context, *schema.CreateRequest) error { return nil }
	}
	if c.Models == nil {
		c.Models = func(context.Context) ([]Model, error) { return nil, nil }
	}
	if c.Expect == nil {
		c.Expect = func(schema.Ref) func() { return func() {} }
	}
	c.Keys = slices.Clone(c.Keys)
	for i := range c.Keys {
		c.Keys[i] = c.Keys[i].withDefaults()
	}
	switch {
	case c.Tenants == nil && len(c.Keys) > 0:
		c.Tenants = keys(c.Keys)
	case c.Tenants == nil:
		c.Tenants = oneTenant(defaultTenant)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider().Tracer("")
	}
	return c
}
