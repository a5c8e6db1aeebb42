package upstream

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// chat is the Chat Completions API, as OpenAI and those who follow it speak it. Reasoning comes first, as
// reasoning_content (DeepSeek, vLLM, llama.cpp) or reasoning (OpenRouter, Ollama, newer vLLM); then text or a refusal;
// then calls. What is spoken in another order is told in that order, as further items.
//
// The answer has ended when a finish_reason is there: usage, which some send behind it, is waited for, [DONE] is not
// needed. Without a finish_reason the answer was cut.
var chat = dialect{
	path: "/chat/completions",
	list: "/models",
	sign: bearer,
	serves: []string{
		paramVerbosity, paramLogprobs, paramTopLogprobs, paramCacheOptions, paramCacheRetention, paramPresence, paramFrequency,
	},
	encode: func(c *Config, r *Request) (any, error) { return encodeChat(c, r) },
	decode: func(a *answer) decoder { return &chatDecoder{answer: a, calls: chatCalls{answer: a}} },
}

// doneMark is the data of the last event.
var doneMark = []byte(schema.DoneMark)

type chatDecoder struct {
	*answer
	calls   chatCalls
	finish  string
	outcome Outcome
}

// chatChunk is a chat.completion.chunk, or a whole chat.completion.
type chatChunk struct {
	Choices     []chatChoice   `json:"choices"`
	Usage       jsontext.Value `json:"usage"`
	ServiceTier jsontext.Value `json:"service_tier"`
	Error       jsontext.Value `json:"error"`
}

type chatChoice struct {
	Index        int            `json:"index"`
	Delta        chatMessage    `json:"delta"`
	Message      chatMessage    `json:"message"`
	Logprobs     jsontext.Value `json:"logprobs"`
	FinishReason *string        `json:"finish_reason"`
}

type chatMessage struct {
	Content          jsontext.Value `json:"content"`
	Refusal          jsontext.Value `json:"refusal"`
	ReasoningContent jsontext.Value `json:"reasoning_content"`
	Reasoning        jsontext.Value `json:"reasoning"`
	ToolCalls        []chatToolCall `json:"tool_calls"`
	FunctionCall     *chatFunction  `json:"function_call"`
}

func (d *chatDecoder) ended() bool { return d.finish != "" }

func (d *chatDecoder) event(data []byte) (done bool, err error) {
	if bytes.HasPrefix(data, doneMark) {
		return true, nil
	}
	var c chatChunk
	if err := json.Unmarshal(data, &c, lenient); err != nil {
		return false, d.notChunk(data, err)
	}
	if len(c.Choices) == 0 || len(c.Error) > 0 {
		if r := parseRefusal(data); r != nil {
			return false, d.failure(r)
		}
	}
	for i := range c.Choices {
		if c.Choices[i].Index != 0 {
			continue // n is 1: nobody has asked for others
		}
		if err := d.choice(&c.Choices[i]); err != nil {
			return false, err
		}
	}
	if u := chatUsage(c.Usage); u != nil {
		d.outcome.Usage = u
	}
	if tier := word(text(c.ServiceTier)); tier != "" {
		d.outcome.ServiceTier = tier
	}
	return false, nil
}

// notChunk is for data that is no chunk: an error, perhaps.
func (d *chatDecoder) notChunk(data []byte, cause error) error {
	if r := parseRefusal(data); r != nil {
		return d.failure(r)
	}
	return broken(cause, "upstream %s sent an event that is not a chat completion", d.name)
}

func (d *chatDecoder) choice(c *chatChoice) error {
	probs, err := chatLogprobs(c.Logprobs)
	if err != nil {
		return broken(err, "upstream %s sent logprobs that cannot be read", d.name)
	}
	for _, m := range []*chatMessage{&c.Delta, &c.Message} {
		if err := d.message(m, probs); err != nil {
			return err
		}
	}
	if c.FinishReason == nil || *c.FinishReason == "" {
		return nil
	}
	d.finish = *c.FinishReason
	switch d.finish {
	case "error", "abort", "network_error", "insufficient_system_resource":
		d.finish = ""
		return broken(nil, "upstream %s gave up in the midst of its answer", d.name)
	}
	return nil
}

func (d *chatDecoder) message(m *chatMessage, probs []jsontext.Value) error {
	reasoning := m.ReasoningContent
	if blank(reasoning) {
		reasoning = m.Reasoning
	}
	for _, s := range []struct {
		kind  string
		raw   jsontext.Value
		probs []jsontext.Value
	}{
		{schema.PartReasoningText, reasoning, nil},
		{schema.PartOutputText, m.Content, probs},
		{schema.PartRefusal, m.Refusal, nil},
	} {
		if err := d.speak(s.kind, s.raw, s.probs); err != nil {
			return err
		}
	}
	for i := range m.ToolCalls {
		if err := d.calls.take(&m.ToolCalls[i]); err != nil {
			return err
		}
	}
	if m.FunctionCall != nil {
		return d.calls.takeLegacy(m.FunctionCall)
	}
	return nil
}

// blank reports whether a piece is nothing, null or "": how servers fill a chunk that is about something else.
func blank(raw jsontext.Value) bool {
	return len(raw) == 0 || raw.Kind() == 'n' || string(raw) == `""`
}

// speak streams a piece of text.
func (d *chatDecoder) speak(kind string, raw jsontext.Value, probs []jsontext.Value) error {
	switch {
	case blank(raw):
		return nil
	case raw.Kind() != '"':
		return broken(nil, "upstream %s sent content that is not text", d.name)
	}
	if err := d.calls.settle(); err != nil {
		return err
	}
	return d.items.sayJSON(kind, raw, probs...)
}

func (d *chatDecoder) end() (Outcome, error) {
	status := schema.StatusCompleted
	switch d.finish {
	case "length":
		d.outcome.Incomplete = incompleteTokens
	case "content_filter":
		d.outcome.Incomplete = incompleteFilter
	}
	if d.outcome.Incomplete != "" {
		status = schema.StatusIncomplete
	}
	if err := d.calls.close(status); err != nil {
		return Outcome{}, err
	}
	return d.outcome, d.items.close(status)
}

// chatLogprobs gives the tokens of choices[].logprobs, which have the form that the Responses API uses.
func chatLogprobs(raw jsontext.Value) ([]jsontext.Value, error) {
	if raw.Kind() != '{' {
		return nil, nil
	}
	raw, err := mend(raw)
	if err != nil {
		return nil, err
	}
	var p struct {
		Content []jsontext.Value `json:"content"`
	}
	return p.Content, json.Unmarshal(raw, &p)
}

// chatUsage reads a usage; nil for none, and for one that cannot be read: an answer is not lost for its bill.
func chatUsage(raw jsontext.Value) *schema.Usage {
	var u struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
		CacheHit   int64 `json:"prompt_cache_hit_tokens"` // DeepSeek
		PromptMore struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		CompletionMore struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	}
	if raw.Kind() != '{' || json.Unmarshal(raw, &u, lenient) != nil {
		return nil
	}
	return &schema.Usage{
		InputTokens:         u.Prompt,
		InputTokensDetails:  schema.InputTokensDetails{CachedTokens: max(u.PromptMore.Cached, u.CacheHit)},
		OutputTokens:        u.Completion,
		OutputTokensDetails: schema.OutputTokensDetails{ReasoningTokens: u.CompletionMore.Reasoning},
		TotalTokens:         max(u.Total, u.Prompt+u.Completion),
	}
}
