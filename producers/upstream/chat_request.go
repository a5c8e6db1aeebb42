package upstream

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// chatRequest is the body of a chat call. What the Responses API has and chat does not is refused before (serves.go), or
// makes no difference there: include values and reasoning.summary "auto" ask for what there is, and there is none.
type chatRequest struct {
	Model             string         `json:"model"`
	Messages          []chatTurn     `json:"messages"`
	Stream            bool           `json:"stream"`
	StreamOptions     jsontext.Value `json:"stream_options"`
	Tools             []chatTool     `json:"tools,omitzero"`
	ToolChoice        jsontext.Value `json:"tool_choice,omitzero"`
	ParallelToolCalls *bool          `json:"parallel_tool_calls,omitzero"`
	MaxTokens         *int64         `json:"max_tokens,omitzero"`
	MaxCompletion     *int64         `json:"max_completion_tokens,omitzero"`
	Temperature       *float64       `json:"temperature,omitzero"`
	TopP              *float64       `json:"top_p,omitzero"`
	Logprobs          bool           `json:"logprobs,omitzero"`
	TopLogprobs       *int64         `json:"top_logprobs,omitzero"`
	ResponseFormat    *chatFormat    `json:"response_format,omitzero"`
	ReasoningEffort   jsontext.Value `json:"reasoning_effort,omitzero"`
	Verbosity         jsontext.Value `json:"verbosity,omitzero"`
	PresencePenalty   jsontext.Value `json:"presence_penalty,omitzero"`
	FrequencyPenalty  jsontext.Value `json:"frequency_penalty,omitzero"`
	ServiceTier       *string        `json:"service_tier,omitzero"`
	PromptCacheKey    *string        `json:"prompt_cache_key,omitzero"`
	CacheRetention    jsontext.Value `json:"prompt_cache_retention,omitzero"`
	CacheOptions      jsontext.Value `json:"prompt_cache_options,omitzero"`
	SafetyIdentifier  *string        `json:"safety_identifier,omitzero"`
	User              *string        `json:"user,omitzero"`
}

type chatFormat struct {
	Type       string        `json:"type"`
	JSONSchema *schemaFormat `json:"json_schema,omitzero"`
}

type schemaFormat struct {
	Name        string         `json:"name"`
	Description jsontext.Value `json:"description,omitzero"`
	Schema      jsontext.Value `json:"schema,omitzero"`
	Strict      jsontext.Value `json:"strict,omitzero"`
}

type chatTool struct {
	Type     string            `json:"type"`
	Function *chatFunctionTool `json:"function,omitzero"`
	Custom   *chatCustomTool   `json:"custom,omitzero"`
}

type chatFunctionTool struct {
	Name        string         `json:"name"`
	Description jsontext.Value `json:"description,omitzero"`
	Parameters  jsontext.Value `json:"parameters,omitzero"`
	Strict      jsontext.Value `json:"strict,omitzero"`
}

type chatCustomTool struct {
	Name        string         `json:"name"`
	Description jsontext.Value `json:"description,omitzero"`
	Format      jsontext.Value `json:"format,omitzero"`
}

func encodeChat(c *Config, r *Request) (*chatRequest, error) {
	create := r.Create
	messages, err := chatMessages(c, r)
	if err != nil {
		return nil, err
	}
	body := &chatRequest{
		Model: create.Model, Messages: messages, Stream: true, StreamOptions: jsontext.Value(`{"include_usage":true}`),
		Temperature: create.Temperature, TopP: create.TopP,
		ServiceTier: create.ServiceTier, PromptCacheKey: create.PromptCacheKey, SafetyIdentifier: create.SafetyIdentifier,
		User:            create.User,
		PresencePenalty: member(create.Rest, paramPresence), FrequencyPenalty: member(create.Rest, paramFrequency),
		CacheRetention: member(create.Rest, paramCacheRetention), CacheOptions: member(create.Rest, paramCacheOptions),
	}
	if slices.Contains(create.Include, includeLogprobs) {
		body.Logprobs, body.TopLogprobs = true, create.TopLogprobs
	}
	if c.MaxTokensName == maxTokens {
		body.MaxTokens = create.MaxOutputTokens
	} else {
		body.MaxCompletion = create.MaxOutputTokens
	}
	body.setFormat(create)
	return body, body.setTools(r)
}

