package broker

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// mustEnqueue leaves a response in the moment between its commit and its log's beginning.
func mustEnqueue(tb testing.TB, b *Broker, response string) *schema.Command {
	tb.Helper()
	cmd := command(response)
	must(tb, b.Enqueue(testContext(tb), cmd, nil))
	return cmd
}

// mustBeginLate writes the request record as the gateway does, when somebody else has been faster.
func mustBeginLate(tb testing.TB, b *Broker, cmd *schema.Command) {
	tb.Helper()
	rec, err := cmd.RequestRecord()
	must(tb, err)
	must(tb, b.Begin(testContext(tb), rec, cmd.Ref()))
}

// A response that is queued and has no log yet is cancelled, not unknown: it gets its log, with one end in it. The gateway
// finds its own record there, and the worker that claims the job finds nothing to do.
func TestCancel_NotBegun(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, patient)
	cmd := mustEnqueue(t, b, "resp_queued")
	must(t, b.Cancel(testContext(t), cmd.Ref()))
	if records := wantCancelled(t, b, cmd.Ref(), 1); len(records) != 2 {
		t.Errorf("%d records", len(records))
	}
	mustBeginLate(t, b, cmd)
	job, err := b.Claim(testContext(t))
	must(t, err)
	run := fold(t, mustRead(t, b, job.Command.Ref()))
	if !run.State.Ended() || run.Command.Digest != cmd.Digest {
		t.Errorf("the worker finds %+v", run.State.Response())
	}
	must(t, job.Ack(testContext(t)))
	must(t, b.Cancel(testContext(t), cmd.Ref()))
	wantCancelled(t, b, cmd.Ref(), 1)
}

// One that a worker has claimed, and not begun, is cancelled as well.
func TestCancel_ClaimedButNotBegun(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, patient)
	cmd := mustEnqueue(t, b, "resp_in_hand")
	_, err := b.Claim(testContext(t))
	must(t, err)
	must(t, b.Cancel(testContext(t), cmd.Ref()))
	wantCancelled(t, b, cmd.Ref(), 1)
}

// A response that is queued and has no log yet is erased, and stays so: the gateway's record comes to nothing, and the worker
// drops the job.
func TestDelete_NotBegun(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, patient)
	cmd := mustEnqueue(t, b, "resp_queued")
	must(t, b.Delete(testContext(t), cmd.Ref()))
	wantErased(t, b, cmd.Ref())
	mustBeginLate(t, b, cmd)
	wantErased(t, b, cmd.Ref())
	job, err := b.Claim(testContext(t))
	must(t, err)
	if _, err := b.Read(testContext(t), job.Command.Ref()); !errors.Is(err, ErrGone) {
		t.Errorf("the worker reads %v", err)
	}
	must(t, job.Drop(testContext(t)))
	if err := b.Delete(testContext(t), cmd.Ref()); !errors.Is(err, ErrGone) {
		t.Errorf("again: %v", err)
	}
}

// A job whose response is sealed, and whose log has aged out, is a lost ack: nothing is begun a second time.
func TestCancel_SealedButStillQueued(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.LogAge = 2 * time.Second })
	cmd := mustEnqueue(t, b, "resp_old")
	o := mustFinish(t, b, cmd.Response, "The end", true)
	waitUntil(t, "the log has aged out", func() bool {
		tip, err := b.tip(testContext(t), o.w.place)
		return err == nil && tip == 0
	})
	must(t, b.Cancel(testContext(t), cmd.Ref()))
	if tip, err := b.tip(testContext(t), o.w.place); tip != 0 || err != nil {
		t.Errorf("the log has begun again: %d, %v", tip, err)
	}
	if resp, _ := mustEnd(t, b, cmd.Ref()); resp.Status != schema.StatusCompleted {
		t.Error(resp.Status)
	}
}

// Gateway, worker and a caller who cancels may come in any order: nobody is told that there is no such response, and it has
// one end.
func TestCancel_RacesWithTheBeginning(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	for n := range 10 {
		cmd := mustEnqueue(t, b, fmt.Sprintf("resp_begin_%d", n))
		rec, err := cmd.RequestRecord()
		must(t, err)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if err := b.Begin(testContext(t), rec, cmd.Ref()); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := b.Cancel(testContext(t), cmd.Ref()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantCancelled(t, b, cmd.Ref(), 1)
	}
}
