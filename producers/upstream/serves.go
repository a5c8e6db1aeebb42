package upstream

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// The parameters that not every dialect can say.
const (
	paramTruncation     = "truncation"
	paramPrompt         = "prompt"
	paramContext        = "context_management"
	paramModeration     = "moderation"
	paramPrograms       = "access_programs"
	paramImage          = "image"
	paramVerbosity      = "text.verbosity"
	paramLogprobs       = "include"
	paramTopLogprobs    = "top_logprobs"
	paramSummary        = "reasoning.summary"
	paramOldSummary     = "reasoning.generate_summary"
	paramReasonContext  = "reasoning.context"
	paramReasonMode     = "reasoning.mode"
	paramCacheOptions   = "prompt_cache_options"
	paramCacheRetention = "prompt_cache_retention"
	paramPresence       = "presence_penalty"
	paramFrequency      = "frequency_penalty"
)

// includeLogprobs is what include says for the row of that name.
const includeLogprobs = "message.output_text.logprobs"

// params says when a request asks for something that only some dialects can serve: something whose absence would be seen
// in the answer, or in what is done with the request. A dialect serves the rows that it names, and a request that asks
// for another one is refused: nothing is dropped in silence.
//
// What is in no row is served whatever the dialect. The gateway itself serves input, instructions, previous_response_id,
// conversation, background, store, stream, stream_options, metadata, max_tool_calls and MCP tools; every dialect says
// model, temperature, top_p, max_output_tokens, text.format, reasoning.effort, parallel_tool_calls, tool_choice,
// service_tier, prompt_cache_key, safety_identifier and user, or judges it in its encode as it does tools and parts.
var params = []struct {
	name string
	asks func(*schema.CreateRequest) bool
}{
	{paramTruncation, func(c *schema.CreateRequest) bool { return c.Truncation != nil && *c.Truncation != "disabled" }},
	{paramPrompt, given(paramPrompt)},
	{paramContext, given(paramContext)},
	{paramModeration, given(paramModeration)},
	{paramPrograms, given(paramPrograms)},
	{paramImage, given(paramImage)},
	{paramVerbosity, asks(answerText, "verbosity", "medium")},
	{paramLogprobs, func(c *schema.CreateRequest) bool { return slices.Contains(c.Include, includeLogprobs) }},
	{paramTopLogprobs, func(c *schema.CreateRequest) bool { return c.TopLogprobs != nil && *c.TopLogprobs > 0 }},
	{paramSummary, asks(reasoning, "summary", "auto")},
	{paramOldSummary, asks(reasoning, "generate_summary", "auto")},
	{paramReasonContext, asks(reasoning, "context", "auto")},
	{paramReasonMode, asks(reasoning, "mode", "standard")},
	{paramCacheOptions, given(paramCacheOptions)},
	{paramCacheRetention, given(paramCacheRetention)},
	{paramPresence, nonzero(paramPresence)},
	{paramFrequency, nonzero(paramFrequency)},
}

// given asks if a member that the request's type does not name is there, and is no null and no empty list.
func given(name string) func(*schema.CreateRequest) bool {
	return func(c *schema.CreateRequest) bool {
		v := member(c.Rest, name)
		return v != nil && string(v) != "[]"
	}
}

func nonzero(name string) func(*schema.CreateRequest) bool {
	return func(c *schema.CreateRequest) bool {
		v := member(c.Rest, name)
		return v != nil && string(v) != "0"
	}
}

func answerText(c *schema.CreateRequest) jsontext.Value { return c.Text }
func reasoning(c *schema.CreateRequest) jsontext.Value  { return c.Reasoning }

// asks is true if a member of an object wants another thing than the model does of its own accord.
func asks(object func(*schema.CreateRequest) jsontext.Value, name, natural string) func(*schema.CreateRequest) bool {
	return func(c *schema.CreateRequest) bool {
		v := member(object(c), name)
		return v != nil && string(v) != string(quote(natural))
	}
}

// unserved says which parameter of a request a dialect that serves those cannot say. An absent Rest costs nothing.
func unserved(r *Request, serves []string) error {
	for i := range params {
		if p := &params[i]; !slices.Contains(serves, p.name) && p.asks(r.Create) {
			return schema.Refuse(schema.CodeUnsupported, p.name, "This '%s' is not available with this model: leave it out.", p.name)
		}
	}
	return nil
}

// gatewayKinds are items that this gateway makes something else of before a model sees them.
var gatewayKinds = []string{
	schema.KindItemReference, schema.KindListTools, schema.KindMCPCall, schema.KindApprovalRequest, schema.KindApproval,
	schema.KindCompaction,
}

// rehearsal is the first turn of a request as far as it is known before the run: without MCP tools, and without what is
// yet to be looked up.
func rehearsal(c *schema.CreateRequest) *Request {
	r := &Request{Create: c, Input: slices.Clone([]schema.Item(c.Input))}
	for i := range r.Input {
		if slices.Contains(gatewayKinds, r.Input[i].Type) {
			r.Input[i] = schema.Item{Type: schema.KindListTools} // says nothing, and leaves the others their places
		}
	}
	for _, t := range c.Tools {
		if t.Type != schema.ToolMCP {
			r.Tools = append(r.Tools, t)
		}
	}
	if chooses(c.ToolChoice) == schema.ToolMCP {
		r.ToolChoice = jsontext.Value(`"auto"`)
	}
	return r
}

func chooses(choice jsontext.Value) string { return text(member(choice, "type")) }

// body writes a model call. What of it the dialect cannot say is a *schema.Error.
func (e *endpoint) body(r *Request) (any, error) {
	if err := unserved(r, e.dialect.serves); err != nil {
		return nil, err
	}
	return e.dialect.encode(&e.cfg, r)
}

// check implements served.
func (e *endpoint) check(r *Request) error {
	_, err := e.body(r)
	return err
}
