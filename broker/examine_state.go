package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

const (
	// samples is how many logs are read.
	samples = 16
	// sealPatience is how long a finished response may wait for its archive before that is worth a word.
	sealPatience = time.Minute
)

// queue tells of the commands that wait or are worked at, and of the consumer that hands them out.
func (x *examiner) queue(ctx context.Context, all []streamed) {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	for _, s := range all {
		if s.want.Name != runStream {
			continue
		}
		consumer, err := x.b.js.Consumer(ctx, runStream, workers)
		if err != nil {
			x.fail("queue", "start a node with the role producer", "its consumer: %s", err)
			return
		}
		info := consumer.CachedInfo()
		text := fmt.Sprintf("%d waiting, %d worked at, %d handed out again", info.NumPending, info.NumAckPending, info.NumRedelivered)
		age := time.Duration(0)
		if s.info.State.Msgs > 0 {
			age = s.info.TimeStamp.Sub(s.info.State.FirstTime).Round(time.Second)
			text += fmt.Sprintf(", the oldest for %s", age)
		}
		switch {
		case age > x.b.cfg.LogAge:
			x.fail("queue", "a run should have ended long ago: see the logs of the producers for its response", "%s", text)
		case info.NumPending > 0 && info.NumWaiting == 0:
			x.warn("queue", "start nodes with the role producer, or raise their limits.runs", "%s; no producer asks for more", text)
		default:
			x.ok("queue", "%s", text)
		}
	}
}

// drift compares the replicas.
func (x *examiner) drift(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout+x.b.cfg.WatchDoubt)
	defer cancel()
	c, found, err := x.b.findDrift(ctx)
	if err != nil {
		x.warn("drift", "mend what was said above, then look again", "unknown: %s", err)
		return
	}
	for _, d := range found {
		x.fail("drift", "take the server out, empty its store, and let it copy its streams anew; one server at a time",
			"%s on %s lacks %d messages, which JetStream does not give back to it", d.Stream, d.Server, d.Missing)
	}
	if len(c.silent) > 0 {
		x.warn("drift", "see why no leader is elected", "unknown of %s", strings.Join(c.silent, ", "))
	}
	if len(c.unseen) > 0 {
		x.warn("drift", "list the monitoring URL of every server in nats.monitor", "unknown on %s", strings.Join(c.unseen, ", "))
	} else if len(found) == 0 && len(c.silent) == 0 {
		x.ok("drift", "no replica lacks messages")
	}
}

// sealed reads a few logs, their chains verified, and looks whether those that have ended are sealed.
func (x *examiner) sealed(ctx context.Context, all []streamed) {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	logs := slices.DeleteFunc(slices.Clone(all), func(s streamed) bool {
		return !strings.HasPrefix(s.want.Name, logStream) || s.info.State.Msgs == 0
	})
	read, bad := make(map[schema.Ref]bool), 0
	var unread error
	for n := 0; n < samples && len(logs) > 0; n++ {
		s := logs[n%len(logs)]
		at := s.info.State.FirstSeq + rand.Uint64N(s.info.State.LastSeq-s.info.State.FirstSeq+1)
		ref, err := x.b.refAt(ctx, s.want.Name, at)
		if errors.Is(err, jetstream.ErrMsgNotFound) || read[ref] {
			continue // it has aged out meanwhile
		}
		if err != nil {
			unread = err
			continue
		}
		read[ref] = true
		if err := x.log(ctx, ref); err != nil {
			bad++
			x.fail("logs", "look at the response by hand; nothing is written behind damage", "%s: %s", ref.Response(), err)
		}
	}
	switch {
	case unread != nil:
		x.warn("logs", "mend what was said above, then look again", "%d read as a sample; others could not be: %s", len(read), unread)
	case bad == 0:
		x.ok("logs", "%d read as a sample: whole, and sealed where they have ended", len(read))
	}
}

// log reads one log. Its error says what is wrong with it.
func (x *examiner) log(ctx context.Context, ref schema.Ref) error {
	h, err := x.b.Read(ctx, ref)
	if errors.Is(err, ErrGone) || errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	last := &h.Records[len(h.Records)-1]
	if h.archived || !schema.Ends(last.Frames) || time.Since(time.UnixMilli(last.Time)) < sealPatience {
		return nil
	}
	p, err := locate(ref, x.b.partitions)
	if err != nil {
		return err
	}
	cmd, err := x.b.queued(ctx, p) // first: a job is acked behind the seal (see orphan.go)
	if cmd != nil || err != nil {
		return err
	}
	_, err = x.b.manifest(ctx, p)
	switch {
	case errors.Is(err, ErrNotFound):
		return errors.New("has ended, is not sealed, and is not in the queue: nobody will seal it")
	case errors.Is(err, errDigestOnly):
		return nil
	}
	return err
}

// refAt returns whose record stands at a position of a log stream.
func (b *Broker) refAt(ctx context.Context, stream string, at uint64) (schema.Ref, error) {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return schema.Ref{}, err
	}
	m, err := s.GetMsg(ctx, at)
	if err != nil {
		return schema.Ref{}, err
	}
	return logRef(m.Subject)
}
