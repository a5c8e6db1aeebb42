package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The roles of a node.
const (
	roleGateway  = "gateway"
	roleProducer = "producer"
)

// The settings of Config.Demo.
const (
	demoAuto = "auto"
	demoOn   = "on"
)

// Config is everything that an operator may say: one struct for flags, MIDSTREAM_* variables and the YAML file. The
// flag --nats.log-age, the variable MIDSTREAM_NATS_LOG_AGE and the file's key nats.log_age are one setting; the flag
// wins over the variable, and both over the file. Lists of objects are in the file alone. midstream.example.yaml is
// made from the tags here.
type Config struct {
	Listen         string   `default:"127.0.0.1:8080" help:"Address of the API, host:port. Port 0 takes a free one."`
	InsecureListen bool     `help:"Allow an address that is not loopback, and requests whose Host header is not, though there are no keys: whoever reaches the port may use every model and MCP server of this configuration."`
	Roles          []string `default:"gateway,producer,audit" enum:"gateway,producer,audit" help:"What this node does: gateway answers HTTP, producer works on runs. audit is accepted and does nothing yet."`
	Node           string   `placeholder:"NAME" help:"Name of this node in claims, logs and metrics. Default: the host name."`
	Demo           string   `default:"auto" enum:"auto,on,off" help:"The scripted models demo and demo-slow, and the MCP server demo, which need no key. auto: if there is no upstream."`

	Upstreams []UpstreamConfig `kong:"-" help:"LLM endpoints, in order: the first whose models match is asked. None, with OPENAI_API_KEY in the environment: OpenAI, or OPENAI_BASE_URL."`

	Keys []KeyConfig `kong:"-" help:"API keys that callers must have. None: everybody who reaches the address may do everything."`

	NATS   NATSConfig   `embed:"" prefix:"nats."`
	MCP    MCPConfig    `embed:"" prefix:"mcp."`
	CORS   CORSConfig   `embed:"" prefix:"cors."`
	Limits LimitsConfig `embed:"" prefix:"limits."`

	WebSocket WebSocketConfig `name:"websocket" embed:"" prefix:"websocket."`

	Log LogConfig `embed:"" prefix:"log."`
}

// NATSConfig says where the log is.
type NATSConfig struct {
	URL      string   `placeholder:"URL" help:"Existing NATS servers, comma-separated. Empty: a server inside of this process."`
	User     string   `placeholder:"NAME" help:"User name, for the existing server or for nats.listen."`
	Password Secret   `help:"Password that goes with it."`
	Creds    string   `placeholder:"FILE" help:"File of NATS credentials, instead of user and password."`
	CA       string   `placeholder:"FILE" help:"File of PEM certificates that the server's must be signed by. Turns TLS on, as a tls:// URL does."`
	Cert     string   `placeholder:"FILE" help:"File of this node's own PEM certificate, for servers that ask for one."`
	Key      string   `placeholder:"FILE" help:"File of the certificate's PEM key."`
	Monitor  []string `placeholder:"URL" help:"HTTP monitoring URLs of the existing servers, to read how often they call fsync, and to see whether a replica has lost messages."`
	Data     string   `default:"./midstream-data" help:"Directory of the embedded server. One process at a time."`
	Listen   string   `placeholder:"HOST:PORT" help:"Address on which other programs reach the embedded server. Needs user and password."`

	ProducerUser     string `placeholder:"NAME" help:"Another user of the embedded server, for programs that send events over NATS: it may publish to ms.ingest.> and do nothing else."`
	ProducerPassword Secret `help:"Password that goes with it."`

	Sync SyncPolicy `default:"always" help:"When the embedded server calls fsync: always (before each acknowledgement), or an interval such as 1s, which is many times faster and may lose that much in a power cut."`

	Partitions int      `placeholder:"NUMBER" help:"Partitions of the log, fixed by the first start. 0: 16 at first, then what is there."`
	Replicas   int      `default:"1" help:"Copies of every stream, in a NATS cluster."`
	SecretKey  Secret   `help:"32 bytes in base64 (openssl rand -base64 32), the same on all nodes: seals the credentials that callers give for MCP servers. The embedded server makes its own. A node with another key is refused."`
	OtherKeys  []Secret `placeholder:"KEY" help:"Keys that open what is sealed, and seal nothing. To change secret_key, name the new one here on every node; then make it secret_key and name the old one here; then take that out."`
	RenewKey   bool     `help:"Start with this secret_key although the one before is lost. What that has sealed stays closed: credentials of runs in the queue, and compactions."`
}

