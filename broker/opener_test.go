package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/broker/publish"
	"github.com/midstream-dev/midstream/schema"
)

const createdBy = `{"type":"response.created","response":{"id":"theirs","model":"gpt-4o"}}`

// mustPublish sends as a producer that knows NATS and nothing else.
func mustPublish(t *testing.T, b *Broker, ref schema.Ref, producer, events string) {
	t.Helper()
	subject, err := publish.Subject(ref.Tenant(), ref.Response(), producer)
	must(t, err)
	nc, err := nats.Connect("", nats.InProcessServer(b.server))
	must(t, err)
	defer nc.Close()
	js := mustJetStream(nc)
	_, err = js.PublishMsg(testContext(t), &nats.Msg{
		Subject: subject, Header: nats.Header{publish.HeaderPlace: {"0"}}, Data: []byte(events),
	})
	must(t, err)
}

// mustHear runs OpenFed until the test ends.
func mustHear(t *testing.T, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.OpenFed(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitUntil(t, "it listens", func() bool { return b.conns.live.NumSubscriptions() > 0 })
	must(t, b.conns.live.Flush())
}

func mustNotBeQueued(t *testing.T, b *Broker, ref schema.Ref) {
	t.Helper()
	p, err := locate(ref, b.partitions)
	must(t, err)
	if cmd, err := b.queued(testContext(t), p); cmd != nil || err != nil {
		t.Errorf("%s is queued: %v, %v", ref, cmd, err)
	}
}

// The first message of a producer opens its response: once, however many nodes hear of it, and from what it says.
func TestOpenFed(t *testing.T) {
	t.Parallel()
	b, ref := mustOpen(t), mustRef(t, "resp_openedbyaproducer0")
	mustHear(t, b)
	mustHear(t, b)
	mustPublish(t, b, ref, "agent", createdBy)
	job := mustClaim(t, b)
	req, err := job.Command.Parse()
	must(t, err)
	if got := req.Producers(); job.Command.Ref() != ref || req.Model != "gpt-4o" || len(got) != 1 || got[0] != "agent" {
		t.Errorf("%s by %q, model %s", job.Command.Ref(), got, req.Model)
	}
	mustPublish(t, b, ref, "stranger", `{"type":"response.in_progress"}`)
	mustPublish(t, b, mustRef(t, "resp_another0123456789a"), "agent", createdBy)
	if next := mustClaim(t, b); next.Command.Response != "resp_another0123456789a" {
		t.Errorf("%s was opened again", next.Command.Response)
	}
}

// What was sent while nobody listened, the sweep opens; and nothing else that producers send to.
func TestSweep_OpensWhatProducersSendTo(t *testing.T) {
	t.Parallel()
	b, lost := mustOpen(t), mustRef(t, "resp_openedbythesweep00")
	mustPublish(t, b, lost, "agent", createdBy)
	guessable, over, erased := mustRef(t, "resp_1"), mustRef(t, "resp_over0123456789abcde"), mustRef(t, "resp_erased0123456789abc")
	mustPublish(t, b, guessable, "agent", createdBy)
	for _, ref := range []schema.Ref{over, erased} {
		mustFinish(t, b, ref.Response(), "all told", true)
		mustPublish(t, b, ref, "agent", createdBy)
	}
	must(t, b.Delete(testContext(t), erased))
	mustSweep(t, b)
	if job := mustClaim(t, b); job.Command.Ref() != lost {
		t.Errorf("%s was opened", job.Command.Ref())
	}
	for _, ref := range []schema.Ref{guessable, over, erased} {
		mustNotBeQueued(t, b, ref)
	}
	if n := len(b.sweeper.fed); n != 4 {
		t.Errorf("it would look at %d of 4 again", 4-n)
	}
}

// The embedded server has a user for producers: it may send events, and hear that they are stored, and nothing else.
func TestEmbedded_ProducerUser(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) {
		c.Listen, c.User, c.Password, c.Producer, c.ProducerPassword = "127.0.0.1:0", "u", "p", "agent", "q"
	})
	refusals := make(chan error, 16)
	nc, err := nats.Connect(b.server.URL(), nats.UserInfo("agent", "q"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		refusals <- err
	}))
	must(t, err)
	defer nc.Close()
	stream, err := publish.New(publish.Config{Conn: nc, Tenant: "t1", Response: "resp_openedbyauser00000", Producer: "agent"})
	must(t, err)
	defer stream.Close()
	must(t, stream.Send(testContext(t), []byte(createdBy)))
	must(t, stream.Flush(testContext(t)))

	refused := func(what string, err error) {
		t.Helper()
		must(t, err)
		select {
		case err := <-refusals:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s was let through", what)
		}
	}
	for _, subject := range []string{"ms.log.0.t1.resp_x", "ms.run.t1.resp_x", "ms.control.t1.resp_x", "$JS.API.INFO", "$JS.API.DIRECT.GET.MS_INGEST"} {
		refused(subject, nc.Publish(subject, nil))
	}
	for _, subject := range []string{">", "ms.live.>", "ms.fed.>", inbox + ".>"} {
		_, err := nc.SubscribeSync(subject)
		refused(subject, err)
	}
}
