package sseserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// create accepts a request and serves its response. The run belongs to the log from then on: it goes on, whatever
// becomes of this connection.
func (s *Server) create(c echo.Context) error {
	began := time.Now()
	req, digest, err := s.readCreate(c)
	if err != nil {
		return err
	}
	ctx, leave, err := s.subscribers.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer leave()
	cmd, secrets, err := s.command(c, req, digest, began)
	if err != nil {
		return err
	}
	defer s.cfg.Expect(cmd.Ref())()
	if err := s.commit(ctx, cmd, secrets); err != nil {
		return err
	}
	if !req.Streams() {
		return s.await(ctx, c, cmd.Ref())
	}
	f, err := s.cfg.Follow(ctx, cmd.Ref(), start.after)
	if err != nil {
		return left(ctx, cmd.Ref(), err)
	}
	s.stream(ctx, c, f, began, kindCreate)
	return nil
}

// readCreate returns the request, and the digest of the body that it came in.
func (s *Server) readCreate(c echo.Context) (*schema.CreateRequest, string, error) {
	body, err := s.readJSON(c)
	if err != nil {
		return nil, "", err
	}
	req, refusal := schema.ParseCreate(body)
	if refusal != nil {
		return nil, "", refusal
	}
	if err := s.cfg.Admit(c.Request().Context(), req); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(body)
	return req, hex.EncodeToString(sum[:]), nil
}

// command mints the response's id and turns the request into what the queue holds, and the secrets beside it.
func (s *Server) command(c echo.Context, req *schema.CreateRequest, digest string, at time.Time) (*schema.Command, []byte, error) {
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return nil, nil, err
	}
	secrets, err := encodeSecrets(req.TakeSecrets())
	if err != nil {
		return nil, nil, err
	}
	kept, err := json.Marshal(req, json.Deterministic(true))
	if err != nil {
		return nil, nil, fmt.Errorf("encode request: %w", err)
	}
	id, err := mintID()
	if err != nil {
		return nil, nil, err
	}
	if _, err := schema.NewRef(tenant, id); err != nil {
		return nil, nil, fmt.Errorf("mint a response: %w", err)
	}
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: tenant, Response: id, CreatedAt: at.UnixMilli(),
		Trace: traceparent(c.Request().Context()), Digest: digest, Request: kept,
	}, secrets, nil
}

// mintID returns resp_ and a UUIDv7: in order of time, as logs and archives like it, and not to be guessed.
func mintID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("mint a response id: %w", err)
	}
	return "resp_" + hex.EncodeToString(id[:]), nil
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

// commit enqueues the command and opens its log. A caller that goes away meanwhile does not stop it halfway. After the
// first write was tried, no error invites a retry: its outcome may be that the run has begun.
func (s *Server) commit(ctx context.Context, cmd *schema.Command, secrets []byte) error {
	rec, err := cmd.RequestRecord()
	if err != nil {
		return fmt.Errorf("make the log of %s: %w", cmd.Ref(), err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CommitTimeout)
	defer cancel()
	err = s.cfg.Broker.Enqueue(ctx, cmd, secrets)
	switch {
	case errors.Is(err, broker.ErrFull):
		return err
	case errors.Is(err, broker.ErrExists):
		// The id was minted here a moment ago: it is this very command, stored by a try whose answer was lost.
	case err != nil:
		return unsettled(cmd, fmt.Errorf("enqueue %s: %w", cmd.Ref(), err))
	}
	if err := s.begin(ctx, rec, cmd.Ref()); err != nil {
		return unsettled(cmd, err)
	}
	return nil
}

// beginPause is between two tries to write the request record.
const beginPause = 100 * time.Millisecond

// begin writes the request record, again and again until ctx ends. A worker that was faster has written the same.
func (s *Server) begin(ctx context.Context, rec schema.Record, ref schema.Ref) error {
	for {
		err := s.cfg.Broker.Begin(ctx, rec, ref)
		if err == nil {
			return nil
		}
		if errors.Is(err, broker.ErrExists) {
			return fmt.Errorf("open log %s: %w", ref, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("open log %s: %w", ref, err)
		case <-time.After(beginPause):
		}
	}
}

// unsettled tells the caller which response to look for, and the log (through [Server.refuse]) why.
func unsettled(cmd *schema.Command, cause error) error {
	return startedError{causedError{cause: cause, shown: &schema.Error{
		Status: http.StatusInternalServerError, Type: schema.TypeServer, Code: schema.CodeServer,
		Message: "The response may have begun: ask for " + cmd.Response + " before you try again.",
	}}}
}
