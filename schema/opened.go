package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// OwnID reports whether a producer may choose this id for its response. It must not be guessed by others.
func OwnID(id string) bool { return ownID.MatchString(id) }

var ownID = regexp.MustCompile(`^resp_[A-Za-z0-9]{16,59}$`)

// answered are the members of a response by which its request is known.
var answered = []string{
	"model", "instructions", "metadata", "temperature", "top_p", "top_logprobs", "tools", "tool_choice", "text", "reasoning",
	"parallel_tool_calls", "max_output_tokens", "max_tool_calls", "truncation", "prompt_cache_key", "safety_identifier", "user",
}

// Opened returns the command of a response that a producer opens by its first events, and feeds alone. Its request is what those
// events answer: as far as one of them tells of it, and it can be served; what it tells of secrets is left out. Whoever opens the
// same response for the same producer makes a command of the same digest.
func Opened(ref Ref, producer string, first []jsontext.Value, at time.Time) (*Command, error) {
	req, err := openedBy(producer, first)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", ref, err)
	}
	req.TakeSecrets()
	body, err := json.Marshal(req, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", ref, err)
	}
	sum := sha256.Sum256([]byte("ingest\x00" + ref.Tenant() + "\x00" + ref.Response() + "\x00" + producer))
	return &Command{
		Version: FormatVersion, Tenant: ref.Tenant(), Response: ref.Response(), CreatedAt: at.UnixMilli(),
		Digest: hex.EncodeToString(sum[:]), Request: body,
	}, nil
}

func openedBy(producer string, events []jsontext.Value) (*CreateRequest, error) {
	sources, err := json.Marshal(Sources{Producers: []string{producer}})
	if err != nil {
		return nil, err
	}
	name, err := jsontext.AppendQuote(nil, producer)
	if err != nil {
		return nil, err
	}
	least := map[string]jsontext.Value{"model": name, "midstream": sources}
	members := maps.Clone(least)
	maps.Copy(members, firstTold(events))
	if req, err := parseMembers(members); err == nil {
		return req, nil
	}
	return parseMembers(least)
}

// firstTold returns what the first event of a lifecycle tells of its request.
func firstTold(events []jsontext.Value) map[string]jsontext.Value {
	members := map[string]jsontext.Value{}
	for _, raw := range events {
		var e struct {
			Type     EventType                 `json:"type"`
			Response map[string]jsontext.Value `json:"response"`
		}
		if json.Unmarshal(raw, &e) != nil || !e.Type.Lifecycle() || e.Response == nil {
			continue
		}
		for _, name := range answered {
			if v := e.Response[name]; len(v) > 0 && v.Kind() != 'n' {
				members[name] = v
			}
		}
		break
	}
	return members
}

func parseMembers(members map[string]jsontext.Value) (*CreateRequest, error) {
	body, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	req, refused := ParseCreate(body)
	if refused != nil {
		return nil, refused
	}
	return req, nil
}
