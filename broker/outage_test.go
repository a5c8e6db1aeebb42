package broker

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
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

// A hub catches up with a record that takes longer over a slow line than the first try is allowed.
func TestSource_ReadGrowsItsTries(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	link := mustProxy(t, host(t, s))
	near, far := mustOpen(t, external(host(t, s))), mustOpen(t, external(link.address()))
	h := mustBegin(t, near, "resp_large")
	const size = 1 << 20
	must(t, mustWriter(t, near, h, 1, "w").Commit(testContext(t), schema.RecordClaim, bytes.Repeat([]byte{'x'}, size)))
	tip, err := source{near}.Tip(testContext(t), h.Ref)
	must(t, err)
	link.rate.Store(size * 10 / 24) // 2.4 s for the record
	defer link.rate.Store(0)
	began, records := time.Now(), 0
	must(t, source{far}.Read(testContext(t), h.Ref, 0, tip, func(r hub.Record) error {
		records++
		return nil
	}))
	if took := time.Since(began); records != 2 || took < tryTimeout {
		t.Errorf("%d records after %s: one try would do", records, took)
	}
}
