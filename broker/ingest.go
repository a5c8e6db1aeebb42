package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/broker/publish"
	"github.com/midstream-dev/midstream/schema"
)

// Sent is a batch of a producer as it is stored.
type Sent struct {
	schema.Batch
	// Position orders all batches of all producers: whoever reads them reads them in this order.
	Position uint64
	// Stored is when the server took it.
	Stored time.Time
	// Err says why the batch cannot be read; its Events are those before the one at fault.
	Err error
}

// Ingest stores a batch behind the producer's last one, which has the position behind; 0 for none. It returns the batch's own
// position, and tries until the outcome is known. ErrFenced: something else stands behind it by now: read on. A *FullError:
// nothing was stored. Any other error, ctx's for one, leaves the outcome unknown, and the same batch may be sent again.
func (b *Broker) Ingest(ctx context.Context, ref schema.Ref, batch *schema.Batch, behind uint64) (uint64, error) {
	subject, err := publish.Subject(ref.Tenant(), ref.Response(), batch.Producer)
	if err != nil {
		return 0, err
	}
	data := batch.Lines()
	header := nats.Header{
		publish.HeaderPlace: {strconv.FormatInt(batch.Place, 10)},
		publish.HeaderEpoch: {strconv.FormatInt(batch.Epoch, 10)},
		publish.HeaderLast:  {strconv.FormatBool(batch.Last)},
	}
	position, err := b.append(ctx, &message{
		stream: ingestStream, subject: subject, header: header, data: data, expect: behind, hasty: true,
		mine: func(s *stored) bool { return bytes.Equal(s.data, data) && sameHeaders(s.header, header) },
	})
	switch {
	case errors.Is(err, errTaken):
		return 0, ErrFenced
	case full(err):
		return 0, b.refuse(BoundIngest)
	case errors.Is(err, errUnsent):
		return 0, b.refuse(BoundSilent)
	case err != nil:
		return 0, fmt.Errorf("ingest %s of %s: %w", ref, batch.Producer, err)
	}
	return position, nil
}

func sameHeaders(have, want nats.Header) bool {
	for key := range want {
		if have.Get(key) != want.Get(key) {
			return false
		}
	}
	return true
}

// anyProducer takes the place of a producer's name in a pattern.
const anyProducer = "*"

// NextSent returns the first batch of the producer that is stored behind a position; of any producer, if that is "". It returns
// nil where there is none. It asks the stream leader, again and again until there is an answer or ctx ends.
func (b *Broker) NextSent(ctx context.Context, ref schema.Ref, producer string, behind uint64) (*Sent, error) {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return nil, err
	}
	if producer == "" {
		producer = anyProducer
	} else if !schema.ValidToken(producer) {
		return nil, fmt.Errorf("producer %.80q: not 1 to %d letters, digits, _ or -", producer, schema.MaxToken)
	}
	next, err := insist(ctx, func(ctx context.Context) (*stored, error) {
		return b.ask(ctx, ingestStream, leaderQuery{Seq: behind + 1, NextFor: p.ingest(producer)})
	})
	if err != nil {
		return nil, fmt.Errorf("read what producers sent to %s: %w", ref, err)
	}
	if next == nil {
		return nil, nil
	}
	return readSent(next), nil
}

// cutDone takes away the line that may end what a producer sends, as it ends a stream of the API.
func cutDone(data []byte) (lines []byte, done bool) {
	data = bytes.TrimSpace(data)
	lines, done = bytes.CutSuffix(data, []byte(schema.DoneMark))
	if done && (len(lines) == 0 || lines[len(lines)-1] == '\n') {
		return lines, true
	}
	return data, false
}

// readSent reads what Ingest, or a producer by itself, has stored. Whatever is wrong with it is the producer's fault: its place
// is taken all the same.
func readSent(s *stored) *Sent {
	sent := &Sent{Position: s.position, Stored: s.at}
	sent.Producer = producerOf(s.subject)
	sent.Place, sent.Err = headerNumber(s.header, publish.HeaderPlace)
	if epoch, err := headerNumber(s.header, publish.HeaderEpoch); err != nil {
		sent.Err = errors.Join(sent.Err, err)
	} else {
		sent.Epoch = epoch
	}
	lines, done := cutDone(s.data)
	events, err := schema.ParseLines(lines)
	sent.Events, sent.Err = events, errors.Join(sent.Err, err)
	switch last := s.header.Get(publish.HeaderLast); last {
	case "":
		sent.Last = done || sent.Ends()
	case "true", "false":
		sent.Last = last == "true"
	default:
		sent.Err = errors.Join(sent.Err, fmt.Errorf("%s: %.20q is neither true nor false", publish.HeaderLast, last))
	}
	return sent
}

// headerNumber reads a count; 0 where it is left out.
func headerNumber(h nats.Header, key string) (int64, error) {
	text := h.Get(key)
	if text == "" {
		return 0, nil
	}
	n, err := schema.ParseSeq(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return n, nil
}
