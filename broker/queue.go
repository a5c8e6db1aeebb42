package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// One pull waits so long for a command, and is asked for again at once when it hears nothing for twice the pulse.
const (
	pullWait  = 10 * time.Second
	pullPulse = 2 * time.Second
)

// Enqueue puts a run command into the queue, with its secrets sealed beside it. It is the commit point of a run: once it
// returns nil, the run is made, by this node or another. It tries until the outcome is known. ErrExists: a command for this
// response waits or is worked at already. A *FullError: nothing was enqueued. Any other error, ctx's for one, leaves the outcome
// unknown.
func (b *Broker) Enqueue(ctx context.Context, cmd *schema.Command, secrets []byte) error {
	p, err := locate(cmd.Ref(), b.partitions)
	if err != nil {
		return err
	}
	b.watch.coming.Add(1) // before it is judged: a crowd must not slip in while the first of them are written
	defer b.watch.coming.Add(-1)
	if err := b.admit(p, cmd.Conversation != nil); err != nil {
		return err
	}
	return b.enqueue(ctx, p, cmd, secrets)
}

// enqueue is Enqueue for a run that is let in, or is there already.
func (b *Broker) enqueue(ctx context.Context, p place, cmd *schema.Command, secrets []byte) error {
	body, err := cmd.Encode()
	if err != nil {
		return err
	}
	nonce := rand.Text()
	_, err = b.append(ctx, &message{
		stream: runStream, subject: p.run(),
		header: nats.Header{headerNonce: {nonce}, headerBody: {strconv.Itoa(len(body))}},
		data:   append(body, b.vault.seal(p.ref, secrets)...),
		mine:   func(s *stored) bool { return s.header.Get(headerNonce) == nonce },
		hasty:  true,
	})
	switch {
	case errors.Is(err, errTaken):
		return ErrExists
	case full(err):
		return b.refuse(fullness(runStream))
	case errors.Is(err, errUnsent):
		return b.refuse(BoundSilent)
	case err != nil:
		return fmt.Errorf("enqueue %s: %w", p.ref, err)
	}
	b.watch.line.Add(1)
	return nil
}

// Job is a run command in the hands of this process. It is a lease: others get the job when it is neither acked nor kept for
// the time of Config.AckWait. It does not tell who holds it: see the package comment.
type Job struct {
	Command *schema.Command
	// Secrets are what Enqueue was given; nil if SecretsErr says why they do not open.
	Secrets    []byte
	SecretsErr error
	// Delivered counts how often the job was handed out, this time included. Attempts are counted by the claims in the log.
	Delivered int
	// Queued is when the job was put into the queue, by the server's clock.
	Queued time.Time

	broker *Broker
	msg    jetstream.Msg
	unkeep func() // what Keep returned
}

// Claim returns the next command. It blocks until one comes or ctx ends, and takes no other one meanwhile.
func (b *Broker) Claim(ctx context.Context) (*Job, error) {
	var wait backoff
	for {
		msg, err := b.pull(ctx)
		if ctx.Err() != nil && msg == nil {
			return nil, fmt.Errorf("claim: %w", ctx.Err())
		}
		if closed(err) {
			return nil, fmt.Errorf("claim: %w", ErrClosed)
		}
		b.tellOfQueue(err)
		if err != nil {
			_ = wait.wait(ctx) // the next pull sees ctx's end
			continue
		}
		if job := b.accept(msg); job != nil {
			return job, nil
		}
	}
}

// tellOfQueue logs when the queue stops to answer, as in an election, and when it is back: not each try in between.
func (b *Broker) tellOfQueue(err error) {
	switch was := b.queueSilent.Swap(err != nil); {
	case err != nil && !was:
		b.log.Warn("queue does not answer: no leader, or no way to it; asking again", "error", err)
	case err != nil:
		b.log.Debug("claim", "error", err)
	case was:
		b.log.Info("queue is back")
	}
}

// pull returns nil, nil where no command came in time.
func (b *Broker) pull(ctx context.Context) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, pullWait)
	defer cancel()
	batch, err := b.runs.Fetch(1, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(pullPulse))
	if err != nil {
		return nil, err
	}
	if msg, ok := <-batch.Messages(); ok {
		return msg, nil
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return nil, nil
}