// MCPConfig says which MCP servers may be used.
type MCPConfig struct {
	AllowPrivate []netip.Prefix    `placeholder:"NETWORK" help:"Networks opened to server URLs that clients name; plain http and any port there too. None by default."`
	ListTimeout  time.Duration     `default:"10s" help:"Time to list a server's tools."`
	CallTimeout  time.Duration     `default:"60s" help:"Time for one tool call, from its start or from the last sign of progress that its server gave."`
	CallTotal    time.Duration     `default:"10m" help:"Time for one tool call in all, whatever progress its server tells of."`
	Servers      []MCPServerConfig `kong:"-" help:"Servers that a request may name by server_label alone."`
}

// MCPServerConfig is a server of the operator's: a URL or a command.
type MCPServerConfig struct {
	Label           string            `yaml:"label"            help:"The server_label that requests name it by."`
	URL             string            `yaml:"url"              help:"Endpoint of a streamable HTTP or SSE server. Trusted: it may be private."`
	Command         []string          `yaml:"command"          help:"Or a program that speaks MCP on its standard input and output."`
	Env             map[string]Secret `yaml:"env"              help:"Added to the command's environment, which has PATH, HOME, LANG and TMPDIR else."`
	Authorization   Secret            `yaml:"authorization"    help:"Token for the URL, sent as a bearer token."`
	Headers         map[string]Secret `yaml:"headers"          help:"Headers for the URL."`
	ConnectorID     string            `yaml:"connector_id"     help:"A connector_id that requests may name instead: they reach the URL with their own credentials, never with those given here."`
	IdempotentTools []string          `yaml:"idempotent_tools" help:"Tools that may be called a second time when a node died during the first. * for all."`
}

// KeyConfig is an API key.
type KeyConfig struct {
	Name   string   `yaml:"name"   help:"Name in logs, and for who is refused."`
	Secret Secret   `yaml:"secret" help:"The key: what callers send as Authorization: Bearer. 16 characters at least."`
	SHA256 string   `yaml:"sha256" help:"Or its SHA-256 in hex, so that the key itself is nowhere here: printf %s KEY | sha256sum."`
	Tenant string   `yaml:"tenant" help:"Whose responses and conversations it reaches, and no others. Default: default."`
	Scopes []string `yaml:"scopes" help:"What it is good for: ingest (POST /v1/responses/{id}/events), responses (all else below /v1). Default: both."`
}

