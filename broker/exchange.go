package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/schema"
)

// Exchange returns what a response was asked and what it has said, from its log or its archive. Of a response that was not
// to be stored there is no exchange once it has ended: nobody may go on from it. Its errors are those of [Broker.Read].
func (b *Broker) Exchange(ctx context.Context, ref schema.Ref) (*schema.Exchange, error) {
	h, err := b.Read(ctx, ref)
	if err != nil {
		return nil, err
	}
	x, err := schema.ReadExchange(ref, h.Records)
	if err != nil {
		return nil, err
	}
	if !x.Request.Stores() && x.Response.Ended() {
		return nil, fmt.Errorf("read exchange %s: not stored: %w", ref, ErrNotFound)
	}
	return x, nil
}

// RetryAt returns until when the upstream asks to be left alone whose failure a response ended with; the zero time where it
// did not say, or the response ended otherwise. Its errors are those of [Broker.Read].
func (b *Broker) RetryAt(ctx context.Context, ref schema.Ref) (time.Time, error) {
	h, err := b.Read(ctx, ref)
	if err != nil {
		return time.Time{}, err
	}
	at, err := schema.RetryAt(h.Records)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the end of %s: %w", ref, err)
	}
	return at, nil
}

// maxRecalls bounds the responses that one call of Past reads at once: each may be a log of some size.
const maxRecalls = 8

// Past returns what was asked and said in a thread of a tenant's responses, in its order. Its errors are those of
// [Broker.Exchange], of any response of the thread, since what lacks one is another past; and ErrTooLong.
func (b *Broker) Past(ctx context.Context, tenant string, thread []string) ([]schema.Item, error) {
	said := make([][]schema.Item, len(thread))
	var size atomic.Int64
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(maxRecalls)
	for i, id := range thread {
		reads.Go(func() error {
			ref, err := schema.NewRef(tenant, id)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrNotFound, err)
			}
			x, err := b.Exchange(ctx, ref)
			if err != nil {
				return err
			}
			if size.Add(int64(x.Size())) > schema.MaxThreadBytes {
				return ErrTooLong
			}
			said[i] = x.Items()
			return nil
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(said...), nil
}

// Command returns what a response was made from: its log's request record, which the stream leader has, or its archive's.
// Its errors are ErrNotFound, ErrGone (also where it was sealed without content), a *CorruptError, or ctx's.
func (b *Broker) Command(ctx context.Context, ref schema.Ref) (*schema.Command, error) {
	body, err := b.requestBody(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read request of %s: %w", ref, err)
	}
	return schema.ParseCommand(body)
}

func (b *Broker) requestBody(ctx context.Context, ref schema.Ref) ([]byte, error) {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return nil, err
	}
	if err := b.refuseGone(ctx, p); err != nil {
		return nil, err
	}
	body, err := b.hotRequest(ctx, p)
	if err != nil || body != nil {
		return body, err
	}
	h, err := b.unseal(ctx, p)
	switch {
	case err == nil:
		return h.Records[0].Body, nil
	case !errors.Is(err, errDigestOnly):
		return nil, err
	}
	// The log has aged out, or was begun, ended and sealed since the first look.
	if body, err = b.hotRequest(ctx, p); err == nil && body == nil {
		err = ErrGone
	}
	return body, err
}

// hotRequest reads the request record of a log; nil where there is no log.
func (b *Broker) hotRequest(ctx context.Context, p place) ([]byte, error) {
	first, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.first(ctx, p.logStream(), p.log()) })
	if err != nil || first == nil {
		return nil, err
	}
	e, err := decode(first.header, first.data)
	if err == nil && e.Kind != schema.RecordRequest {
		err = fmt.Errorf("%w: the first is of kind %s", errUnreadable, e.Kind)
	}
	if err != nil {
		return nil, &CorruptError{p.ref, 0, err}
	}
	return e.Body, nil
}