// accept makes a Job of a message. A command that this build cannot read stays in the queue for one that can.
func (b *Broker) accept(msg jetstream.Msg) *Job {
	if msg == nil {
		return nil
	}
	job, err := b.job(msg)
	if err == nil {
		b.metrics.claimed.Inc()
		if job.Delivered == 1 {
			b.watch.line.Add(-1)
		}
		return job
	}
	b.log.Error("run command left in the queue", "error", err)
	if err := msg.NakWithDelay(b.cfg.AckWait); err != nil {
		b.log.Warn("nak run command", "error", err)
	}
	return nil
}

func (b *Broker) job(msg jetstream.Msg) (*Job, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("run command: %w", err)
	}
	cmd, sealed, err := readCommand(msg.Headers(), msg.Data())
	if err != nil {
		return nil, err
	}
	job := &Job{Command: cmd, Delivered: int(meta.NumDelivered), Queued: meta.Timestamp, broker: b, msg: msg, unkeep: func() {}}
	job.Secrets, job.SecretsErr = b.vault.open(cmd.Ref(), sealed)
	return job, nil
}

// readCommand reads what Enqueue wrote: the command, and its secrets as they were sealed.
func readCommand(h nats.Header, data []byte) (cmd *schema.Command, sealed []byte, err error) {
	cut, err := strconv.Atoi(h.Get(headerBody))
	if err != nil || cut < 0 || cut > len(data) {
		return nil, nil, fmt.Errorf("run command: %s is %q of %d bytes", headerBody, h.Get(headerBody), len(data))
	}
	cmd, err = schema.ParseCommand(data[:cut])
	return cmd, data[cut:], err
}

// queued returns the command of a response that waits or is worked at, as the stream leader knows it; nil where there is none.
func (b *Broker) queued(ctx context.Context, p place) (*schema.Command, error) {
	s, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.last(ctx, runStream, p.run()) })
	if err != nil || s == nil {
		return nil, err
	}
	cmd, _, err := readCommand(s.header, s.data)
	if err != nil {
		return nil, fmt.Errorf("read queued command: %w", err)
	}
	return cmd, nil
}

// Heartbeat keeps the job for another Config.AckWait. It does not wait for an answer.
func (j *Job) Heartbeat() error {
	if err := j.msg.InProgress(); err != nil {
		return fmt.Errorf("heartbeat %s: %w", j.Command.Response, err)
	}
	return nil
}

// Keep heartbeats every Config.Heartbeat until stop is called, and answers to [Job.Held]; stop waits until no heartbeat is under
// way. Call stop at once when the job's writer is fenced. It may be called more than once.
func (j *Job) Keep() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	release := j.hold()
	go func() {
		defer close(done)
		j.keep(ctx)
	}()
	j.unkeep = sync.OnceFunc(func() {
		release()
		cancel()
		<-done
	})
	return j.unkeep
}

func (j *Job) keep(ctx context.Context) {
	tick := time.NewTicker(j.broker.cfg.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := j.Heartbeat(); err != nil {
			j.broker.log.Warn("job not kept", "error", err)
		}
	}
}

// Ack ends the job: the run is over, and sealed. It returns nil once the queue has dropped the job, and asks again until there is
// an answer or ctx ends: a job whose ack was lost is handed out again, and waits for its turn each time.
func (j *Job) Ack(ctx context.Context) error {
	_, err := insist(ctx, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := j.broker.conns.outages.try(ctx)
		defer cancel()
		return struct{}{}, j.msg.DoubleAck(ctx)
	})
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("ack job %s: %w", j.Command.Response, err)
	}
	return nil
}

// Drop ends the job of a response that was erased: what a seal was cut short with is erased too, then the job is acked. The
// job of any other response is just acked.
func (j *Job) Drop(ctx context.Context) error {
	p, err := locate(j.Command.Ref(), j.broker.partitions)
	if err == nil {
		_, err = j.broker.sweep(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("drop job %s: %w", j.Command.Response, err)
	}
	return j.Ack(ctx)
}

// nakDelay lets a claim of this process that has just been given up leave the queue: the server would hand the job to it
// and nobody would hear, for the whole of Config.AckWait.
const nakDelay = 50 * time.Millisecond

// Nak gives the job to another worker, or back to this one, after a delay. It is not kept any more then.
func (j *Job) Nak(ctx context.Context, delay time.Duration) error {
	j.unkeep()
	if err := j.msg.NakWithDelay(max(delay, nakDelay)); err != nil {
		return fmt.Errorf("nak job %s: %w", j.Command.Response, err)
	}
	if err := flush(ctx, j.broker.conns.queue); err != nil {
		return fmt.Errorf("nak job %s: %w", j.Command.Response, err)
	}
	return nil
}
