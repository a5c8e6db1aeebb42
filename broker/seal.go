package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

// Seal writes the archive of the response, from the records that were read and written: parts, then the manifest, which alone
// means sealed. Call it once the terminal event is durable and nothing more will come. Without keep only the digest is
// written. Sealing again, by this writer or a later attempt's, changes nothing and returns nil. ErrGone: the response was
// erased, so there is nothing to seal; a seal that an erasure has overtaken erases what it has written, and returns it too.
// A log that does not begin with its request is not sealed: *CorruptError.
func (w *Writer) Seal(ctx context.Context, keep bool) error {
	if w.archived {
		return nil
	}
	err := w.Flush(ctx)
	if err == nil {
		err = w.seal(ctx, keep)
	}
	if err != nil {
		return fmt.Errorf("seal %s: %w", w.place.ref, err)
	}
	return nil
}

func (w *Writer) seal(ctx context.Context, keep bool) error {
	entries, err := w.records(ctx)
	if err != nil {
		return err
	}
	if err := w.b.refuseGone(ctx, w.place); err != nil {
		return err
	}
	return w.archive(ctx, entries, keep)
}

// archive writes the parts, and erases them if the response was erased meanwhile.
func (w *Writer) archive(ctx context.Context, entries []entry, keep bool) error {
	if err := w.b.store(ctx, w.place, entries, keep); err != nil {
		return err
	}
	// A tombstone that was set before the last part was written is seen here; one that is set later, its setter sees the parts.
	gone, err := w.b.sweep(ctx, w.place)
	if gone && err == nil {
		err = ErrGone
	}
	return err
}

// records returns the whole log, read again where it was too large to keep.
func (w *Writer) records(ctx context.Context) ([]entry, error) {
	entries := w.kept.all()
	if entries == nil {
		h, err := w.b.Read(ctx, w.place.ref)
		if err != nil {
			return nil, err
		}
		entries = h.entries
	}
	if entries[0].Kind != schema.RecordRequest {
		return nil, &CorruptError{w.place.ref, 0, fmt.Errorf("the first record is of kind %s: a log begins with its request", entries[0].Kind)}
	}
	return entries, nil
}

// store writes the parts and then the manifest.
func (b *Broker) store(ctx context.Context, p place, entries []entry, keep bool) error {
	raw, err := lay(entries)
	if err != nil {
		return err
	}
	m := describe(entries, raw, keep)
	size := 0
	if keep {
		for i, part := range b.archiver.parts(raw) {
			size += len(part)
			if err := b.storePart(ctx, p, i+1, part); err != nil {
				return err
			}
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := b.put(ctx, p, p.part(0), data); err != nil && !errors.Is(err, errTaken) {
		return err
	}
	b.metrics.sealed.Observe(float64(size))
	return nil
}

// storePart puts a part where none is; one that is there must have the same content.
func (b *Broker) storePart(ctx context.Context, p place, n int, part []byte) error {
	err := b.put(ctx, p, p.part(n), part)
	if !errors.Is(err, errTaken) {
		return err
	}
	have, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.last(ctx, p.archiveStream(), p.part(n)) })
	if err != nil {
		return err
	}
	if have == nil || !b.archiver.same(have.data, part) {
		return fmt.Errorf("part %d is there already, with other content", n)
	}
	return nil
}

// put stores one message of the archive where none is.
func (b *Broker) put(ctx context.Context, p place, subject string, data []byte) error {
	_, err := b.append(ctx, &message{
		stream: p.archiveStream(), subject: subject, header: nats.Header{}, data: data,
		mine: func(s *stored) bool { return false }, // whoever wrote it: see storePart
	})
	return err
}
