package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

func mustSweep(tb testing.TB, b *Broker) int {
	tb.Helper()
	found, err := b.SweepRuns(testContext(tb))
	must(tb, err)
	return found
}

// mustClaim takes the next job and acks it: a queue in which nothing else waits.
func mustClaim(tb testing.TB, b *Broker) *Job {
	tb.Helper()
	job, err := b.Claim(testContext(tb))
	must(tb, err)
	return job
}

// What has a job, an archive or a tombstone is left alone; what has none of them comes back to the queue, once.
func TestSweep_FindsWhatNobodyWorksOn(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	must(t, b.Enqueue(testContext(t), command("resp_waits"), nil))
	mustBegin(t, b, "resp_waits")
	mustFinish(t, b, "resp_sealed", "all told", true)
	digest := mustFinish(t, b, "resp_digest", "all told", false)
	must(t, digest.w.Seal(testContext(t), false))
	mustFinish(t, b, "resp_erased", "all told", true)
	must(t, b.Delete(testContext(t), mustRef(t, "resp_erased")))
	if n := mustSweep(t, b); n != 0 {
		t.Fatalf("a sweep found %d runs where none was lost", n)
	}
	must(t, mustClaim(t, b).Ack(testContext(t))) // as a paused worker's late ack does
	mustFinish(t, b, "resp_unsealed", "all told", false)
	if n := mustSweep(t, b); n != 2 {
		t.Errorf("found %d, want the run whose job is gone and the one that was never sealed", n)
	}
	if n := mustSweep(t, b); n != 0 {
		t.Errorf("found %d again", n)
	}
	got := map[string]bool{}
	for range 2 {
		job := mustClaim(t, b)
		got[job.Command.Response] = true
		if diff := cmp.Diff(command(job.Command.Response), job.Command); diff != "" {
			t.Errorf("the command that came back differs (-sent +back):\n%s", diff)
		}
	}
	if !got["resp_waits"] || !got["resp_unsealed"] {
		t.Errorf("jobs: %v", got)
	}
}

// Several nodes may sweep at once: a run comes back once.
func TestSweep_OnManyNodesAtOnce(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	const runs = 20
	for i := range runs {
		mustBegin(t, b, fmt.Sprintf("resp_lost%d", i))
	}
	var found atomic.Int64
	var sweeps sync.WaitGroup
	for range 4 {
		sweeps.Go(func() {
			for partition := range b.partitions { // as another node would: without this one's memory and lock
				logs, err := b.subjects(testContext(t), place{partition: partition}.logStream(), logSubjects(partition))
				if err != nil {
					t.Error(err)
				}
				for subject := range logs {
					ref, err := logRef(subject)
					if err != nil {
						t.Error(err)
						continue
					}
					run, err := b.adopt(testContext(t), place{ref, partition}, bySweep)
					if err != nil {
						t.Error(err)
					}
					if run == runLost {
						found.Add(1)
					}
				}
			}
		})
	}
	sweeps.Wait()
	if found.Load() != runs {
		t.Errorf("%d runs came back, want %d", found.Load(), runs)
	}
}

// A run whose job is lost, found and lost again is found again.
func TestSweep_FindsARunTwice(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Partitions = 1 })
	ref := mustBegin(t, b, "resp_twice").Ref
	for range 2 {
		if n, err := b.SweepRuns(testContext(t)); n != 1 || err != nil {
			t.Fatalf("found %d runs, %v", n, err)
		}
		p, err := locate(ref, 1)
		must(t, err)
		if run, err := b.adopt(testContext(t), p, bySweep); run != runWaits || err != nil {
			t.Errorf("a run with a job: %v, %v", run, err)
		}
		if n, err := b.SweepRuns(testContext(t)); n != 0 || err != nil {
			t.Fatalf("found %d runs, %v", n, err)
		}
		job, err := b.Claim(testContext(t))
		must(t, err)
		must(t, job.Ack(testContext(t)))
	}
}

// A log that is damaged does not keep the sweep from the others, and is not run.
func TestSweep_GoesOnBehindADamagedLog(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Partitions = 1 })
	for i := range 8 {
		mustBegin(t, b, fmt.Sprintf("resp_%d", i))
	}
	rec, err := command("resp_bad").RequestRecord()
	must(t, err)
	rec.Chain[0]++
	mustSlip(t, b, &History{Ref: mustRef(t, "resp_bad")}, rec)
	found, err := b.SweepRuns(testContext(t))
	var damaged *CorruptError
	if !errors.As(err, &damaged) || damaged.Ref.Response() != "resp_bad" || found != 8 {
		t.Errorf("found %d of 8, error %v", found, err)
	}
}

