package upstream

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// messagesUsage counts the tokens of an answer. The counts are told twice, at its start and at its end, and only grow
// meanwhile; the second time some servers leave out those of the input, or call them 0.
type messagesUsage struct {
	Input      int64 `json:"input_tokens"` // without what was read from a cache, or written to it
	CacheRead  int64 `json:"cache_read_input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
	Output     int64 `json:"output_tokens"`
	Details    struct {
		Thinking int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
	Tier string `json:"service_tier"`

	told bool
}

// take takes a usage. One that cannot be read is skipped: an answer is not lost for its bill.
func (u *messagesUsage) take(raw jsontext.Value) {
	var v messagesUsage
	if raw.Kind() != '{' || json.Unmarshal(raw, &v, lenient) != nil {
		return
	}
	u.told = true
	u.Input, u.Output = max(u.Input, v.Input), max(u.Output, v.Output)
	u.CacheRead, u.CacheWrite = max(u.CacheRead, v.CacheRead), max(u.CacheWrite, v.CacheWrite)
	u.Details.Thinking = max(u.Details.Thinking, v.Details.Thinking)
	if tier := word(v.Tier); tier != "" {
		u.Tier = tier
	}
}

// sum counts as the Responses API does: cached input is a part of the input there, here it stands beside it.
func (u *messagesUsage) sum() *schema.Usage {
	if !u.told {
		return nil
	}
	input := u.Input + u.CacheRead + u.CacheWrite
	return &schema.Usage{
		InputTokens:         input,
		InputTokensDetails:  schema.InputTokensDetails{CachedTokens: u.CacheRead, CacheWriteTokens: u.CacheWrite},
		OutputTokens:        u.Output,
		OutputTokensDetails: schema.OutputTokensDetails{ReasoningTokens: u.Details.Thinking},
		TotalTokens:         input + u.Output,
	}
}

// tier is the tier that served the call, in the words of the Responses API.
func (u *messagesUsage) tier() string {
	if u.Tier == "standard" {
		return tierDefault
	}
	return u.Tier
}