func (b *chatRequest) setFormat(create *schema.CreateRequest) {
	b.ReasoningEffort = member(create.Reasoning, "effort")
	b.Verbosity = member(create.Text, "verbosity")
	f := textFormat(create.Text)
	switch f.Type {
	case "", "text":
	case "json_schema":
		b.ResponseFormat = &chatFormat{f.Type, &schemaFormat{f.Name, present(f.Description), present(f.Schema), present(f.Strict)}}
	default:
		b.ResponseFormat = &chatFormat{Type: f.Type}
	}
}

// setTools offers the tools. Chat knows no hosted ones; it refuses tool_choice and parallel_tool_calls without tools.
func (b *chatRequest) setTools(r *Request) error {
	choice := readToolChoice(r.toolChoice())
	for i := range r.Tools {
		t := &r.Tools[i]
		if !choice.allows(t.Name) {
			continue // chat's own allowed_tools is OpenAI's alone: what is not offered cannot be called either
		}
		tool, err := chatToolOf(t)
		if err != nil {
			return err
		}
		b.Tools = append(b.Tools, tool)
	}
	if len(b.Tools) == 0 {
		return nil
	}
	b.ParallelToolCalls = r.Create.ParallelToolCalls
	return b.setToolChoice(r, choice)
}

func chatToolOf(t *schema.Tool) (chatTool, error) {
	switch t.Type {
	case schema.ToolFunction:
		return chatTool{Type: t.Type, Function: &chatFunctionTool{
			t.Name, present(t.Description), present(t.Parameters), present(t.Strict)}}, nil
	case schema.ToolCustom:
		return chatTool{Type: t.Type, Custom: &chatCustomTool{t.Name, present(t.Description), chatGrammar(member(t.Rest, "format"))}}, nil
	}
	return chatTool{}, schema.Refuse(schema.CodeUnsupported, "tools", "tools of type %.40q are not available with this model", t.Type)
}

// chatGrammar gives a custom tool's grammar the envelope that chat puts around it.
func chatGrammar(format jsontext.Value) jsontext.Value {
	if text(member(format, "type")) != "grammar" {
		return format
	}
	return fmt.Appendf(nil, `{"type":"grammar","grammar":{"definition":%s,"syntax":%s}}`,
		orNull(member(format, "definition")), orNull(member(format, "syntax")))
}

func (b *chatRequest) setToolChoice(r *Request, choice toolChoice) error {
	switch {
	case choice.mode != "" && r.toolChoice() == nil:
	case choice.mode != "":
		b.ToolChoice = quote(choice.mode)
	case choice.kind == schema.ToolFunction || choice.kind == schema.ToolCustom:
		b.ToolChoice = fmt.Appendf(nil, `{"type":%q,%q:{"name":%s}}`, choice.kind, choice.kind, quote(choice.name))
	default:
		return schema.Refuse(schema.CodeUnsupported, "tool_choice", "tool_choice of type %.40q is not available with this model", choice.kind)
	}
	return nil
}

// member returns a member of an object; nil if there is none, or null.
func member(object jsontext.Value, name string) jsontext.Value {
	var members map[string]jsontext.Value
	if object.Kind() != '{' || json.Unmarshal(object, &members) != nil {
		return nil
	}
	return present(members[name])
}

// present returns a value, and nil for null: a server that has no such member may refuse it as null.
func present(v jsontext.Value) jsontext.Value {
	if len(v) == 0 || v.Kind() == 'n' {
		return nil
	}
	return v
}

func orNull(v jsontext.Value) jsontext.Value {
	if len(v) == 0 {
		return jsontext.Value("null")
	}
	return v
}
