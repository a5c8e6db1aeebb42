package producers

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// recall reads what the response goes on from: the items of its thread, oldest first. A response of the thread that was
// deleted since the request was accepted ends the run: its answer would be another one without it.
func (r *run) recall(ctx context.Context) error {
	thread := r.fold.Command.Thread
	said := make([][]schema.Item, len(thread))
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(maxRecalls)
	for i, id := range thread {
		reads.Go(func() (err error) {
			said[i], err = r.itemsOf(ctx, id)
			return err
		})
	}
	err := reads.Wait()
	switch {
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, broker.ErrGone):
		r.cause = forgotten()
		return nil
	case err != nil:
		return fmt.Errorf("recall %s: %w", r.ref, err)
	}
	for _, items := range said {
		r.past = append(r.past, items...)
	}
	return nil
}

func (r *run) itemsOf(ctx context.Context, id string) ([]schema.Item, error) {
	ref, err := schema.NewRef(r.ref.Tenant(), id)
	if err != nil {
		return nil, err
	}
	x, err := r.node.Library.Exchange(ctx, ref)
	if err != nil {
		return nil, err
	}
	return x.Items(), nil
}
