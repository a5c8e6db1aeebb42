package sseserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// headerKey makes a create request one that may be sent again (IETF draft-ietf-httpapi-idempotency-key-header): the same
// key with the same body is the same response, for as long as that is stored.
const headerKey = "Idempotency-Key"

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 255

func readKey(h http.Header) (string, error) {
	keys := h.Values(headerKey)
	if len(keys) == 0 {
		return "", nil
	}
	key := keys[0]
	sane := len(key) > 0 && len(key) <= maxKey
	for _, b := range []byte(key) {
		sane = sane && b >= ' ' && b < 0x7f
	}
	if len(keys) > 1 || !sane {
		return "", schema.Refuse(schema.CodeInvalidValue, headerKey, "%s must be given once: 1 to %d printable ASCII characters.", headerKey, maxKey)
	}
	return key, nil
}

// ref names the response that an order makes. Without a key it is new: a UUIDv7, in order of time, as logs and archives
// like it, and not to be guessed. With a key it is derived, so that every node finds the response that the key has made.
func (o *order) ref() (schema.Ref, error) {
	minted, err := mint()
	if err != nil {
		return schema.Ref{}, err
	}
	if o.key != "" {
		sum := sha256.Sum256([]byte("idempotency-key\x00" + o.tenant + "\x00" + o.key))
		minted = hex.EncodeToString(sum[:len(uuid.UUID{})])
	}
	ref, err := schema.NewRef(o.tenant, "resp_"+minted)
	if err != nil {
		return schema.Ref{}, fmt.Errorf("mint a response: %w", err)
	}
	return ref, nil
}

// mint returns the digits of a UUIDv7.
func mint() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("mint an id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// made reports whether an earlier request with the order's key has made its response. One with another body is refused,
// and so is one whose response was deleted: to make it again would be to run its tools again.
func (s *Server) made(ctx context.Context, o *order, ref schema.Ref) (bool, error) {
	cmd, err := s.cfg.Library.Command(ctx, ref)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return false, nil
	case errors.Is(err, broker.ErrGone):
		return false, &schema.Error{
			Status: http.StatusGone, Type: schema.TypeInvalidRequest, Param: headerKey, Code: codeErased,
			Message: "The response that this key has made is no longer there. Use another key for another response.",
		}
	case err != nil:
		return false, fmt.Errorf("look for the response of a key: %w", err)
	case cmd.Digest != o.digest:
		return false, &schema.Error{
			Status: http.StatusConflict, Type: schema.TypeInvalidRequest, Param: headerKey, Code: "idempotency_key_in_use",
			Message: "This key was used with another body. Use another key for another request.",
		}
	}
	return true, nil
}

// join waits for the log of a command that another request with the same key has enqueued a moment ago.
func (s *Server) join(ctx context.Context, o *order, ref schema.Ref) (*placed, error) {
	for {
		made, err := s.made(ctx, o, ref)
		if refusal := (*schema.Error)(nil); made || errors.As(err, &refusal) {
			return &placed{ref: ref}, err
		}
		if rest(ctx) != nil {
			return nil, unsettled(ref, errors.Join(errors.New("its log does not begin"), err))
		}
	}
}
