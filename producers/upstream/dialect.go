package upstream

import "net/http"

// served is an upstream as the router holds it.
type served interface {
	Upstream
	config() *Config
	// check says why the upstream cannot serve a request: a *schema.Error. It contacts nobody.
	check(*Request) error
	close()
}

const dialectResponses = "responses"

// dialects opens an upstream by the name of its dialect.
var dialects = map[string]func(Config) (served, error){
	"chat":           func(c Config) (served, error) { return openEndpoint(c, chat) },
	dialectResponses: func(c Config) (served, error) { return openEndpoint(c, responses) },
	"messages":       func(c Config) (served, error) { return openEndpoint(c, messages) },
	"demo":           openDemo,
}

// dialect is a wire language over HTTP.
type dialect struct {
	path     string // of a model call, below the base URL
	list     string // of the list of models
	maxEvent int    // default of Config.MaxEventBytes, unless 0

	// serves names the parameters of the table in serves.go that the dialect can say. Another one is refused before
	// encode is asked.
	serves []string
	// count and compact are what else can be asked; nil if the dialect has no such question. Both ask for the whole
	// context, as encode does.
	count, compact *errand

	// sign puts the key, and what else every request must have, into its headers.
	sign func(*Config, http.Header)
	// encode makes the body of a model call. A request that cannot be said in the dialect is a *schema.Error.
	encode func(*Config, *Request) (any, error)
	// relent takes out of a body what the upstream has refused, if the call can do without it. It takes a thing out
	// once: a refusal that comes back is final.
	relent func(body any, refusal *refusal) bool
	// decode begins to read an answer.
	decode func(*answer) decoder
}

// decoder reads one answer, event by event.
type decoder interface {
	// event takes the data of one event; done says that nothing that follows matters. An answer that comes as one JSON
	// document instead of a stream is a stream of one event.
	event(data []byte) (done bool, err error)
	// ended reports whether the upstream has said all that the call needs, so that a lost connection does not matter.
	ended() bool
	// end finishes the items, and says what the call came to. It is called once, and only if the answer has ended.
	end() (Outcome, error)
}

// answer is what a decoder works on.
type answer struct {
	req    *Request
	items  items
	name   string              // of the upstream
	redact func(string) string // takes out of an upstream's words what must not be passed on
}

// bearer is how OpenAI, and who follows it, takes a key.
func bearer(c *Config, h http.Header) {
	if c.APIKey != "" {
		h.Set("Authorization", "Bearer "+c.APIKey)
	}
}
