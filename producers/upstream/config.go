package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Config describes one upstream. Name and Dialect must be there, and BaseURL unless the dialect is demo; a zero field
// takes the default that stands beside it.
type Config struct {
	Name    string   // what the operator calls it; shown as owned_by in GET /v1/models
	Dialect string   // chat, responses, messages or demo
	BaseURL string   // up to and with the version: https://api.openai.com/v1
	APIKey  string   // sent as a bearer token, in dialect messages as x-api-key, and nowhere else; "" sends none
	Models  []string // names it serves, * standing for any text; default: *, and for demo: demo, demo-slow
	Model   string   // what it is asked for in the place of such a name; "" asks for the name itself

	// Retries is how often a call that failed before its first event, and may pass, is made again here; nil is 2, for
	// demo 0.
	Retries *int
	// Fallback names the upstreams that are called when this one has failed before the first event of a turn, in order.
	// Their own fallbacks do not count.
	Fallback []string
	MaxCalls int           // calls under way at once; 0: no limit
	MaxWait  time.Duration // in line for such a call; 30 s

	// MaxTokensName is the member that carries max_output_tokens in dialect chat: max_completion_tokens by default,
	// since OpenAI's reasoning models refuse the older max_tokens and no upstream takes both reliably. Servers that
	// know only the older name ignore the newer one: set max_tokens for them.
	MaxTokensName string
	// SendReasoning gives earlier reasoning back to a chat upstream, as reasoning_content. Off by default: some
	// upstreams need it for tool calls, others refuse it, most ignore it.
	SendReasoning bool
	// MaxTokens bounds an answer in dialect messages, which demands a bound, where the request has no
	// max_output_tokens: 32 000, the most that every model since Claude 4 takes. An answer that reaches it is incomplete.
	MaxTokens int64
	// CachePrompts has a messages upstream keep each prompt for the calls that go on from it. Off by default: what is
	// read again costs a tenth, what is never read again a quarter more.
	CachePrompts bool

	// MCP says who lists and calls the MCP servers of requests: gateway, the default, or passthrough: then the entries, with
	// the credentials that callers give for them, go to the upstream. Only dialect responses has words for it.
	MCP string

	UserAgent string // how the caller calls itself, in a header of every request; midstream

	// Resume makes calls in the background of the upstream, which then keeps them: one that breaks off, or whose node dies, is
	// taken up where it was. Only dialect responses has words for it. Off by default: the upstream then stores what it is asked,
	// and says, and is billed for what nobody waits for; many that speak the dialect cannot do it, and with those that can the
	// first token comes later.
	Resume bool

	DialTimeout time.Duration // one TCP connection, and one TLS handshake; 5 s
	FirstByte   time.Duration // from the request to the first byte of an answer; 2 min: a long prompt is read first
	FirstToken  time.Duration // from the request to the first event of an answer; 5 min, FirstByte if that is longer
	Idle        time.Duration // between two bytes of an answer; 60 s
	Total       time.Duration // the whole call; 60 min
	ListTimeout time.Duration // listing an upstream's models; 3 s

	MaxEventBytes int // one event; 1 MiB, in dialect responses 8 MiB: its last event repeats the whole output
	MaxBytes      int // one answer; 32 MiB
	MaxEvents     int // one answer; 200 000

	// Pause is how it is waited between two tries, and in dialect demo between two deltas; nil waits by the real clock.
	Pause func(ctx context.Context, d time.Duration) error
	// Logger receives one debug line for each call, without content; nil discards it.
	Logger *slog.Logger
}

const (
	maxTokens           = "max_tokens"
	maxCompletionTokens = "max_completion_tokens"

	maxRetries     = 10
	defaultRetries = 2
)

// The settings of Config.MCP.
const (
	mcpGateway     = "gateway"
	mcpPassthrough = "passthrough"
)

func (c Config) withDefaults() Config {
	if len(c.Models) == 0 {
		c.Models = []string{"*"}
	}
	set(&c.MaxTokensName, maxCompletionTokens)
	set(&c.MaxTokens, 32_000)
	set(&c.UserAgent, "midstream")
	set(&c.DialTimeout, 5*time.Second)
	set(&c.FirstByte, 2*time.Minute)
	set(&c.FirstToken, max(5*time.Minute, c.FirstByte))
	set(&c.Idle, time.Minute)
	set(&c.Total, time.Hour)
	set(&c.ListTimeout, 3*time.Second)
	set(&c.MaxWait, 30*time.Second)
	if c.Retries == nil {
		c.Retries = new(defaultRetries)
	}
	if c.Pause == nil {
		c.Pause = pause
	}
	set(&c.MaxEventBytes, 1<<20)
	set(&c.MaxBytes, 32<<20)
	set(&c.MaxEvents, 200_000)
	set(&c.Logger, slog.New(slog.DiscardHandler))
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validatePolicy checks how an upstream may be called. All defaults are in.
func (c Config) validatePolicy() error {
	switch {
	case *c.Retries < 0 || *c.Retries > maxRetries:
		return fmt.Errorf("upstream %s: retries %d: not between 0 and %d", c.Name, *c.Retries, maxRetries)
	case c.MaxCalls < 0:
		return fmt.Errorf("upstream %s: max_calls %d: less than 0", c.Name, c.MaxCalls)
	case min(c.FirstByte, c.FirstToken, c.Idle, c.Total, c.MaxWait) < 0:
		return fmt.Errorf("upstream %s: a duration is less than 0", c.Name)
	case len(c.Model) > maxModelName:
		return fmt.Errorf("upstream %s: model is longer than %d bytes", c.Name, maxModelName)
	}
	return nil
}

// runsMCP reports whether the upstream is to run MCP tools itself.
func (c Config) runsMCP() bool { return c.MCP == mcpPassthrough }

// validateMCP checks who is to run MCP tools.
func (c Config) validateMCP() error {
	switch {
	case c.MCP != "" && c.MCP != mcpGateway && c.MCP != mcpPassthrough:
		return fmt.Errorf("upstream %s: mcp %q is neither %s nor %s", c.Name, c.MCP, mcpGateway, mcpPassthrough)
	case c.MCP == mcpPassthrough && c.Dialect != dialectResponses:
		return fmt.Errorf("upstream %s: mcp %s needs dialect %s, but it has %s: its own words know no MCP", c.Name, c.MCP, dialectResponses, c.Dialect)
	}
	return nil
}

// validateResume checks who is to keep calls.
func (c Config) validateResume() error {
	if c.Resume && c.Dialect != dialectResponses {
		return fmt.Errorf("upstream %s: resume needs dialect %s, but it has %s", c.Name, dialectResponses, c.Dialect)
	}
	return nil
}

// validate checks what a dialect with a network needs. Its errors name the upstream, never the key.
func (c Config) validate() error {
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return fmt.Errorf("upstream %s: base URL is not an absolute http or https URL", c.Name)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("upstream %s: base URL has user info, a query or a fragment", c.Name)
	case c.MaxTokensName != maxTokens && c.MaxTokensName != maxCompletionTokens:
		return fmt.Errorf("upstream %s: %q is neither %s nor %s", c.Name, c.MaxTokensName, maxTokens, maxCompletionTokens)
	case c.MaxTokens < 1:
		return fmt.Errorf("upstream %s: %d is not a number of tokens", c.Name, c.MaxTokens)
	case strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("upstream %s: API key has characters that a header cannot carry", c.Name)
	}
	return nil
}
