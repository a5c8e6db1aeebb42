package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tryTimeout bounds the first try of one request. An answer that is lost costs so much, and a disk that is merely slow is
// asked again no earlier. Where one try was too short the next may take twice as long, up to maxTryTimeout: a record of
// schema.MaxPayload on a slow line would else never arrive. No longer, since what was lost is waited for as long.
const (
	tryTimeout    = 2 * time.Second
	maxTryTimeout = 8 * time.Second
)

// maxBehind is how long a leader may say that the log is shorter than what it has acknowledged, as one that was voted out
// does until it learns of it. After that the records are gone.
const maxBehind = 15 * time.Second

// errTaken says that somebody else's message stands where ours was to go.
var errTaken = errors.New("another message stands there")

// errUnsent says that nothing of a hasty append has reached a server in all its time.
var errUnsent = errors.New("NATS takes nothing")

// message is one append: bytes, and the position that the subject's last message must have.
type message struct {
	stream, subject string
	header          nats.Header
	data            []byte
	expect          uint64
	// mine recognizes the message in the log, where an acknowledgement was lost.
	mine func(*stored) bool
	// hasty returns the refusal of a full stream instead of waiting for room, and gives up after deafAfter where nothing could
	// be sent.
	hasty bool
}

// stored is a message as it stands in a stream.
type stored struct {
	subject  string
	position uint64
	header   nats.Header
	data     []byte
	at       time.Time
}

// append stores m behind m.expect and returns its position. It tries until the outcome is known or ctx ends. Its errors are
// errTaken, ErrGone, ErrClosed, a refusal of JetStream, or ctx's.
func (b *Broker) append(ctx context.Context, m *message) (uint64, error) {
	var wait backoff
	var behind time.Time // since when the leader knows less than it has acknowledged
	hope := hope{began: time.Now()}
	var tries allowance
	for {
		position, err := b.try(tries.lend(ctx), m)
		tries.note(err)
		if err == nil {
			return position, nil
		}
		if err := b.hopeless(ctx, m, &hope, err); err != nil {
			return 0, fmt.Errorf("append to %s: %w", m.stream, err)
		}
		b.metrics.retried(err)
		if judge(err) == doubt {
			position, err = b.settle(tries.lend(ctx), m, &behind)
			tries.note(err)
			if err == nil || errors.Is(err, errTaken) || errors.Is(err, ErrGone) {
				return position, err
			}
		}
		if wait.wait(ctx) != nil {
			return 0, fmt.Errorf("append to %s: %w, last: %s", m.stream, ctx.Err(), err.Error()) // not wrapped: it says nothing of the tries before
		}
	}
}

// hope is what is known of the tries of an append that has no outcome yet.
type hope struct {
	began  time.Time
	unsure bool // whether one of them may have been stored
}

// hopeless returns why there is no other try behind one that has failed with err; nil if there is.
func (b *Broker) hopeless(ctx context.Context, m *message, h *hope, err error) error {
	switch {
	case closed(err):
		return ErrClosed
	case judge(err) == refused:
		return err
	case !m.hasty:
		return nil
	case full(err) && !h.unsure:
		return err
	}
	// A wrong last sequence is no refusal: it may be our own message that stands there.
	if h.unsure = h.unsure || (!full(err) && !unsent(err)); h.unsure {
		h.unsure = !b.absent(ctx, m)
	}
	if !h.unsure && !answered(err) && time.Since(h.began) > deafAfter {
		return fmt.Errorf("%w, last: %w", errUnsent, err)
	}
	return nil
}

