package sseserver

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// maxCommand bounds what the queue holds of one request, in bytes: with the items that it refers to it may be larger than
// its body was.
const maxCommand = schema.MaxPayload / 2

// command turns an order into what the queue holds, and the secrets beside it. What the request refers to is found first:
// the run must not depend on what becomes of it.
func (s *Server) command(ctx context.Context, o *order, ref schema.Ref) (*schema.Command, []byte, error) {
	if err := s.resolve(ctx, o); err != nil {
		return nil, nil, err
	}
	if err := s.checkContext(ctx, o); err != nil {
		return nil, nil, err
	}
	taken := o.req.TakeSecrets()
	secrets, err := encodeSecrets(taken)
	if err != nil {
		return nil, nil, err
	}
	kept, err := json.Marshal(o.req, json.Deterministic(true))
	if err != nil {
		return nil, nil, fmt.Errorf("encode request: %w", err)
	}
	if len(kept) > maxCommand {
		return nil, nil, tooLarge(maxCommand)
	}
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: ref.Tenant(), Response: ref.Response(), CreatedAt: o.at.UnixMilli(),
		Trace: o.trace, Digest: o.digest, Thread: o.thread, Conversation: o.point, Request: kept,
		Secrets: slices.Sorted(maps.Keys(taken)),
	}, secrets, nil
}

func encodeSecrets(secrets map[string]schema.Secret) ([]byte, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(secrets, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return data, nil
}
