package schema

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// CreateRequest is the body of POST /v1/responses. Members that are only passed on or echoed are raw. Rest has those
// that no field names: [ParseCreate] lets in what some upstream can serve, commands of earlier builds may have more.
type CreateRequest struct {
	Model              string         `json:"model,omitzero"`
	Input              Input          `json:"input,omitzero"`
	Instructions       *string        `json:"instructions,omitzero"`
	PreviousResponseID *string        `json:"previous_response_id,omitzero"`
	Conversation       jsontext.Value `json:"conversation,omitzero"`
	Tools              []Tool         `json:"tools,omitzero"`
	ToolChoice         jsontext.Value `json:"tool_choice,omitzero"`
	ParallelToolCalls  *bool          `json:"parallel_tool_calls,omitzero"`
	MaxToolCalls       *int64         `json:"max_tool_calls,omitzero"`
	MaxOutputTokens    *int64         `json:"max_output_tokens,omitzero"`
	Stream             *bool          `json:"stream,omitzero"`
	StreamOptions      jsontext.Value `json:"stream_options,omitzero"`
	Background         *bool          `json:"background,omitzero"`
	Generate           *bool          `json:"generate,omitzero"`
	Store              *bool          `json:"store,omitzero"`
	Include            []string       `json:"include,omitzero"`
	Metadata           Metadata       `json:"metadata,omitzero"`
	Temperature        *float64       `json:"temperature,omitzero"`
	TopP               *float64       `json:"top_p,omitzero"`
	TopLogprobs        *int64         `json:"top_logprobs,omitzero"`
	Text               jsontext.Value `json:"text,omitzero"`
	Reasoning          jsontext.Value `json:"reasoning,omitzero"`
	Truncation         *string        `json:"truncation,omitzero"`
	ServiceTier        *string        `json:"service_tier,omitzero"`
	PromptCacheKey     *string        `json:"prompt_cache_key,omitzero"`
	SafetyIdentifier   *string        `json:"safety_identifier,omitzero"`
	User               *string        `json:"user,omitzero"`
	Midstream          *Sources       `json:"midstream,omitzero"` // no member of the API: who feeds the response
	Rest               jsontext.Value `json:",embed"`
}

// Sources says that others bring the events of a response: no model is called and no tool run for it here.
type Sources struct {
	Producers []string `json:"producers"`
}

// Producers are those that feed the response; none for a response that is made here.
func (r *CreateRequest) Producers() []string {
	if r.Midstream == nil {
		return nil
	}
	return r.Midstream.Producers
}

// Input is the items that a request brings. A plain string is read as one user message.
type Input []Item

// UnmarshalJSONFrom accepts null, a string or a list of items.
func (in *Input) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '"' {
		var content Content
		if err := json.UnmarshalDecode(dec, &content); err != nil {
			return err
		}
		*in = Input{{Type: KindMessage, Role: "user", Content: content}}
		return nil
	}
	if err := json.UnmarshalDecode(dec, (*[]Item)(in)); err != nil {
		return err
	}
	for i := range *in {
		(*in)[i].Normalize()
	}
	return nil
}

// Normalize gives an input item the form that the API lists it in: the short forms get their type, and plain text of
// the assistant is output text.
func (it *Item) Normalize() {
	switch {
	case it.Type == "" && it.Role != "":
		it.Type = KindMessage
	case it.Type == "" && it.ID != "":
		it.Type = KindItemReference
	}
	if it.Type != KindMessage || it.Role != "assistant" {
		return
	}
	speak(it.Content)
}

// speak makes plain text the words of a model.
func speak(c Content) {
	for i := range c {
		if c[i].Type == PartInputText {
			c[i].Type = PartOutputText
		}
	}
}

// Tool is one entry of a request's tools. Kinds other than function, custom and mcp are the upstream's own.
type Tool struct {
	Type string `json:"type"`

	// function and custom
	Name        string         `json:"name,omitzero"`
	Description jsontext.Value `json:"description,omitzero"`
	Parameters  jsontext.Value `json:"parameters,omitzero"`
	Strict      jsontext.Value `json:"strict,omitzero"`

	// mcp
	ServerLabel       string            `json:"server_label,omitzero"`
	ServerURL         string            `json:"server_url,omitzero"`
	ServerDescription jsontext.Value    `json:"server_description,omitzero"`
	ConnectorID       string            `json:"connector_id,omitzero"`
	TunnelID          string            `json:"tunnel_id,omitzero"`
	Authorization     string            `json:"authorization,omitzero"`
	Headers           map[string]string `json:"headers,omitzero"`
	AllowedTools      jsontext.Value    `json:"allowed_tools,omitzero"`
	RequireApproval   jsontext.Value    `json:"require_approval,omitzero"`

	Rest jsontext.Value `json:",embed"`
}

// The types of tools that Midstream itself runs or hands back.
const (
	ToolFunction = "function"
	ToolCustom   = "custom"
	ToolMCP      = "mcp"
)

// AllowedTools limits what of an MCP server the model may see. A nil one allows everything.
type AllowedTools struct {
	Names    []string `json:"tool_names,omitzero"`
	ReadOnly *bool    `json:"read_only,omitzero"`
}

// Allowed reads the entry's allowed_tools: null, a list of names, or an object with tool_names and read_only.
func (t *Tool) Allowed() (*AllowedTools, error) {
	switch {
	case len(t.AllowedTools) == 0 || t.AllowedTools.Kind() == 'n':
		return nil, nil
	case t.AllowedTools.Kind() == '[':
		a := AllowedTools{Names: []string{}}
		return &a, json.Unmarshal(t.AllowedTools, &a.Names)
	}
	var a AllowedTools
	return &a, json.Unmarshal(t.AllowedTools, &a, json.RejectUnknownMembers(true)) // a limit that was misspelt is no limit
}

// Allows reports whether a tool of that name is let through.
func (a *AllowedTools) Allows(name string, readOnly bool) bool {
	if a == nil {
		return true
	}
	if a.ReadOnly != nil && *a.ReadOnly && !readOnly {
		return false
	}
	return a.Names == nil || slices.Contains(a.Names, name)
}

// Secret is what an MCP server of a request must be shown, and nobody else.
type Secret struct {
	Authorization string            `json:"authorization,omitzero"`
	Headers       map[string]string `json:"headers,omitzero"`
}

// TakeSecrets removes the credentials from the request's MCP entries and returns them by server label.
func (r *CreateRequest) TakeSecrets() map[string]Secret {
	secrets := map[string]Secret{}
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Authorization != "" || len(t.Headers) > 0 {
			secrets[t.ServerLabel] = Secret{t.Authorization, maps.Clone(t.Headers)}
		}
		t.Authorization, t.Headers = "", nil
	}
	return secrets
}

// MCP returns the request's MCP entries, in the request's order.
func (r *CreateRequest) MCP() []Tool {
	var tools []Tool
	for _, t := range r.Tools {
		if t.Type == ToolMCP {
			tools = append(tools, t)
		}
	}
	return tools
}

// Streams reports whether the caller asked for server-sent events.
func (r *CreateRequest) Streams() bool { return r.Stream != nil && *r.Stream }

// Backgrounds reports whether the caller does not wait for the response.
func (r *CreateRequest) Backgrounds() bool { return r.Background != nil && *r.Background }

// Generates reports whether there is to be an answer. A response without one holds its input for others to go on from.
func (r *CreateRequest) Generates() bool { return r.Generate == nil || *r.Generate }

// Stores reports whether the response is to be kept; the API's default is yes.
func (r *CreateRequest) Stores() bool { return r.Store == nil || *r.Store }
