package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// maxHistory bounds what one Read takes into memory, in bytes: an output of 8 MiB in small deltas, several times over.
const maxHistory = 256 << 20

// History is every record of one log up to a moment.
type History struct {
	Ref     schema.Ref
	Records []schema.Record
	// Began is when the request record was stored, by the server's clock: a run is limited from here. From the archive it is
	// the request's own time.
	Began time.Time

	entries  []entry
	position uint64 // of the last record
	archived bool   // the log has aged out, and the records come from the archive
}

// Read returns every record of the log that the stream leader knows of, its chain verified. Once the log has aged out, be it
// only its head, the records come from the archive; nothing can be appended behind those. It goes on asking until there is an
// answer or ctx ends. Its errors are ErrNotFound, ErrGone, a *CorruptError, or ctx's.
func (b *Broker) Read(ctx context.Context, ref schema.Ref) (*History, error) {
	p, err := locate(ref, b.partitions)
	if err != nil {
		return nil, err
	}
	if err := b.refuseGone(ctx, p); err != nil {
		return nil, fmt.Errorf("read log %s: %w", ref, err)
	}
	tip, err := b.tip(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("read log %s: %w", ref, err)
	}
	var hot error
	if tip > 0 {
		h, err := b.readLog(ctx, p, tip)
		if !errors.Is(err, errAged) && !errors.Is(err, errHeadless) {
			return h, err
		}
		hot = err
	}
	h, err := b.unseal(ctx, p)
	switch {
	case errors.Is(err, errDigestOnly):
		return b.readDigested(ctx, p)
	case errors.Is(err, ErrNotFound) && errors.Is(hot, errHeadless):
		return nil, hot // no age has taken its head: what is open is not that old
	case err != nil:
		return nil, fmt.Errorf("read log %s: %w", ref, err)
	}
	return h, nil
}

// readDigested reads a log of which the archive has nothing but the digest. It was empty a moment ago: because it has aged
// out, or because the response was begun, ended and sealed since.
func (b *Broker) readDigested(ctx context.Context, p place) (*History, error) {
	tip, err := b.tip(ctx, p)
	if err == nil && tip > 0 {
		h, err := b.readLog(ctx, p, tip)
		if !errors.Is(err, errHeadless) {
			return h, err
		}
	}
	if err == nil {
		err = ErrGone
	}
	return nil, fmt.Errorf("read log %s: %w", p.ref, err)
}

// tip returns the position of the log's last record, 0 where there is none.
func (b *Broker) tip(ctx context.Context, p place) (uint64, error) {
	last, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.end(ctx, p.logStream(), p.log()) })
	if err != nil || last == nil {
		return 0, err
	}
	return last.position, nil
}

// end asks for the last message of a subject, nil where there is none, by the word of a leader in touch with a majority:
// nothing that was acknowledged before the question stands behind it.
func (b *Broker) end(ctx context.Context, stream, subject string) (*stored, error) {
	last, err := b.last(ctx, stream, subject)
	if err == nil {
		err = b.vouch(ctx, stream)
	}
	return last, err
}

// maxDoubts is how often a log of several replicas is read on from where it seems damaged: where the leader itself has lost
// records, each try finds one of the others two times of three.
const maxDoubts = 8

// readLog replays until it has reached the tip: a stale replica gives a prefix, so it is asked again.
func (b *Broker) readLog(ctx context.Context, p place, tip uint64) (*History, error) {
	h := newReader(p.ref)
	var wait backoff
	var tries allowance
	var doubt error
	for doubts := 0; h.position < tip; {
		before := h.position
		err := b.replay(tries.lend(ctx), p, h.position, tip, h.take)
		tries.note(err)
		if h.position > before {
			doubts = 0
		}
		if doubtful(err) {
			if doubts++; b.cfg.Replicas == 1 || doubts > maxDoubts {
				return nil, fmt.Errorf("read log %s: %w", p.ref, h.corrupt(err))
			}
			doubt = err
		}
		if errors.Is(err, errHistory) || closed(err) {
			return nil, fmt.Errorf("read log %s: %w", p.ref, err)
		}
		if h.position == before && err == nil && b.aged(ctx, p, tip) {
			return nil, fmt.Errorf("read log %s: %w", p.ref, errAged)
		}
		if h.position < tip && wait.wait(ctx) != nil {
			return nil, fmt.Errorf("read log %s: %w", p.ref, errors.Join(ctx.Err(), err))
		}
	}
	if doubt != nil {
		b.damaged(p.logStream(), doubt)
	}
	return h.history(), nil
}

// errAged says that a log has aged out while it was read.
var errAged = errors.New("the log has aged out meanwhile")

// aged reports whether the record at the tip of a log is gone, so that nobody will ever read up to it.
func (b *Broker) aged(ctx context.Context, p place, tip uint64) bool {
	last, err := b.end(ctx, p.logStream(), p.log())
	return err == nil && (last == nil || last.position < tip)
}

var errHistory = fmt.Errorf("log is larger than %d bytes", maxHistory)

// reader takes records in and verifies their chain.
type reader struct {
	ref      schema.Ref
	entries  []entry
	position uint64
	chain    schema.Digest
	due      int64
	size     int
	began    time.Time
}

func newReader(ref schema.Ref) *reader { return &reader{ref: ref, chain: schema.Genesis(ref)} }

// corrupt names the record that was to be read when err came.
func (r *reader) corrupt(err error) error {
	if named, ok := errors.AsType[*CorruptError](err); ok {
		return named
	}
	return &CorruptError{r.ref, len(r.entries), err}
}

func (r *reader) take(h *heard) error {
	if err := r.verify(&h.Record); err != nil {
		return &CorruptError{r.ref, len(r.entries), err}
	}
	if r.size += h.size(); r.size > maxHistory {
		return errHistory
	}
	if len(r.entries) == 0 {
		r.began = h.stored
	}
	r.entries = append(r.entries, h.entry)
	r.position, r.chain, r.due = h.position, h.Chain, h.Last+1
	return nil
}

// errHeadless says that a log has lost its beginning.
var errHeadless = errors.New("a log begins with its request")

// verify checks the chain and the numbering. That the first record is the request is a rule of its own: a log that lost its
// head fails here too, but with a text that says so.
func (r *reader) verify(rec *schema.Record) error {
	if (len(r.entries) == 0) != (rec.Kind == schema.RecordRequest) {
		return fmt.Errorf("record %d is of kind %s: %w", len(r.entries), rec.Kind, errHeadless)
	}
	if rec.First != r.due || rec.Served() < 0 {
		return fmt.Errorf("record %d has frames %d to %d where %d is due", len(r.entries), rec.First, rec.Last, r.due)
	}
	return rec.Verify(r.chain)
}

func (r *reader) history() *History {
	records := make([]schema.Record, len(r.entries))
	for i := range r.entries {
		records[i] = r.entries[i].Record
	}
	return &History{Ref: r.ref, Records: records, Began: r.began, entries: r.entries, position: r.position}
}
