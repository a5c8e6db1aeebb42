package schema

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// response is what the API shows of a response that has just been created: the request echoed, secrets left out.
func (r *CreateRequest) response(c *Command) *Response {
	return &Response{
		ID: c.Response, Object: "response", CreatedAt: c.CreatedAt / 1000, Status: StatusInProgress,
		Background:         deref(r.Background, false),
		Instructions:       r.Instructions,
		MaxOutputTokens:    r.MaxOutputTokens,
		MaxToolCalls:       r.MaxToolCalls,
		Model:              r.Model,
		Output:             []Item{},
		ParallelToolCalls:  deref(r.ParallelToolCalls, true),
		PreviousResponseID: r.PreviousResponseID,
		Conversation:       r.Conversation,
		PromptCacheKey:     r.PromptCacheKey,
		Reasoning:          orRaw(r.Reasoning, `{"effort":null,"summary":null}`),
		SafetyIdentifier:   r.SafetyIdentifier,
		ServiceTier:        orPtr(r.ServiceTier, "default"),
		Store:              r.Stores(),
		Temperature:        orPtr(r.Temperature, 1),
		TopP:               orPtr(r.TopP, 1),
		TopLogprobs:        orPtr(r.TopLogprobs, 0),
		Text:               orRaw(r.Text, `{"format":{"type":"text"}}`),
		ToolChoice:         orRaw(r.ToolChoice, `"auto"`),
		Tools:              r.echoTools(),
		Truncation:         deref(r.Truncation, "disabled"),
		User:               r.User,
		Metadata:           r.Metadata,
	}
}

// echoTools shows the tools as the API does: every member of a function, headers of an MCP entry as null.
func (r *CreateRequest) echoTools() []jsontext.Value {
	out := make([]jsontext.Value, 0, len(r.Tools))
	for _, t := range r.Tools {
		shown := echoed{tool: &t}
		switch t.Type {
		case ToolFunction:
			t.Description = orRaw(t.Description, "null")
			t.Parameters = orRaw(t.Parameters, "null")
			t.Strict = orRaw(t.Strict, "true")
		case ToolMCP:
			t.AllowedTools = orRaw(t.AllowedTools, "null")
			t.ServerDescription = orRaw(t.ServerDescription, "null")
			t.RequireApproval = orRaw(t.RequireApproval, `"always"`)
			shown.Headers = null
		}
		t.Authorization, t.Headers = "", nil
		out = append(out, shown.encode())
	}
	return out
}

// echoed is a tool as a response shows it: an MCP entry's headers are always there, and always null.
type echoed struct {
	*tool
	Headers jsontext.Value `json:"headers,omitzero"`
}

type tool = Tool

// encode writes the entry. It was decoded from JSON, so it can be written again.
func (e echoed) encode() jsontext.Value {
	data, err := json.Marshal(e)
	if err != nil {
		return jsontext.Value(`{}`)
	}
	return data
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