// Somebody who reads a response that is silent brings its lost run back.
func TestSilence_BringsALostRunBack(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Hub.QuietMin, c.Hub.Silence = 10*time.Millisecond, 20*time.Millisecond })
	h := mustBegin(t, b, "resp_read")
	f, err := b.Follow(testContext(t), h.Ref, -1)
	must(t, err)
	defer f.Close()
	if job := mustClaim(t, b); job.Command.Response != "resp_read" {
		t.Errorf("claimed %s", job.Command.Response)
	}
}

// A sweep ends with its context, in the middle too.
func TestSweep_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	for i := range 100 {
		mustFinish(t, b, fmt.Sprintf("resp_%d", i), "told", true)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 20*sweepRest)
	defer cancel()
	if _, err := b.SweepRuns(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// The request record alone makes the command again, whatever else is in it.
func TestSweep_KeepsTheWholeCommand(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	cmd := command("resp_whole")
	cmd.Thread, cmd.Secrets, cmd.Trace = []string{"resp_before"}, []string{"crm"}, "00-aa-bb-01"
	cmd.Conversation = &schema.ConversationPoint{ID: "conv_1"}
	rec, err := cmd.RequestRecord()
	must(t, err)
	must(t, b.Begin(testContext(t), rec, cmd.Ref()))
	mustSweep(t, b)
	if diff := cmp.Diff(cmd, mustClaim(t, b).Command); diff != "" {
		t.Error(diff)
	}
}

// What a sweep knows to be over it still knows behind one that was cut short.
func TestSweep_KeepsWhatItKnows(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.Partitions = 1 })
	for i := range 8 {
		mustFinish(t, b, fmt.Sprintf("resp_over%d", i), "all told", true)
	}
	if n := mustSweep(t, b); n != 0 || len(b.sweeper.done[0]) != 8 {
		t.Fatalf("found %d, knows %d to be over", n, len(b.sweeper.done[0]))
	}
	mustFinish(t, b, "resp_another", "all told", true)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	direct := b.conns.queue
	b.conns.queue = closedConn(t, b) // the question about the new one has no answer
	_, err := b.SweepRuns(ctx)
	b.conns.queue = direct
	if err == nil || len(b.sweeper.done[0]) != 8 {
		t.Errorf("cut short (%v), it knows %d to be over", err, len(b.sweeper.done[0]))
	}
}

// A sweep stops at the first question that has no answer, rather than to ask as much of everything, and knows what it knew.
func TestSweep_StopsAtAnOutage(t *testing.T) {
	t.Parallel()
	s, outage := newSweeper(1), errors.New("no answer")
	refs := []schema.Ref{mustRef(t, "resp_a"), mustRef(t, "resp_b"), mustRef(t, "resp_c")}
	asked := 0
	look := func(err error) func(schema.Ref) (bool, error) {
		return func(schema.Ref) (bool, error) { asked++; return err == nil, err }
	}
	must(t, s.lookAtAll(testContext(t), &s.fed, refs[:1], look(nil)))
	if err := s.lookAtAll(testContext(t), &s.fed, refs, look(outage)); !errors.Is(err, outage) || asked != 2 || len(s.fed) != 1 {
		t.Errorf("%v after %d questions, knows %d to be over", err, asked, len(s.fed))
	}
	damaged := &CorruptError{Ref: refs[1], Err: outage}
	if err := s.lookAtAll(testContext(t), &s.fed, refs, look(damaged)); !errors.Is(err, outage) || asked != 4 || len(s.fed) != 1 {
		t.Errorf("%v after %d questions, knows %d to be over", err, asked, len(s.fed))
	}
	must(t, s.lookAtAll(testContext(t), &s.fed, refs[1:], look(nil)))
	if asked != 6 || len(s.fed) != 2 {
		t.Errorf("%d questions, knows %d to be over", asked, len(s.fed))
	}
}

// closedConn is a connection on which nothing is answered.
func closedConn(t *testing.T, b *Broker) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b.server))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	return nc
}
