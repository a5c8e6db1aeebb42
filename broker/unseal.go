package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// refuseGone returns ErrGone where a tombstone says that the response was erased.
func (b *Broker) refuseGone(ctx context.Context, p place) error {
	gone, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.last(ctx, p.archiveStream(), p.gone()) })
	if err != nil {
		return fmt.Errorf("look for tombstone of %s: %w", p.ref, err)
	}
	if gone != nil {
		return ErrGone
	}
	return nil
}

// unseal reads a log from its archive and verifies size, digest and chain. Its errors: ErrNotFound where it was not sealed,
// errDigestOnly where it was sealed without content, a *CorruptError, or ctx's.
func (b *Broker) unseal(ctx context.Context, p place) (*History, error) {
	m, err := b.manifest(ctx, p)
	if err != nil {
		return nil, err
	}
	h, err := b.expand(ctx, p, m, b.part)
	if _, corrupt := errors.AsType[*CorruptError](err); corrupt {
		doubt := err
		if h, err = b.expand(ctx, p, m, b.leaderPart); err == nil {
			b.damaged(p.archiveStream(), doubt)
		}
	}
	return h, err
}

// expand reads the parts that the manifest names, and verifies them.
func (b *Broker) expand(
	ctx context.Context, p place, m *manifest, read func(ctx context.Context, p place, n int) ([]byte, error),
) (*History, error) {
	raw := make([]byte, 0, m.Size)
	for n := 1; n <= m.Parts; n++ {
		part, err := b.insistOnPart(ctx, p, n, read)
		if err != nil {
			return nil, err
		}
		if raw, err = b.archiver.expand(raw, part); err != nil {
			return nil, &CorruptError{p.ref, 0, fmt.Errorf("part %d of the archive: %w", n, err)}
		}
	}
	return m.check(p, raw)
}

// manifest asks the leader: a replica that does not know it yet would turn a sealed response into an unknown one.
func (b *Broker) manifest(ctx context.Context, p place) (*manifest, error) {
	s, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.last(ctx, p.archiveStream(), p.part(0)) })
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, ErrNotFound
	}
	var m manifest
	if err := json.Unmarshal(s.data, &m); err != nil {
		return nil, &CorruptError{p.ref, 0, fmt.Errorf("manifest of the archive: %w", err)}
	}
	if m.Version != 1 || m.Size < 0 || m.Size > maxHistory || m.Parts < 0 || m.Parts > maxHistory/partBytes+1 {
		return nil, &CorruptError{p.ref, 0, fmt.Errorf("manifest of the archive: version %d, %d bytes in %d parts", m.Version, m.Size, m.Parts)}
	}
	if !m.Stored {
		return nil, errDigestOnly
	}
	return &m, nil
}

// part reads from any replica, and from the leader where that one does not have it yet. What it reads is under the manifest's
// digest.
func (b *Broker) part(ctx context.Context, p place, n int) ([]byte, error) {
	try, cancel := b.conns.outages.try(ctx)
	defer cancel()
	reply, err := b.conns.replay.RequestWithContext(try, b.direct+p.archiveStream()+"."+p.part(n), nil)
	if err == nil && reply.Header.Get("Status") == "" {
		return reply.Data, nil
	}
	return b.leaderPart(ctx, p, n)
}

// insistOnPart asks until there is an answer, and where it is that there is no such part, other replicas too.
func (b *Broker) insistOnPart(
	ctx context.Context, p place, n int, read func(ctx context.Context, p place, n int) ([]byte, error),
) ([]byte, error) {
	for doubts := 0; ; doubts++ {
		part, err := insist(ctx, func(ctx context.Context) ([]byte, error) { return read(ctx, p, n) })
		if part != nil || err != nil {
			return part, err
		}
		if b.cfg.Replicas == 1 || doubts == maxDoubts {
			break
		}
	}
	if err := b.refuseGone(ctx, p); err != nil { // erased while it was read
		return nil, err
	}
	return nil, &CorruptError{p.ref, 0, fmt.Errorf("part %d of the archive is missing", n)}
}

// leaderPart returns nil where there is no such part, by the word of a leader in touch with a majority.
func (b *Broker) leaderPart(ctx context.Context, p place, n int) ([]byte, error) {
	s, err := b.last(ctx, p.archiveStream(), p.part(n))
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, nil
	}
	return s.data, nil
}

// check reads the records out of the bytes that the manifest describes.
func (m *manifest) check(p place, raw []byte) (*History, error) {
	if len(raw) != m.Size || fmt.Sprintf("%x", sha256.Sum256(raw)) != m.SHA256 {
		return nil, &CorruptError{p.ref, 0, errors.New("the archive is not what its manifest describes")}
	}
	r := newReader(p.ref)
	for len(raw) > 0 {
		e, rest, err := lift(raw)
		if err != nil {
			return nil, &CorruptError{p.ref, len(r.entries), err}
		}
		if err := r.take(&heard{entry: e, stored: time.UnixMilli(e.Time)}); err != nil {
			return nil, err
		}
		raw = rest
	}
	if len(r.entries) == 0 || len(r.entries) != m.Records || fmt.Sprintf("%x", r.chain) != m.Chain {
		return nil, &CorruptError{p.ref, len(r.entries), errors.New("the archive ends at another record than its manifest says")}
	}
	h := r.history()
	h.archived = true
	return h, nil
}
