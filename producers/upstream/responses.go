package upstream

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// responses is the Responses API itself, as OpenAI, vLLM and others speak it. Items and their events pass through, those
// of kinds unknown here too, under local ids and indexes; what the upstream says of the response as a whole does not.
// The first terminal event ends the answer.
var responses = dialect{
	path: "/responses",
	list: "/models",
	sign: bearer,
	serves: []string{ // not moderation: its results are said of the response as a whole, which stays behind
		paramTruncation, paramPrompt, paramContext, paramPrograms, paramImage, paramVerbosity, paramLogprobs, paramTopLogprobs,
		paramSummary, paramOldSummary, paramReasonContext, paramReasonMode, paramCacheOptions, paramCacheRetention, paramPresence, paramFrequency,
	},
	count:    &errand{"/responses/input_tokens", encodeCount},
	compact:  &errand{"/responses/compact", encodeCompact},
	maxEvent: schema.MaxPayload,
	encode:   encodeCall,
	relent:   relentResponses,
	decode: func(a *answer) decoder {
		return &responsesDecoder{answer: a, transit: transit{
			items: &a.items, name: a.name, byID: map[string]*passing{}, byIndex: map[int]*passing{},
		}}
	},
}

type responsesDecoder struct {
	*answer
	transit transit
	final   *finalResponse
}

// responsesHead is what is looked at before an event is decoded as a whole: half a character in a delta is not mended,
// it may yet become a whole one; and a response is read only where it counts.
type responsesHead struct {
	Type     schema.EventType `json:"type"`
	Object   string           `json:"object"`
	Delta    jsontext.Value   `json:"delta"`
	Response jsontext.Value   `json:"response"`
	Error    jsontext.Value   `json:"error"`
}

// finalResponse is what counts in a response that has ended.
type finalResponse struct {
	Status     string                    `json:"status"`
	Error      jsontext.Value            `json:"error"`
	Incomplete *schema.IncompleteDetails `json:"incomplete_details"`
	Output     []jsontext.Value          `json:"output"`
	Usage      jsontext.Value            `json:"usage"`
	Tier       jsontext.Value            `json:"service_tier"`
}

func (d *responsesDecoder) ended() bool { return d.final != nil }

func (d *responsesDecoder) event(data []byte) (done bool, err error) {
	if bytes.HasPrefix(data, doneMark) {
		return true, nil
	}
	var head responsesHead
	if err := json.Unmarshal(data, &head, lenient); err != nil {
		return false, unreadable(d.name, err)
	}
	switch {
	case head.Type == "" && head.Object == "response":
		return true, d.finish(data)
	case head.Type == "", head.Type == schema.ErrorEvent, head.Error.Kind() == '{', head.Error.Kind() == '"':
		if r := parseRefusal(data); r != nil {
			return false, d.failure(r)
		}
		return false, unreadable(d.name, nil)
	case head.Type.Terminal(), head.Type == "response.cancelled":
		return true, d.finish(head.Response)
	case len(head.Response) > 0:
		return false, nil // the upstream's own lifecycle
	}
	return false, d.pass(data, &head)
}

func unreadable(name string, cause error) error {
	return broken(cause, "upstream %s sent an event that cannot be read", name)
}

// finish takes the response as it ended.
func (d *responsesDecoder) finish(raw jsontext.Value) error {
	raw, err := mend(raw)
	if err != nil {
		return unreadable(d.name, err)
	}
	var r finalResponse
	if err := json.Unmarshal(raw, &r); err != nil {
		return unreadable(d.name, err)
	}
	switch r.Status {
	case schema.StatusCompleted, schema.StatusIncomplete:
		d.final = &r
		return nil
	}
	refusal := parseRefusal(raw)
	if refusal == nil {
		return broken(nil, "upstream %s ended its answer with status %.20q", d.name, r.Status)
	}
	return d.failure(refusal)
}

func (d *responsesDecoder) pass(data []byte, head *responsesHead) error {
	mended, err := mend(data)
	if err != nil {
		return unreadable(d.name, err)
	}
	e, err := schema.ParseEvent(mended)
	switch {
	case err != nil && !tells(head.Type):
		return nil // of a kind to come, in a form that our events do not have; its item's end says what it was
	case err != nil, !visible(e.Type):
		return unreadable(d.name, err)
	}
	if len(head.Error) > 0 {
		e.Rest = without(e.Rest, "error") // openai-go gives up on the name alone, null or not
	}
	if e.OutputIndex == nil && e.ItemID == "" && e.Item == nil {
		return nil // keepalives, and news of the connection
	}
	return d.transit.pass(&e, head.Delta)
}

// told are the beginnings of the event types whose loss would be a loss of what the model said.
var told = []string{
	"response.output_", "response.content_part.", "response.refusal.", "response.reasoning_",
	"response.function_call_arguments.", "response.custom_tool_call_input.",
}

func tells(t schema.EventType) bool {
	return slices.ContainsFunc(told, func(prefix string) bool { return strings.HasPrefix(string(t), prefix) })
}

// visible reports whether t can be the name of an event on our wire too.
func visible(t schema.EventType) bool {
	return len(t) <= 128 && !strings.ContainsFunc(string(t), func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// without removes a member from an object.
func without(object jsontext.Value, name string) jsontext.Value {
	var members map[string]jsontext.Value
	if json.Unmarshal(object, &members) != nil {
		return object
	}
	delete(members, name)
	rest, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return object
	}
	return rest
}

func (d *responsesDecoder) end() (Outcome, error) {
	for i, raw := range d.final.Output {
		var it schema.Item
		if err := json.Unmarshal(raw, &it); err != nil {
			return Outcome{}, unreadable(d.name, err)
		}
		if err := d.transit.settle(i, &it); err != nil {
			return Outcome{}, err
		}
	}
	if err := d.transit.allDone(); err != nil {
		return Outcome{}, err
	}
	out := Outcome{Usage: responsesUsage(d.final.Usage), ServiceTier: word(text(d.final.Tier))}
	if d.final.Status == schema.StatusIncomplete {
		out.Incomplete = incompleteTokens
		if why := d.final.Incomplete; why != nil && word(why.Reason) != "" {
			out.Incomplete = why.Reason
		}
	}
	return out, nil
}

// responsesUsage reads a usage; nil for none, and for one that cannot be read: an answer is not lost for its bill.
func responsesUsage(raw jsontext.Value) *schema.Usage {
	var u schema.Usage
	if raw.Kind() != '{' || json.Unmarshal(raw, &u) != nil {
		return nil
	}
	return &u
}
