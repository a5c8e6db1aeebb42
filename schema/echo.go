package schema

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// response is what the API shows of a response that has just been created: the request echoed, secrets left out.
func (r *CreateRequest) response(c *Command) (*Response, error) {
	tools, err := r.echoTools()
	if err != nil {
		return nil, err
	}
	reasoning, err := orMembers(r.Reasoning, reasoningDefaults)
	if err != nil {
		return nil, fmt.Errorf("show reasoning: %w", err)
	}
	text, err := orMembers(r.Text, textDefaults)
	if err != nil {
		return nil, fmt.Errorf("show text: %w", err)
	}
	status := StatusInProgress
	if r.Backgrounds() {
		status = StatusQueued
	}
	return &Response{
		ID: c.Response, Object: "response", CreatedAt: c.CreatedAt / 1000, Status: status,
		Background:         r.Backgrounds(),
		Instructions:       r.Instructions,
		MaxOutputTokens:    r.MaxOutputTokens,
		MaxToolCalls:       r.MaxToolCalls,
		Model:              r.Model,
		Output:             []Item{},
		ParallelToolCalls:  deref(r.ParallelToolCalls, true),
		PreviousResponseID: r.PreviousResponseID,
		Conversation:       r.echoConversation(),
		PromptCacheKey:     r.PromptCacheKey,
		Reasoning:          reasoning,
		SafetyIdentifier:   r.SafetyIdentifier,
		ServiceTier:        orPtr(r.ServiceTier, "default"),
		Store:              r.Stores(),
		Temperature:        orPtr(r.Temperature, 1),
		TopP:               orPtr(r.TopP, 1),
		TopLogprobs:        orPtr(r.TopLogprobs, 0),
		PresencePenalty:    r.penalty("presence_penalty"),
		FrequencyPenalty:   r.penalty("frequency_penalty"),
		Text:               text,
		ToolChoice:         orRaw(r.ToolChoice, `"auto"`),
		Tools:              tools,
		Truncation:         deref(r.Truncation, "disabled"),
		User:               r.User,
		Metadata:           r.Metadata,
	}, nil
}

// echoTools shows the tools as the API does: every member of a function, headers of an MCP entry as null.
func (r *CreateRequest) echoTools() ([]jsontext.Value, error) {
	out := make([]jsontext.Value, 0, len(r.Tools))
	for _, t := range r.Tools {
		shown := echo{Tool: t}
		shown.Authorization, shown.Tool.Headers = "", nil
		switch t.Type {
		case ToolFunction:
			shown.Description = orRaw(t.Description, "null")
			shown.Parameters = orRaw(t.Parameters, "null")
			shown.Strict = orRaw(t.Strict, "true")
		case ToolMCP:
			shown.AllowedTools = orRaw(t.AllowedTools, "null")
			shown.ServerDescription = orRaw(t.ServerDescription, "null")
			shown.RequireApproval = orRaw(t.RequireApproval, `"always"`)
			shown.Headers = null
		}
		data, err := json.Marshal(&shown)
		if err != nil {
			return nil, fmt.Errorf("show tool %s: %w", t.Type, err)
		}
		out = append(out, data)
	}
	return out, nil
}

// echo is a tool as a response shows it. Its Headers hide the tool's own: they are secret, so an MCP entry's are null.
type echo struct {
	Tool
	Headers jsontext.Value `json:"headers,omitzero"`
}

func deref[T any](p *T, or T) T {
	if p == nil {
		return or
	}
	return *p
}

func orPtr[T any](p *T, or T) *T {
	if p == nil {
		return &or
	}
	return p
}

func orRaw(v jsontext.Value, or string) jsontext.Value {
	if len(v) == 0 || v.Kind() == 'n' {
		return jsontext.Value(or)
	}
	return v
}

// orMembers returns an object, empty if it is null or absent, with the members that it lacks.
func orMembers(object jsontext.Value, defaults map[string]string) (jsontext.Value, error) {
	members := map[string]jsontext.Value{}
	if err := json.Unmarshal(orRaw(object, "{}"), &members); err != nil {
		return nil, err
	}
	for name, v := range defaults {
		if _, there := members[name]; !there {
			members[name] = jsontext.Value(v)
		}
	}
	return json.Marshal(members, json.Deterministic(true))
}

var (
	reasoningDefaults = map[string]string{"effort": "null", "summary": "null"}
	textDefaults      = map[string]string{"format": `{"type":"text"}`}
)
