package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/midstream-dev/midstream/schema"
)

// Begin makes a log: it appends the request record, which must be the first. It returns nil also when this record is there
// already, whoever wrote it and whatever came behind it; ErrExists when the log begins with another one; and ctx's error
// when the outcome did not become known in time.
func (b *Broker) Begin(ctx context.Context, rec schema.Record, ref schema.Ref) error {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return err
	}
	e := entry{rec}
	header, payload := e.encode()
	_, err = b.append(ctx, &message{
		stream: p.logStream(), subject: p.log(), header: header, data: payload,
		mine: func(s *stored) bool { return s.isRecord(rec.Chain) },
	})
	if errors.Is(err, errTaken) {
		return b.sameBeginning(ctx, p, rec.Chain)
	}
	if err != nil {
		return fmt.Errorf("begin log %s: %w", ref, err)
	}
	return nil
}

// sameBeginning compares the first record with ours. The last one was compared already, but it may be far behind.
func (b *Broker) sameBeginning(ctx context.Context, p place, chain schema.Digest) error {
	first, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.first(ctx, p.logStream(), p.log()) })
	if err != nil {
		return fmt.Errorf("begin log %s: %w", p.ref, err)
	}
	if first == nil || !first.isRecord(chain) {
		return fmt.Errorf("begin log %s: %w", p.ref, ErrExists)
	}
	return nil
}

// isRecord reports whether the message is the record with this link of the chain. The link covers all that matters of the
// record and of every record before it, so no other record has it.
func (s *stored) isRecord(chain schema.Digest) bool {
	e, err := decode(s.header, s.data)
	return err == nil && e.Chain == chain
}