// UpstreamConfig is one LLM endpoint.
type UpstreamConfig struct {
	Name    string   `yaml:"name"     help:"Name in GET /v1/models and in logs."`
	Dialect string   `yaml:"dialect"  help:"chat (any /v1/chat/completions), responses (any /v1/responses), messages (Anthropic, any /v1/messages) or demo."`
	BaseURL string   `yaml:"base_url" help:"Address up to and with the version."`
	APIKey  Secret   `yaml:"api_key"  help:"Sent as a bearer token, in dialect messages as x-api-key. Empty: none."`
	Models  []string `yaml:"models"   help:"Model names it serves; * stands for any text. Default: all."`

	Model    string        `yaml:"model"     help:"What it is asked for in the place of the name that a request gives. Default: that name."`
	Retries  *int          `yaml:"retries"   help:"How often a call that failed before its first event is made again here, if that may help: 429 (not a used-up quota), 408, 5xx, timeouts, lost connections. 0 to 10, default 2. Retry-After is kept to, up to 60s."`
	Fallback []string      `yaml:"fallback"  help:"Names of upstreams to call when this one has failed before its first event, in order. They get the request and all its context, under their own model. Default: none."`
	MaxCalls int           `yaml:"max_calls" help:"Calls under way at once on this node. More wait in line. 0: no limit."`
	MaxWait  time.Duration `yaml:"max_wait"  help:"Time that a call waits in line for max_calls; then it goes to the fallback, or ends as 429. Default 30s."`

	MaxTokensName string `yaml:"max_tokens_name" help:"Dialect chat: max_completion_tokens (default), or max_tokens for servers that know only the older name."`
	SendReasoning bool   `yaml:"send_reasoning"  help:"Dialect chat: give earlier reasoning back, as reasoning_content."`
	MaxTokens     int64  `yaml:"max_tokens"      help:"Dialect messages: tokens of an answer whose request has no max_output_tokens. Default 32000."`
	CachePrompts  bool   `yaml:"cache_prompts"   help:"Dialect messages: cache each prompt for the calls that go on from it. Reading costs less then, writing more."`

	MCP string `yaml:"mcp" help:"Who lists and calls the MCP servers of requests: gateway (default), or passthrough: the upstream, which gets the entries with the callers' credentials. Dialect responses only."`

	Resume bool `yaml:"resume" help:"Dialect responses: make calls in the background of the upstream, so that one that breaks off, or whose node dies, goes on with its next token. Default false: the upstream then stores what it is asked and says, many that speak the dialect cannot do it, and the first token may come later."`

	FirstByte  time.Duration `yaml:"first_byte"  help:"Time to the first byte of an answer. Default 2m."`
	FirstToken time.Duration `yaml:"first_token" help:"Time to the first event of an answer: a keepalive is none. Default 5m, or first_byte if that is longer."`
	Idle       time.Duration `yaml:"idle"        help:"Time between two bytes of an answer. Default 1m."`
	Total      time.Duration `yaml:"total"       help:"Time for a whole answer. Default 1h."`
}

// CORSConfig says which web pages may use the API, besides those of its own origin.
type CORSConfig struct {
	Origins []string `placeholder:"ORIGIN" help:"Origins whose pages may use the API, as browsers write them: https://app.example.com, http://localhost:3000. * for all. None by default."`
}

// LimitsConfig bounds what a node does.
type LimitsConfig struct {
	Runs      int           `default:"256" help:"Runs that this node works on at once. More wait in the queue."`
	Queued    int           `default:"4096" help:"Runs of the whole cluster that may wait in the queue for a free slot. Then new responses get 429."`
	QueueWait time.Duration `default:"1m"  help:"How long the first of them may have waited. Then new responses get 429."`
	Turns     int           `default:"16"  help:"Model calls of one response; then it fails."`
	RunTime   time.Duration `default:"1h"  help:"Time of one response, from the request to its end; then it fails."`
	AckWait   time.Duration `default:"6s"  help:"After how much silence of a node its runs are given to another."`
	Heartbeat time.Duration `default:"2s"  help:"How often a node says that it still works on a run."`

	RequestsPerMinute int `default:"0" help:"Responses that a tenant may start on this node in a minute, on average and at once, counts of tokens and compactions included; more get 429. Each node counts for itself. 0: no limit."`

	Body         Bytes         `default:"1MiB"  help:"Size of a request body. More than 4 MiB of a request are never taken."`
	Connections  int           `default:"18000" help:"Open connections. Stay below the limit of open files (ulimit -n)."`
	SSEHeartbeat time.Duration `default:"15s"   name:"sse-heartbeat" help:"After how much silence a stream is sent a comment."`
	Drain        time.Duration `default:"15s"   help:"How long a stop waits for open requests, and two thirds of it, 10s at most, for tool calls that are under way; then the log may take another 10s to be closed."`

	LogAge     time.Duration `help:"How long the hot log is kept. Default: run_time and an hour."`
	LogBytes   Bytes         `default:"4GiB"   help:"Size of the hot log. At 70 % of it new responses get 503."`
	QueueBytes Bytes         `default:"256MiB" help:"Size of the queue of runs."`
	ArchiveAge time.Duration `default:"720h"   help:"How long finished responses are kept."`

	DiskFree Bytes `placeholder:"SIZE" help:"What new responses leave free of the embedded server's disk; below it they get 503, and below a tenth of it open ones wait for room. Default: a tenth of the disk, 10GiB at most."`

	IngestBytes  Bytes         `default:"1GiB" help:"Size of what other producers have sent in the time of log_age. Above it more gets 503."`
	ProducerIdle time.Duration `default:"2m"   help:"How long a producer that feeds a response may say nothing before it has ended; then the response fails."`

	ConversationBytes Bytes `default:"4GiB" help:"Size of all conversations, which are kept until they are deleted. At 70 % of it new ones, and items, get 503."`
}

