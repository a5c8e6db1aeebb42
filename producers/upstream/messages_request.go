package upstream

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// messagesRequest is the body of a messages call. prompt_cache_key has no counterpart and no influence on an answer: it
// is left out. What has an influence and no counterpart is refused, here or before (serves.go).
type messagesRequest struct {
	Model        string            `json:"model"`
	MaxTokens    int64             `json:"max_tokens"`
	System       []messagesPart    `json:"system,omitzero"`
	Messages     []messagesTurn    `json:"messages"`
	Stream       bool              `json:"stream"`
	Tools        []messagesTool    `json:"tools,omitzero"`
	ToolChoice   *messagesChoice   `json:"tool_choice,omitzero"`
	Temperature  *float64          `json:"temperature,omitzero"`
	TopP         *float64          `json:"top_p,omitzero"`
	Thinking     *messagesThinking `json:"thinking,omitzero"`
	OutputConfig messagesOutput    `json:"output_config,omitzero"`
	CacheControl jsontext.Value    `json:"cache_control,omitzero"`
	Metadata     *messagesMetadata `json:"metadata,omitzero"`
	ServiceTier  string            `json:"service_tier,omitzero"`

	budget int64 // of a model that knows no adaptive thinking
}

type messagesOutput struct {
	Effort string          `json:"effort,omitzero"`
	Format *messagesFormat `json:"format,omitzero"`
}

type messagesFormat struct {
	Type   string         `json:"type"`
	Schema jsontext.Value `json:"schema"`
}

type messagesMetadata struct {
	UserID string `json:"user_id"`
}

func encodeMessages(c *Config, r *Request) (*messagesRequest, error) {
	create := r.Create
	if err := refuseMessages(create); err != nil {
		return nil, err
	}
	b := &messagesRequest{
		Model: create.Model, MaxTokens: c.MaxTokens, Stream: true, ServiceTier: messagesTiers[deref(create.ServiceTier)],
		Temperature: unlessOne(create.Temperature), TopP: unlessOne(create.TopP),
	}
	if create.MaxOutputTokens != nil {
		b.MaxTokens = *create.MaxOutputTokens
	}
	if c.CachePrompts {
		b.CacheControl = jsontext.Value(`{"type":"ephemeral"}`)
	}
	if user := orWord(deref(create.SafetyIdentifier), deref(create.User)); user != "" {
		b.Metadata = &messagesMetadata{user}
	}
	if err := b.setContext(r); err != nil {
		return nil, err
	}
	if err := b.setTools(r); err != nil {
		return nil, err
	}
	if err := b.setFormat(create.Text); err != nil {
		return nil, err
	}
	return b, b.setThinking(create.Reasoning)
}

// unlessOne leaves out a temperature or top_p of 1. It is the default, clients like to say it nevertheless, and newer
// models refuse the very members.
func unlessOne(value *float64) *float64 {
	if value != nil && *value == 1 {
		return nil
	}
	return value
}

const tierDefault = "default"

// messagesTiers maps service_tier. Whoever pays for priority has it with auto.
var messagesTiers = map[string]string{"": "", "auto": "auto", tierDefault: "standard_only", "priority": "auto"}

// refuseMessages refuses the values that the Messages API has no word for, though it has the parameter.
func refuseMessages(c *schema.CreateRequest) error {
	_, tier := messagesTiers[deref(c.ServiceTier)]
	param := "service_tier"
	switch {
	case c.Temperature != nil && *c.Temperature > 1:
		param = "temperature"
	case tier:
		return nil
	}
	return schema.Refuse(schema.CodeUnsupported, param, "this value of '%s' is not available with this model", param)
}

// setFormat asks for an answer that keeps to a schema. There is no name for it, and no other place for what describes it
// than the schema; whether it is strict is no question, since it always is.
func (b *messagesRequest) setFormat(text jsontext.Value) error {
	f := textFormat(text)
	switch f.Type {
	case "", "text":
	case "json_schema":
		b.OutputConfig.Format = &messagesFormat{f.Type, withMember(orNull(f.Schema), "description", present(f.Description))}
	default:
		return schema.Refuse(schema.CodeUnsupported, "text.format",
			"'text.format' of type %.40q is not available with this model: give a 'json_schema'", f.Type)
	}
	return nil
}

// withMember adds a member to an object that has none of that name, and leaves the rest of its bytes as they are.
func withMember(object jsontext.Value, name string, value jsontext.Value) jsontext.Value {
	var members map[string]jsontext.Value
	if value == nil || object.Kind() != '{' || json.Unmarshal(object, &members) != nil {
		return object
	}
	if _, there := members[name]; there {
		return object
	}
	rest, comma := bytes.TrimSpace(object)[1:], ","
	if len(members) == 0 {
		comma = ""
	}
	return fmt.Appendf(nil, "{%s:%s%s%s", quote(name), value, comma, rest)
}
