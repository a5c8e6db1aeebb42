package schema

import (
	"cmp"

	"github.com/go-json-experiment/json/jsontext"
)

// Response is the API's resource. Every member is always written, null where it is not known: the union of what the
// SDKs' types and the Open Responses specification require.
type Response struct {
	ID                 string             `json:"id"`
	Object             string             `json:"object"`
	CreatedAt          int64              `json:"created_at"`
	CompletedAt        *int64             `json:"completed_at"`
	Status             string             `json:"status"`
	Background         bool               `json:"background"`
	Error              *ResponseError     `json:"error"`
	IncompleteDetails  *IncompleteDetails `json:"incomplete_details"`
	Instructions       *string            `json:"instructions"`
	MaxOutputTokens    *int64             `json:"max_output_tokens"`
	MaxToolCalls       *int64             `json:"max_tool_calls"`
	Model              string             `json:"model"`
	Output             []Item             `json:"output"`
	ParallelToolCalls  bool               `json:"parallel_tool_calls"`
	PreviousResponseID *string            `json:"previous_response_id"`
	Conversation       jsontext.Value     `json:"conversation"`
	PromptCacheKey     *string            `json:"prompt_cache_key"`
	Reasoning          jsontext.Value     `json:"reasoning"`
	SafetyIdentifier   *string            `json:"safety_identifier"`
	ServiceTier        *string            `json:"service_tier"`
	Store              bool               `json:"store"`
	Temperature        *float64           `json:"temperature"`
	TopP               *float64           `json:"top_p"`
	TopLogprobs        *int64             `json:"top_logprobs"`
	PresencePenalty    float64            `json:"presence_penalty"`
	FrequencyPenalty   float64            `json:"frequency_penalty"`
	Text               jsontext.Value     `json:"text"`
	ToolChoice         jsontext.Value     `json:"tool_choice"`
	Tools              []jsontext.Value   `json:"tools"`
	Truncation         string             `json:"truncation"`
	Usage              *Usage             `json:"usage"`
	User               *string            `json:"user"`
	Metadata           map[string]string  `json:"metadata"`
	Rest               jsontext.Value     `json:",embed"`
}

// Ended reports whether the response is over, in whatever way.
func (r *Response) Ended() bool { return r.Status != StatusQueued && r.Status != StatusInProgress }

// ResponseError says why a response failed. Code is the API's word for it; Type follows the newest SDK types.
type ResponseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Type    string `json:"type,omitzero"`
	Param   string `json:"param,omitzero"`
}

// IncompleteTokens is the reason of a response that had no room for more.
const IncompleteTokens = "max_output_tokens"

// IncompleteDetails says why a response ended before it was whole.
type IncompleteDetails struct {
	Reason string `json:"reason"`
}

// Usage counts tokens.
type Usage struct {
	InputTokens         int64               `json:"input_tokens"`
	InputTokensDetails  InputTokensDetails  `json:"input_tokens_details"`
	OutputTokens        int64               `json:"output_tokens"`
	OutputTokensDetails OutputTokensDetails `json:"output_tokens_details"`
	TotalTokens         int64               `json:"total_tokens"`
}

// InputTokensDetails tells cached input apart.
type InputTokensDetails struct {
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens"`
}

// OutputTokensDetails tells reasoning apart.
type OutputTokensDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

// counted returns the usage of a producer as it is added up: nothing is less than nothing, and a total that is left out is the sum.
func (u *Usage) counted() *Usage {
	if u == nil {
		return nil
	}
	c := *u
	for _, n := range []*int64{
		&c.InputTokens, &c.InputTokensDetails.CachedTokens, &c.InputTokensDetails.CacheWriteTokens,
		&c.OutputTokens, &c.OutputTokensDetails.ReasoningTokens, &c.TotalTokens,
	} {
		*n = max(*n, 0)
	}
	c.TotalTokens = cmp.Or(c.TotalTokens, c.InputTokens+c.OutputTokens)
	return &c
}

// Add sums the usage of two turns.
func (u *Usage) Add(v *Usage) *Usage {
	if u == nil || v == nil {
		if u == nil {
			return v
		}
		return u
	}
	return &Usage{
		InputTokens: u.InputTokens + v.InputTokens,
		InputTokensDetails: InputTokensDetails{
			CachedTokens:     u.InputTokensDetails.CachedTokens + v.InputTokensDetails.CachedTokens,
			CacheWriteTokens: u.InputTokensDetails.CacheWriteTokens + v.InputTokensDetails.CacheWriteTokens,
		},
		OutputTokens: u.OutputTokens + v.OutputTokens,
		OutputTokensDetails: OutputTokensDetails{
			ReasoningTokens: u.OutputTokensDetails.ReasoningTokens + v.OutputTokensDetails.ReasoningTokens,
		},
		TotalTokens: u.TotalTokens + v.TotalTokens,
	}
}