// WebSocketConfig bounds each WebSocket. The size of a message is bounded by limits.body.
type WebSocketConfig struct {
	Age        time.Duration `default:"1h"   help:"How long a connection may be open. Then its client connects anew."`
	Lanes      int           `default:"32"   help:"Named lanes of a connection, over its whole life."`
	Active     int           `default:"16"   help:"Responses of a connection that run at once, whatever its lanes. More wait."`
	Queue      int           `default:"16"   help:"Requests that wait in one lane. Behind that nothing more is read."`
	QueueBytes Bytes         `default:"4MiB" help:"Size of the requests that wait in all lanes of a connection. Behind that nothing more is read. Less than limits.body counts as that."`
	Kept       int           `default:"16"   help:"Responses with store: false that a connection can go on from."`
	KeptBytes  Bytes         `default:"4MiB" help:"Size of what is remembered of them. Those used longest ago are forgotten first."`
}

// LogConfig says what is logged, to standard error.
type LogConfig struct {
	Level  string `default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	Format string `default:"auto" enum:"auto,text,json"        help:"text, json, or auto: text on a terminal."`
}

// HasRole reports whether the node does that.
func (c *Config) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// DemoOn reports whether the scripted models and the demo MCP server are there.
func (c *Config) DemoOn() bool {
	return c.Demo == demoOn || (c.Demo == demoAuto && len(c.Upstreams) == 0)
}

// LogAge is how long the hot log is kept: longer than the longest run, so that no run loses its beginning.
func (c *Config) LogAge() time.Duration {
	if c.Limits.LogAge != 0 {
		return c.Limits.LogAge
	}
	return c.Limits.RunTime + time.Hour
}

// complete fills in what has its default from outside of the configuration.
func (c *Config) complete() {
	c.addOpenAI()
	if c.Node == "" {
		c.Node = hostName()
	}
}

// check finds what no single setting shows. Its errors say what to do.
func (c *Config) check() error {
	return errors.Join(c.validateListen(), c.validateKeys(), c.validateNATS(), c.validateDemo(), c.validateUpstreams(), c.validateCORS(),
		c.validateLimits(), c.validateWebSocket(), c.validateServers())
}

func (c *Config) validateListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen %q: not host:port", c.Listen)
	}
	if c.InsecureListen || isLoopback(host) || len(c.Keys) > 0 {
		return nil
	}
	return fmt.Errorf("listen %s: there are no API keys (keys), so whoever reaches this port may use every model and MCP server of this "+
		"node; configure some, listen on 127.0.0.1 behind a proxy that authenticates, or set insecure_listen: true", c.Listen)
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}

func (c *Config) validateNATS() error {
	n := &c.NATS
	if err := validateNATSURLs(n.URL); err != nil {
		return err
	}
	switch {
	case (n.Cert == "") != (n.Key == ""):
		return errors.New("nats.cert and nats.key go together")
	case (n.ProducerUser == "") != (n.ProducerPassword == ""):
		return errors.New("nats.producer_user and nats.producer_password go together")
	case n.ProducerUser != "" && n.Listen == "":
		return errors.New("nats.producer_user: without nats.listen nobody but this node reaches the embedded server; users of another one are its own matter")
	case n.ProducerUser != "" && n.ProducerUser == n.User:
		return errors.New("nats.producer_user: nats.user may do everything; a producer needs a name of its own")
	case n.URL != "" && (n.Listen != "" || n.Sync != 0):
		return errors.New("nats.listen and nats.sync are settings of the embedded server, but nats.url names another one")
	case n.URL != "" && n.SecretKey == "":
		return errors.New("nats.secret_key: nodes on an existing NATS need one, the same on all: openssl rand -base64 32")
	}
	return nil
}

// validateNATSURLs reads the list as the NATS client does: servers between commas, the scheme optional. Its errors quote
// nothing, since what is malformed may be a password with an odd character in it. For the same reason any @ is refused,
// not only where a parser sees user info.
func validateNATSURLs(list string) error {
	if strings.Contains(list, "@") {
		return errors.New("nats.url: put user and password in nats.user and nats.password, where no log shows them")
	}
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if server == "" {
			continue
		}
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		if u, err := url.Parse(server); err != nil || u.Hostname() == "" {
			return errors.New("nats.url: not a list of URLs such as nats://host:4222")
		}
	}
	return nil
}

func (c *Config) validateDemo() error {
	switch {
	case len(c.Upstreams) == 0 && !c.DemoOn():
		return errors.New("demo is off and there is no upstream: nothing could answer a request")
	case c.DemoOn() && (!c.HasRole(roleGateway) || !c.HasRole(roleProducer)):
		return errors.New("the demo needs both roles, gateway and producer: name an upstream, or set demo: off")
	}
	return nil
}

// validateCORS refuses what no browser would ever send as its origin.
func (c *Config) validateCORS() error {
	for _, origin := range c.CORS.Origins {
		u, err := url.Parse(origin)
		switch {
		case origin == "*":
		case err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin:
			return fmt.Errorf("cors.origins: %q is not an origin such as https://app.example.com, or *", origin)
		case strings.ContainsAny(u.Host, "*?"):
			return fmt.Errorf("cors.origins: %q: patterns are not known, only whole origins, or * for all", origin)
		case strings.ToLower(origin) != origin, u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
			return fmt.Errorf("cors.origins: %q: browsers write an origin in lower case, and without the scheme's own port", origin)
		}
	}
	return nil
}

func (c *Config) validateLimits() error {
	l := &c.Limits
	switch {
	case c.LogAge() <= l.RunTime:
		return fmt.Errorf("limits.log_age %s: must be longer than limits.run_time %s, or a run could lose its beginning",
			c.LogAge(), l.RunTime)
	case min(l.RunTime, l.ProducerIdle, l.QueueWait, l.AckWait, l.Heartbeat, l.SSEHeartbeat, l.Drain, l.ArchiveAge) <= 0:
		return errors.New("limits: a duration must be more than 0")
	case l.RequestsPerMinute < 0:
		return errors.New("limits.requests_per_minute: must not be negative; 0 sets no limit")
	case l.DiskFree < 0:
		return errors.New("limits.disk_free: must not be negative")
	case min(l.Runs, l.Queued, l.Turns, l.Connections) <= 0 || min(l.Body, l.LogBytes, l.QueueBytes, l.IngestBytes, l.ConversationBytes) <= 0:
		return errors.New("limits: a number or size must be more than 0")
	case l.Heartbeat >= l.AckWait:
		return fmt.Errorf("limits.heartbeat %s: must be shorter than limits.ack_wait %s", l.Heartbeat, l.AckWait)
	}
	return nil
}

func (c *Config) validateWebSocket() error {
	w := &c.WebSocket
	if min(w.Lanes, w.Active, w.Queue, w.Kept) <= 0 || min(w.QueueBytes, w.KeptBytes) <= 0 || w.Age <= 0 {
		return errors.New("websocket: a duration, number or size must be more than 0")
	}
	return nil
}
