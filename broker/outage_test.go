package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A record so large, or a line so slow, that its answer takes longer than the first try is allowed, is read all the same:
// the tries grow. An outage ends a long one as it does a short one.
func TestInsist_GrowsItsTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutages()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tries, slowUntil := 0, time.Now().Add(time.Minute)
		read := func(ctx context.Context) (int, error) {
			tries++
			ctx, cancel := o.try(ctx)
			defer cancel()
			answerTakes := 7 * time.Second
			if time.Now().After(slowUntil) {
				answerTakes = 0
			}
			select {
			case <-time.After(answerTakes):
				return 42, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		if v, err := insist(ctx, read); err != nil || v != 42 || tries != 3 {
			t.Errorf("%d, error %v after %d tries; want 42 in the third", v, err, tries)
		}
		began := time.Now()
		slowUntil = began.Add(time.Second)
		time.AfterFunc(time.Second, o.strike)
		if v, err := insist(ctx, read); err != nil || v != 42 || time.Since(began) > tryTimeout {
			t.Errorf("%d, error %v after %s; want 42 soon behind the outage", v, err, time.Since(began))
		}
	})
}
