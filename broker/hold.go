package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// The queue hands a job out again when it has heard no heartbeat for Config.AckWait: because its worker is dead, or because
// no leader was there to hear it. An election takes longer than AckWait, so a job that was handed out again asks for its
// worker. One that says it is here keeps the job: its next heartbeat extends this delivery like the one before. Nothing
// depends on the answer but a model call that need not be made twice; what is right, the fence decides.

// heldPatience is how long a worker that may be alive is waited for. Of one whose process has ended the server knows, and says so
// at once.
const heldPatience = 500 * time.Millisecond

// hold answers who asks for this job's worker, until release is called.
func (j *Job) hold() (release func()) {
	sub, err := j.broker.conns.queue.Subscribe(holdSubject(j.Command.Ref()), func(m *nats.Msg) {
		if err := m.Respond(nil); err != nil {
			j.broker.log.Debug("asked for a job", "run", j.Command.Response, "error", err)
		}
	})
	if err != nil {
		j.broker.log.Warn("job cannot be asked for", "run", j.Command.Response, "error", err)
		return func() {}
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil && !closed(err) {
			j.broker.log.Warn("job held for too long", "run", j.Command.Response, "error", err)
		}
	}
}

// Held reports whether a worker, perhaps of this process, has the job in its hands and keeps it, so that this delivery is one too
// many. It is to be let go then: neither kept nor acked, nor given back.
func (j *Job) Held(ctx context.Context) bool {
	if j.Delivered == 1 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, heldPatience)
	defer cancel()
	_, err := j.broker.conns.queue.RequestWithContext(ctx, holdSubject(j.Command.Ref()), nil)
	return err == nil
}
