package sseserver

import (
	"context"
	"errors"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// openedKey stands for the key of a response that may be opened on several nodes at once: all of them make the same of it.
const openedKey = "ingest"

// open makes the response of a producer that feeds it alone, from what its first events say of it.
func (in *intake) open(ctx context.Context, first *schema.Batch) ([]string, error) {
	s, producers := in.server, []string{in.claim.producer}
	if !schema.OwnID(in.ref.Response()) {
		e := notFound(in.ref.Response())
		e.Message += " A producer opens one whose id is resp_ and 16 to 59 letters and digits."
		return nil, e
	}
	if _, err := s.spend(in.ref.Tenant()); err != nil {
		return nil, err
	}
	at := time.Now()
	cmd, err := schema.Opened(in.ref, in.claim.producer, first.Events, at)
	if err != nil {
		return nil, err
	}
	if len(cmd.Request) > maxCommand {
		return nil, tooLarge(maxCommand)
	}
	cmd.Trace = traceparent(ctx)
	defer s.cfg.Expect(in.ref)() // it was not there a moment ago, and whoever opens it now begins it with the same record
	_, err = s.commit(ctx, &order{tenant: in.ref.Tenant(), key: openedKey, digest: cmd.Digest, at: at}, cmd, nil)
	if err == nil {
		return producers, nil
	}
	if found, looked := in.command(ctx); looked == nil {
		return producersOf(found) // another producer was quicker
	}
	if caused := (causedError{}); errors.As(err, &caused) {
		return nil, caused.cause // unlike a create, what a producer sends may be sent again
	}
	return nil, err
}

func producersOf(cmd *schema.Command) ([]string, error) {
	req, err := cmd.Parse()
	if err != nil {
		return nil, err
	}
	return req.Producers(), nil
}
