package sseserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// ownID is what an id looks like that a producer may choose for its response. It must not be guessed by others.
var ownID = regexp.MustCompile(`^resp_[A-Za-z0-9]{16,59}$`)

// open makes the response of a producer that feeds it alone, from what its first events say of it.
func (in *intake) open(ctx context.Context, first *schema.Batch) ([]string, error) {
	s, producers := in.server, []string{in.claim.producer}
	if !ownID.MatchString(in.ref.Response()) {
		return nil, notFound(in.ref.Response())
	}
	sum := sha256.Sum256([]byte("ingest\x00" + in.ref.Tenant() + "\x00" + in.ref.Response() + "\x00" + in.claim.producer))
	req, err := openedBy(in.claim.producer, first.Events)
	if err != nil {
		return nil, err
	}
	o := &order{tenant: in.ref.Tenant(), key: openedKey, digest: hex.EncodeToString(sum[:]), at: time.Now(), req: req, trace: traceparent(ctx)}
	cmd, secrets, err := s.command(ctx, o, in.ref)
	if err != nil {
		return nil, err
	}
	defer s.cfg.Expect(in.ref)()
	_, err = s.commit(ctx, o, cmd, secrets)
	if found, looked := s.cfg.Library.Command(ctx, in.ref); err != nil && looked == nil {
		return producersOf(found) // another producer was quicker
	}
	return producers, err
}

func producersOf(cmd *schema.Command) ([]string, error) {
	req, err := cmd.Parse()
	if err != nil {
		return nil, err
	}
	return req.Producers(), nil
}

// openedKey stands for the key of a response that may be opened on several nodes at once: all of them make the same of it.
const openedKey = "ingest"

// told are the members of a response by which its request is known.
var told = []string{
	"model", "instructions", "metadata", "temperature", "top_p", "top_logprobs", "tools", "tool_choice", "text", "reasoning",
	"parallel_tool_calls", "max_output_tokens", "max_tool_calls", "truncation", "prompt_cache_key", "safety_identifier", "user",
}

// openedBy returns the request that a producer's events answer: as far as one of them tells of it, and it can be served.
func openedBy(producer string, events []jsontext.Value) (*schema.CreateRequest, error) {
	members := map[string]jsontext.Value{"model": quoted(producer)}
	for _, raw := range events {
		var e struct {
			Type     schema.EventType          `json:"type"`
			Response map[string]jsontext.Value `json:"response"`
		}
		if json.Unmarshal(raw, &e) != nil || !e.Type.Lifecycle() || e.Response == nil {
			continue
		}
		for _, name := range told {
			if v := e.Response[name]; len(v) > 0 && v.Kind() != 'n' {
				members[name] = v
			}
		}
		break
	}
	sources, err := json.Marshal(schema.Sources{Producers: []string{producer}})
	if err != nil {
		return nil, fmt.Errorf("open a response: %w", err)
	}
	members["midstream"] = sources
	if req := parsed(members); req != nil {
		return req, nil
	}
	return parsed(map[string]jsontext.Value{"model": quoted(producer), "midstream": sources}), nil
}

// parsed returns the request that has these members, or nil where it could not be served.
func parsed(members map[string]jsontext.Value) *schema.CreateRequest {
	body, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil
	}
	req, refused := schema.ParseCreate(body)
	if refused != nil {
		return nil
	}
	return req
}

func quoted(s string) jsontext.Value {
	v, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return jsontext.Value(`""`)
	}
	return v
}