// try publishes m once, unless the disk is about to be full: after a write that failed NATS would take no other.
func (b *Broker) try(ctx context.Context, m *message) (uint64, error) {
	b.watch.ask()
	if d := b.watch.seen().disk; d.full || d.failed {
		return 0, errNoRoom
	}
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	// The message is made anew each time: the client library writes into its header.
	msg := &nats.Msg{Subject: m.subject, Data: m.data, Header: make(nats.Header, len(m.header)+1)}
	maps.Copy(msg.Header, m.header)
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(m.expect, 10)}
	ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if m.stream == runStream {
		b.commits.note(err)
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// absent reports whether a message of which no try was answered is known not to be stored, nor to come. Only our own server
// can tell, which has one copy of everything: what it was sent before a question it has stored before the answer, or never
// will. So it is where its disk is full.
func (b *Broker) absent(ctx context.Context, m *message) bool {
	if b.server == nil || b.cfg.Replicas > 1 || flush(ctx, b.conns.publish) != nil {
		return false
	}
	last, err := b.last(ctx, m.stream, m.subject)
	return err == nil && (last == nil || last.position == m.expect)
}

// settle finds out what a wrong last sequence means. Any error but errTaken and ErrGone says: not known yet.
func (b *Broker) settle(ctx context.Context, m *message, behind *time.Time) (uint64, error) {
	last, err := b.last(ctx, m.stream, m.subject)
	switch {
	case err != nil:
		return 0, err
	case last == nil && m.expect > 0:
		return 0, ErrGone
	case last == nil:
		return 0, errors.New("refused by a message that is not there")
	case last.position > m.expect && m.mine(last):
		return last.position, nil
	case last.position > m.expect:
		return 0, errTaken
	case last.position == m.expect:
		return 0, errors.New("refused although it is next")
	case behind.IsZero():
		*behind = time.Now()
	case time.Since(*behind) > maxBehind:
		return 0, fmt.Errorf("%w: its last record is %d records of the stream older than what was acknowledged", ErrGone, m.expect-last.position)
	}
	return 0, errors.New("the leader knows less than it has acknowledged")
}

// leaderQuery and leaderAnswer are the stream leader's read, $JS.API.STREAM.MSG.GET. The client library would turn it into
// a Direct Get, which any replica answers, also a stale one.
type leaderQuery struct {
	Seq     uint64 `json:"seq,omitzero"`
	LastFor string `json:"last_by_subj,omitzero"`
	NextFor string `json:"next_by_subj,omitzero"`
}

type leaderAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Hdrs    []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
}

// last asks the stream leader once for the last message of a subject; nil where there is none. That there is none is the
// word of a leader in touch with a majority; a message that is there may have others behind it: see tip.
func (b *Broker) last(ctx context.Context, stream, subject string) (*stored, error) {
	return b.ask(ctx, stream, leaderQuery{LastFor: subject})
}

// first asks the stream leader once for the first message of a subject; nil where there is none.
func (b *Broker) first(ctx context.Context, stream, subject string) (*stored, error) {
	return b.ask(ctx, stream, leaderQuery{Seq: 1, NextFor: subject})
}

// insist repeats a read until there is an answer or ctx ends.
func insist[T any](ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	var wait backoff
	var tries allowance
	for {
		v, err := read(tries.lend(ctx))
		tries.note(err)
		if err == nil || closed(err) {
			return v, err
		}
		if wait.wait(ctx) != nil {
			return v, fmt.Errorf("%w, last: %w", ctx.Err(), err)
		}
	}
}

// growing repeats a read as long as what it lacks is time and it can be given more, so that whoever does not insist on an
// answer has one all the same where only the line is slow.
func growing(ctx context.Context, read func(context.Context) error) error {
	var tries allowance
	for {
		before := tries.limit
		err := read(tries.lend(ctx))
		if tries.note(err); err == nil || tries.limit == before {
			return err
		}
	}
}

func (b *Broker) ask(ctx context.Context, stream string, q leaderQuery) (*stored, error) {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	request, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("ask leader of %s: %w", stream, err)
	}
	reply, err := b.conns.queue.RequestWithContext(ctx, leaderGet+stream, request)
	if err != nil {
		return nil, fmt.Errorf("ask leader of %s: %w", stream, err)
	}
	var answer leaderAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("ask leader of %s: %w", stream, err)
	}
	if answer.Error != nil && noMessage(answer.Error) {
		return nil, b.vouch(ctx, stream)
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("ask leader of %s: %w", stream, answer.Error)
	}
	if answer.Message == nil {
		return nil, fmt.Errorf("ask leader of %s: an answer without message or error", stream)
	}
	m := answer.Message
	header, err := nats.DecodeHeadersMsg(m.Hdrs)
	if err != nil && len(m.Hdrs) > 0 {
		return nil, fmt.Errorf("ask leader of %s: headers: %w", stream, err)
	}
	return &stored{m.Subject, m.Seq, header, m.Data, m.Time}, nil
}
