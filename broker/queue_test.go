package broker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A command comes to one worker with its secrets, and is gone once it is acked.
func TestQueue_ClaimAndAck(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	cmd := command("resp_job")
	must(t, b.Enqueue(testContext(t), cmd, []byte("hush")))
	if err := b.Enqueue(testContext(t), cmd, nil); !errors.Is(err, ErrExists) {
		t.Fatalf("the same command again: %v", err)
	}
	job, err := b.Claim(testContext(t))
	must(t, err)
	if diff := cmp.Diff(cmd, job.Command); diff != "" {
		t.Error(diff)
	}
	if string(job.Secrets) != "hush" || job.Delivered != 1 {
		t.Errorf("secrets %q, delivered %d", job.Secrets, job.Delivered)
	}
	must(t, job.Ack(testContext(t)))
	must(t, b.Enqueue(testContext(t), cmd, nil))
}

// A claim ends with its context, and takes nothing with it.
func TestQueue_ClaimEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	must(t, b.Enqueue(testContext(t), command("resp_later"), nil))
	_, err := b.Claim(testContext(t))
	must(t, err)
}

// A job is another's when it is given back, or not kept; as long as it is kept it is nobody else's.
func TestQueue_Redelivery(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	must(t, b.Enqueue(testContext(t), command("resp_again"), []byte("hush")))
	first, err := b.Claim(testContext(t))
	must(t, err)
	must(t, first.Nak(testContext(t), 0))
	second, err := b.Claim(testContext(t))
	must(t, err)

	stop := second.Keep()
	kept, cancel := context.WithTimeout(testContext(t), 3*b.cfg.AckWait)
	defer cancel()
	if job, err := b.Claim(kept); err == nil {
		t.Fatalf("delivery %d of a job that was kept", job.Delivered)
	}
	stop()
	third, err := b.Claim(testContext(t))
	must(t, err)
	if third.Delivered != 3 || string(third.Secrets) != "hush" {
		t.Errorf("delivery %d with %q", third.Delivered, third.Secrets)
	}
}

// A job whose heartbeats did not get through is handed out again; then its worker says that it has it, and its next heartbeats
// count as before. One that has given it back, or is no more, does not say so.
func TestQueue_HeldByALivingWorker(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	must(t, b.Enqueue(testContext(t), command("resp_held"), nil))
	first, err := b.Claim(testContext(t))
	must(t, err)
	release := first.hold()
	second, err := b.Claim(testContext(t))
	must(t, err)
	if !second.Held(testContext(t)) {
		t.Fatal("the worker was not heard")
	}
	stop := first.Keep()
	release()
	kept, cancel := context.WithTimeout(testContext(t), 3*b.cfg.AckWait)
	defer cancel()
	if job, err := b.Claim(kept); err == nil {
		t.Fatalf("delivery %d of a job whose worker keeps it", job.Delivered)
	}
	stop()
	third, err := b.Claim(testContext(t))
	must(t, err)
	if third.Held(testContext(t)) {
		t.Error("a worker that has gone holds it")
	}
	third.Keep()
	must(t, third.Nak(testContext(t), 0))
	fourth, err := b.Claim(testContext(t))
	must(t, err)
	if fourth.Held(testContext(t)) {
		t.Error("a worker that has given it back holds it")
	}
}

// A queue that does not answer is told of once, and so is its return, however often it was asked in between.
func TestQueue_TellsOfSilenceOnce(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &told{}
	s := mustServe(t, dir, "127.0.0.1:0")
	address := host(t, s)
	b := mustOpen(t, external(address), func(c *Config) { c.Logger = slog.New(log) })
	claimed := make(chan error)
	go func() {
		_, err := b.Claim(testContext(t))
		claimed <- err
	}()
	mustStop(t, s)
	waitUntil(t, "the queue is missed", func() bool { return log.count("claim") > 1 })
	s = mustServe(t, dir, address)
	defer mustStop(t, s)
	must(t, b.Enqueue(testContext(t), command("resp_afterwards"), nil))
	must(t, <-claimed)
	const missed = "queue does not answer: no leader, or no way to it; asking again"
	if gone, back := log.count(missed), log.count("queue is back"); gone != 1 || back != 1 {
		t.Errorf("told of its silence %d times, of its return %d times", gone, back)
	}
}
