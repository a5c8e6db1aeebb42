package schema

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// passed are the members of a create request that its type does not name: what only some upstreams can do, the penalties of
// Open Responses, and the labels that Codex gives to its own telemetry, which say nothing about the answer.
var passed = []string{
	"prompt", "prompt_cache_options", "prompt_cache_retention", "context_management", "moderation", "access_programs", "image",
	"presence_penalty", "frequency_penalty", "client_metadata",
}

// chatNames are the names that Chat Completions, and Anthropic's Messages, have for members of the Responses API.
var chatNames = map[string]string{
	"messages": "input", "system": "instructions", "max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens",
	"response_format": "text.format", "functions": "tools", "function_call": "tool_choice", "web_search_options": "tools",
	"reasoning_effort": "reasoning.effort", "thinking": "reasoning", "verbosity": "text.verbosity",
	"logprobs": "top_logprobs",
}

// chatOnly are members of Chat Completions that the Responses API has nothing for.
var chatOnly = []string{"audio", "logit_bias", "modalities", "n", "prediction", "seed", "stop"}

// validateUnknown refuses members that the API does not have: a setting that is misspelt would else be none, in silence. What
// has no meaning inside of objects is the upstream's to judge.
func (r *CreateRequest) validateUnknown() *Error {
	err := checkMembers(r.Rest, passed)
	if err == nil {
		return nil
	}
	name := err.Param
	switch {
	case chatNames[name] != "":
		err.Message += " The Responses API has '" + chatNames[name] + "' for it."
	case slices.Contains(chatOnly, name):
		err.Message += " It belongs to Chat Completions: the Responses API has nothing for it."
	}
	return err
}

// checkMembers refuses the first member of an object that is none of those.
func checkMembers(object jsontext.Value, known []string) *Error {
	for _, name := range slices.Sorted(maps.Keys(membersOf(object))) {
		if !slices.Contains(known, name) {
			return Refuse(CodeUnknown, cutParam(name), "Unknown parameter: '%s'.", Quote(name))
		}
	}
	return nil
}
