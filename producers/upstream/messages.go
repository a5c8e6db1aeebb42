package upstream

import (
	"bytes"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// messages is the Messages API, as Anthropic and those who follow it speak it. An answer is a list of content blocks,
// each told between its start and its stop; what ends it is message_stop, and without that it was cut.
//
//	content block           becomes
//	text                    output text; blocks that follow each other are one part
//	thinking                a reasoning item: its text is a summary, since that is what the API calls it and what clients
//	                        of the Responses API show; its signature is the item's encrypted_content
//	redacted_thinking       a reasoning item that is encrypted_content alone
//	tool_use                a function_call, or a custom_tool_call if that is what the tool was declared as
//	any other               nothing: only tools that the upstream runs itself bring them, and none are sent
//
//	stop_reason             becomes
//	max_tokens, model_context_window_exceeded
//	                        incomplete: max_output_tokens
//	refusal                 incomplete: content_filter, since a classifier has cut the model short; why, if the upstream
//	                        says so, is a refusal part behind what was said
//	pause_turn              an error: the answer would have to be fetched on, and only tools that are not sent pause
//	any other               completed
//
// Citations are left out: they come only with documents and searches for which they were asked, and none are.
var messages = dialect{
	path:   "/messages",
	list:   "/models?limit=1000", // the default is a page of 20
	sign:   signMessages,
	serves: []string{paramSummary, paramOldSummary, paramCacheOptions, paramCacheRetention},
	count:  &errand{"/messages/count_tokens", encodeMessagesCount},
	encode: func(c *Config, r *Request) (any, error) { return encodeMessages(c, r) },
	relent: relentMessages,
	decode: func(a *answer) decoder { return &messagesDecoder{answer: a, blocks: newMessagesBlocks(a)} },
}

// messagesVersion is the API's only version since 2023; what is newer is members and events, which are to be skipped by
// who does not know them.
const messagesVersion = "2023-06-01"

func signMessages(c *Config, h http.Header) {
	h.Set("Anthropic-Version", messagesVersion)
	if c.APIKey != "" {
		h.Set("X-Api-Key", c.APIKey)
	}
}

type messagesDecoder struct {
	*answer
	blocks  messagesBlocks
	stop    messagesStop
	usage   messagesUsage
	stopped bool
}

// messagesEvent is an event of a stream.
type messagesEvent struct {
	Type    string         `json:"type"`
	Message messagesWhole  `json:"message"`
	Index   int            `json:"index"`
	Block   messagesBlock  `json:"content_block"`
	Delta   jsontext.Value `json:"delta"`
	Usage   jsontext.Value `json:"usage"`
}

// messagesWhole is a message: the answer as one document, and what a stream begins with.
type messagesWhole struct {
	Content []messagesBlock `json:"content"`
	Usage   jsontext.Value  `json:"usage"`
	messagesStop
}

// messagesStop says why an answer has ended.
type messagesStop struct {
	Reason  string `json:"stop_reason"`
	Details struct {
		Explanation string `json:"explanation"`
	} `json:"stop_details"`
}

func (d *messagesDecoder) ended() bool { return d.stopped }

func (d *messagesDecoder) event(data []byte) (done bool, err error) {
	if bytes.HasPrefix(data, doneMark) { // some servers that follow Anthropic end all their streams so
		return true, nil
	}
	var e messagesEvent
	if err := json.Unmarshal(data, &e, lenient); err != nil {
		return false, d.notEvent(err)
	}
	switch e.Type {
	case "message_start":
		d.usage.take(e.Message.Usage)
	case "content_block_start":
		return false, d.blocks.begin(e.Index, &e.Block)
	case "content_block_delta":
		return false, d.blocks.add(e.Index, e.Delta)
	case "content_block_stop":
		return false, d.blocks.stop(e.Index)
	case "message_delta":
		return false, d.delta(&e)
	case "message_stop":
		d.stopped = true
	case "message":
		return true, d.whole(data)
	case "error", "":
		return false, d.errorEvent(data)
	}
	return d.stopped, nil // a ping, or what a later version of the API adds
}

func (d *messagesDecoder) notEvent(cause error) error {
	return broken(cause, "upstream %s sent an event that is not one of a message", d.name)
}

func (d *messagesDecoder) delta(e *messagesEvent) error {
	d.usage.take(e.Usage)
	var stop messagesStop
	if err := json.Unmarshal(e.Delta, &stop, lenient); err != nil {
		return d.notEvent(err)
	}
	if stop.Reason != "" {
		d.stop = stop
	}
	return nil
}

// whole takes an answer that came as one document, as a server sends it that knows no streams.
func (d *messagesDecoder) whole(data []byte) error {
	var m messagesWhole
	if err := json.Unmarshal(data, &m, lenient); err != nil {
		return d.notEvent(err)
	}
	for i := range m.Content {
		if err := d.blocks.begin(i, &m.Content[i]); err != nil {
			return err
		}
		if err := d.blocks.stop(i); err != nil {
			return err
		}
	}
	d.usage.take(m.Usage)
	d.stop, d.stopped = m.messagesStop, true
	return nil
}

// messagesStatus is the HTTP status that goes with each type of error, for those that come when it is too late for one.
var messagesStatus = map[string]int{
	"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
	"not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429,
	"api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}

// errorEvent fails with the error in an event; it lets pass what has neither a type nor an error.
func (d *messagesDecoder) errorEvent(data []byte) error {
	r := parseRefusal(data)
	if r == nil {
		return nil
	}
	r.status = messagesStatus[r.code]
	return d.failure(r)
}

func (d *messagesDecoder) end() (Outcome, error) {
	out := Outcome{Usage: d.usage.sum(), ServiceTier: d.usage.tier()}
	switch d.stop.Reason {
	case "max_tokens", "model_context_window_exceeded":
		out.Incomplete = incompleteTokens
	case "refusal":
		out.Incomplete = incompleteFilter
	case "pause_turn":
		return Outcome{}, broken(nil, "upstream %s paused in the midst of its answer", d.name)
	}
	status := schema.StatusCompleted
	if out.Incomplete != "" {
		status = schema.StatusIncomplete
	}
	if err := d.blocks.close(status); err != nil {
		return Outcome{}, err
	}
	if why := d.stop.Details.Explanation; out.Incomplete == incompleteFilter && why != "" {
		if err := d.items.say(schema.PartRefusal, d.redact(why)); err != nil {
			return Outcome{}, err
		}
	}
	return out, d.items.close(status)
}
