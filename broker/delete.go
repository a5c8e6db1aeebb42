package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// Delete erases a response. One that goes on is cancelled first. Then a tombstone hides it from everybody, hubs on every node
// drop it, and the parts of its archive are overwritten on the disk. A seal that comes late erases what it has written.
//
// It returns nil when the response is erased, ErrNotFound where there is none, and ErrGone where it had been erased before. A
// Delete that was cut short is finished by the next one. It goes on until ctx ends.
//
// What stays for a while: the hot log keeps the records, hidden, until Config.LogAge has passed; the queue the command, until
// a worker has dropped the job; and the servers of a cluster their Raft logs, until they compact them.
func (b *Broker) Delete(ctx context.Context, ref schema.Ref) error {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return err
	}
	if err := b.delete(ctx, p); err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	return nil
}

func (b *Broker) delete(ctx context.Context, p place) error {
	have, err := insist(ctx, func(ctx context.Context) (*holding, error) { return b.holding(ctx, p) })
	if err != nil {
		return err
	}
	gone := have.gone
	if !gone {
		if gone, err = b.bury(ctx, p, have); err != nil {
			return err
		}
	}
	if err := b.announce(ctx, p); err != nil {
		return err
	}
	b.Drop(p.ref)
	erased, err := b.erase(ctx, p)
	if err == nil && gone && erased == 0 {
		err = ErrGone
	}
	return err
}

// bury ends a response and sets its tombstone. It reports whether somebody else has set one already.
func (b *Broker) bury(ctx context.Context, p place, have *holding) (gone bool, err error) {
	tip, err := b.tip(ctx, p)
	if err != nil {
		return false, err
	}
	if tip > 0 || len(have.parts) == 0 { // where there is neither, it may wait in the queue
		err = b.cancel(ctx, p, false)
	}
	if errors.Is(err, ErrNotFound) && len(have.parts) == 0 {
		return false, ErrNotFound
	}
	if err != nil && (ctx.Err() != nil || closed(err) || errors.Is(err, ErrClosed)) {
		return false, err
	}
	if err != nil && !errors.Is(err, ErrGone) {
		// A log that cannot be read can be erased all the same. If anybody still writes to it, the announcement stops that.
		b.log.Error("response is erased without an end", "response", p.ref.Response(), "error", err)
	}
	err = b.put(ctx, p, p.gone(), nil)
	if errors.Is(err, errTaken) {
		return true, nil
	}
	return false, err
}

// kindGone marks the message on the live subject that says of a response that it was erased. It is no record.
const kindGone = "gone"

// announce tells the hubs and writers of every node. One that is cut off asks again when it is back.
func (b *Broker) announce(ctx context.Context, p place) error {
	_, err := insist(ctx, func(ctx context.Context) (struct{}, error) {
		msg := &nats.Msg{Subject: p.live(), Header: nats.Header{headerKind: {kindGone}}}
		if err := b.conns.publish.PublishMsg(msg); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, flush(ctx, b.conns.publish)
	})
	if err != nil {
		return fmt.Errorf("announce erasure: %w", err)
	}
	return nil
}

// holding is what the archive has of a response.
type holding struct {
	parts []string // subjects
	gone  bool     // there is a tombstone
}

// holding asks the stream leader once. Parts of a half-written seal are parts too.
func (b *Broker) holding(ctx context.Context, p place) (*holding, error) {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, p.archiveStream())
	if err != nil {
		return nil, fmt.Errorf("list archive: %w", err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(p.archived()))
	if err != nil {
		return nil, fmt.Errorf("list archive: %w", err)
	}
	var have holding
	for subject := range info.State.Subjects {
		if subject == p.gone() {
			have.gone = true
		} else {
			have.parts = append(have.parts, subject)
		}
	}
	if err := b.vouch(ctx, p.archiveStream()); err != nil { // one that is outdated may lack parts, or the tombstone
		return nil, fmt.Errorf("list archive: %w", err)
	}
	return &have, nil
}

// erase overwrites every part there is, until there is none, and returns how many it erased. Others may do the same at once.
func (b *Broker) erase(ctx context.Context, p place) (erased int, err error) {
	var wait backoff
	for {
		have, err := b.holding(ctx, p)
		if err == nil && len(have.parts) == 0 {
			return erased, nil
		}
		for i := 0; err == nil && i < len(have.parts); i++ {
			if err = b.erasePart(ctx, p, have.parts[i]); err == nil {
				erased++
			}
		}
		if closed(err) {
			return erased, fmt.Errorf("erase archive: %w", ErrClosed)
		}
		if err != nil && wait.wait(ctx) != nil {
			return erased, fmt.Errorf("erase archive: %w, last: %w", ctx.Err(), err)
		}
	}
}

// erasePart overwrites the message on a subject. A purge, or another message in its place, would leave the bytes on the disk.
func (b *Broker) erasePart(ctx context.Context, p place, subject string) error {
	part, err := b.last(ctx, p.archiveStream(), subject)
	if err != nil || part == nil {
		return err
	}
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, p.archiveStream())
	if err != nil {
		return err
	}
	return s.SecureDeleteMsg(ctx, part.position)
}

// sweep erases what a seal may have left behind of a response that was erased. It reports whether the response was.
func (b *Broker) sweep(ctx context.Context, p place) (gone bool, err error) {
	err = b.refuseGone(ctx, p)
	if !errors.Is(err, ErrGone) {
		return false, err
	}
	_, err = b.erase(ctx, p)
	return true, err
}
