package upstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// responsesRequest is the body of a responses call: the request as accepted, with the context of this turn in it.
type responsesRequest struct {
	schema.CreateRequest

	asked bool // encrypted reasoning was asked for on our own account
}

// includeReasoning makes an upstream that stores nothing give its reasoning to us, sealed, so that the next turn can go
// on from it.
const includeReasoning = "reasoning.encrypted_content"

// encodeResponses forwards the parameters. State is never the upstream's: it stores nothing, and gets the whole context
// with item ids taken off, since ids of our own, or of another upstream, mean nothing to it.
func encodeResponses(r *Request) (*responsesRequest, error) {
	input, err := responsesInput(r)
	if err != nil {
		return nil, err
	}
	body := &responsesRequest{CreateRequest: *r.Create}
	yes, no := true, false
	body.Input, body.Stream, body.Store = input, &yes, &no
	body.Background, body.PreviousResponseID, body.Conversation, body.Metadata = nil, nil, nil, nil
	body.StreamOptions, body.Generate = nil, nil // what they say is for our own stream, and for us
	body.Tools, body.ToolChoice = r.Tools, r.toolChoice()
	if len(r.Tools) == 0 {
		body.Tools, body.ParallelToolCalls = nil, nil
	}
	body.Include = slices.Clone(r.Create.Include)
	if reasons(r.Create) && !slices.Contains(body.Include, includeReasoning) {
		body.Include = append(body.Include, includeReasoning)
		body.asked = true
	}
	return body, nil
}

// encodeCall makes the body of a call. One that is to be taken up when it breaks off goes on by itself meanwhile, and is kept: a
// Responses API knows that as a background response.
func encodeCall(c *Config, r *Request) (any, error) {
	body, err := encodeResponses(r)
	if err != nil {
		return nil, err
	}
	if c.Resume {
		body.Store, body.Background = new(true), new(true)
	}
	return body, nil
}

// encodeCount makes the body of a question for input_tokens: of a call, what bears on the context.
func encodeCount(_ *Config, r *Request) (any, error) {
	whole, err := encodeResponses(r)
	if err != nil {
		return nil, err
	}
	return &schema.CreateRequest{
		Model: whole.Model, Input: whole.Input, Instructions: whole.Instructions, Tools: whole.Tools, ToolChoice: whole.ToolChoice,
		ParallelToolCalls: whole.ParallelToolCalls, Text: whole.Text, Reasoning: whole.Reasoning, Truncation: whole.Truncation,
	}, nil
}

// encodeCompact makes the body of a compaction.
func encodeCompact(_ *Config, r *Request) (any, error) {
	input, err := responsesInput(r)
	if err != nil {
		return nil, err
	}
	c := r.Create
	return &compactRequest{
		Model: c.Model, Input: input, Instructions: c.Instructions, ServiceTier: c.ServiceTier, PromptCacheKey: c.PromptCacheKey,
		CacheRetention: member(c.Rest, "prompt_cache_retention"), CacheOptions: member(c.Rest, "prompt_cache_options"),
	}, nil
}

type compactRequest struct {
	Model          string         `json:"model"`
	Input          []schema.Item  `json:"input"`
	Instructions   *string        `json:"instructions,omitzero"`
	ServiceTier    *string        `json:"service_tier,omitzero"`
	PromptCacheKey *string        `json:"prompt_cache_key,omitzero"`
	CacheRetention jsontext.Value `json:"prompt_cache_retention,omitzero"`
	CacheOptions   jsontext.Value `json:"prompt_cache_options,omitzero"`
}

// reasons reports whether the request asks for reasoning.
func reasons(c *schema.CreateRequest) bool {
	return c.Reasoning.Kind() == '{' && string(member(c.Reasoning, "effort")) != `"none"`
}

// codeForeign is how the API refuses encrypted reasoning that another account, or another upstream, has made.
const codeForeign = "invalid_encrypted_content"

// relentResponses goes without encrypted reasoning if that is what the upstream has refused: without that of earlier turns,
// which an upstream that stands in for another cannot read, or without asking for its own.
func relentResponses(body any, r *refusal) bool {
	b, ok := body.(*responsesRequest)
	if ok && r.code == codeForeign {
		return b.forget()
	}
	blamed := strings.HasPrefix(r.param, "include") || strings.Contains(r.message, "encrypted") || strings.Contains(r.message, "include")
	if !ok || !b.asked || !blamed {
		return false
	}
	b.asked = false
	if b.Include = b.Include[:len(b.Include)-1]; len(b.Include) == 0 {
		b.Include = nil
	}
	return true
}

// forget leaves out what was thought before and is sealed: what was said then, and called, is there without it.
func (b *responsesRequest) forget() (changed bool) {
	var kept []schema.Item
	for _, it := range b.Input {
		if it.Type == schema.KindReasoning && it.EncryptedContent != nil {
			changed = true
			continue
		}
		kept = append(kept, it)
	}
	b.Input = kept
	return changed
}

func responsesInput(r *Request) ([]schema.Item, error) {
	input := make([]schema.Item, 0, len(r.Input))
	for i := range r.Input {
		it := r.Input[i]
		switch it.Type {
		case schema.KindListTools, schema.KindApprovalRequest, schema.KindApproval, schema.KindMCPCall:
			if r.Passthrough { // with its id: an answer names its request by it
				input = append(input, it)
			}
			continue // else the caller has made tools and calls of them
		case schema.KindItemReference:
			return nil, schema.Refuse(schema.CodeInvalidValue, fmt.Sprintf("input[%d]", i), "a reference to an item that is not there")
		case schema.KindReasoning:
			if strings.HasPrefix(deref(it.EncryptedContent), sealMark) {
				it.EncryptedContent = nil // a thought of dialect messages
			}
			if it.EncryptedContent == nil && len(it.Content) == 0 {
				continue // a summary without its reasoning is refused by an upstream that has not stored it
			}
			it.Status = ""
		}
		it.ID = ""
		it.Content = withoutLogprobs(it.Content)
		input = append(input, it)
	}
	return input, nil
}

func withoutLogprobs(content schema.Content) schema.Content {
	content = slices.Clone(content)
	for i := range content {
		content[i].Logprobs = nil
	}
	return content
}
