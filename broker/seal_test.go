package broker

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// What was sealed reads back byte for byte, by a later attempt's seal too, and its chain holds.
func TestSeal_ReadsBackVerbatim(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_seal")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{"node":"a"}`), delta(1)))
	for n := int64(2); n < 20_000; n++ {
		must(t, w.Append(testContext(t), delta(n)))
	}
	must(t, w.Seal(testContext(t), true))
	log := mustRead(t, b, h.Ref)
	must(t, mustWriter(t, b, log, 2, "n2").Seal(testContext(t), true))

	got, found, err := source{b}.Sealed(testContext(t), h.Ref)
	must(t, err)
	if !found || !bytes.Equal(got, frames(log.Records)) {
		t.Fatalf("found %t, %d bytes, not the %d of the log", found, len(got), len(frames(log.Records)))
	}
}

// A response that is not to be stored is sealed without its content.
func TestSeal_DigestOnly(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_digest")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	must(t, w.Seal(testContext(t), false))
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	if _, err := b.unseal(testContext(t), p); !errors.Is(err, errDigestOnly) {
		t.Fatal(err)
	}
	if _, found, err := (source{b}).Sealed(testContext(t), h.Ref); found || err != nil {
		t.Fatal(found, err)
	}
}

// A log that is too large to keep in memory is sealed from what the log holds, its incompressible parts within the limit.
func TestSeal_LargeLog(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_large")
	w := mustWriter(t, b, h, 1, "n1")
	body := make([]byte, 3<<20)
	rand.Read(body)
	must(t, w.Commit(testContext(t), schema.RecordResult, body, delta(1)))
	must(t, w.Commit(testContext(t), schema.RecordResult, body, delta(2)))
	if w.kept.all() != nil {
		t.Fatalf("kept %d bytes, bound %d", w.kept.size, maxKept)
	}
	must(t, w.Seal(testContext(t), true))
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	m, err := b.manifest(testContext(t), p)
	must(t, err)
	if want := 6<<20/partBytes + 1; m.Parts != want {
		t.Errorf("%d parts, not %d", m.Parts, want)
	}
	part, err := b.last(testContext(t), p.archiveStream(), p.part(1))
	must(t, err)
	if len(part.data) > 512<<10 {
		t.Errorf("a part of %d bytes", len(part.data))
	}
	got, err := b.unseal(testContext(t), p)
	must(t, err)
	// The chain covers every byte; comparing 6 MB one by one takes half a minute.
	if diff := cmp.Diff(chains(mustRead(t, b, h.Ref).Records), chains(got.Records)); diff != "" {
		t.Error(diff)
	}
}

func chains(records []schema.Record) (all []schema.Digest) {
	for i := range records {
		all = append(all, records[i].Chain)
	}
	return all
}

// mustSeal writes a little, and seals it. It returns the log as it was then.
func mustSeal(t *testing.T, b *Broker, h *History) (*History, place) {
	t.Helper()
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	hot := mustRead(t, b, h.Ref)
	must(t, w.Seal(testContext(t), true))
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	return hot, p
}

// Once the log has aged out it is read from the archive, and nobody can begin to write it again behind that.
func TestSeal_OutlivesTheLog(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.LogAge = 2 * time.Second })
	h := mustBegin(t, b, "resp_old")
	hot, p := mustSeal(t, b, h)
	waitUntil(t, "the log has aged out", func() bool {
		tip, err := b.tip(testContext(t), p)
		return err == nil && tip == 0
	})
	cold := mustRead(t, b, h.Ref)
	if diff := cmp.Diff(hot.Records, cold.Records); diff != "" {
		t.Error(diff)
	}
	if at := hot.Records[0].Time; cold.Began.UnixMilli() != at {
		t.Errorf("began at %d by its request record, in the archive at %d", at, cold.Began.UnixMilli())
	}
	late := mustWriter(t, b, cold, 2, "n2")
	if err := late.Append(testContext(t), delta(2)); !errors.Is(err, ErrGone) {
		t.Errorf("append behind an archive: %v", err)
	}
	must(t, late.Seal(testContext(t), true))
}

// A log whose head has aged out while its tail is there is read from the archive too.
func TestSeal_OutlivesTheLogsHead(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.LogAge = 2 * time.Second })
	h := mustBegin(t, b, "resp_old")
	waitUntil(t, "most of the head's age is over", func() bool { return time.Since(h.Began) > 1500*time.Millisecond })
	hot, p := mustSeal(t, b, h)
	waitUntil(t, "the head has aged out", func() bool {
		first, err := b.first(testContext(t), p.logStream(), p.log())
		return err == nil && (first == nil || first.header.Get(headerKind) != string(schema.RecordRequest))
	})
	if diff := cmp.Diff(hot.Records, mustRead(t, b, h.Ref).Records); diff != "" {
		t.Error(diff)
	}
}

// A tombstone hides archive and hot log, and nothing is sealed behind it.
func TestSeal_NotBehindATombstone(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_gone")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	must(t, b.put(testContext(t), p, p.gone(), nil))
	if err := w.Seal(testContext(t), true); !errors.Is(err, ErrGone) {
		t.Errorf("seal: %v", err)
	}
	if _, err := b.Read(testContext(t), h.Ref); !errors.Is(err, ErrGone) {
		t.Errorf("read: %v", err)
	}
	if _, _, err := (source{b}).Sealed(testContext(t), h.Ref); !errors.Is(err, hub.ErrGone) {
		t.Errorf("sealed: %v", err)
	}
	if s, err := b.last(testContext(t), p.archiveStream(), p.part(1)); s != nil || err != nil {
		t.Errorf("part 1 was written: %v", err)
	}
}

// A part that another attempt has left behind must be the same part.
func TestSeal_RefusesForeignParts(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_mixed")
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	must(t, b.put(testContext(t), p, p.part(1), b.archiver.enc.EncodeAll([]byte("something else"), nil)))
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	if err := w.Seal(testContext(t), true); err == nil {
		t.Fatal("sealed over a foreign part")
	}
	if _, found, err := (source{b}).Sealed(testContext(t), h.Ref); found || err != nil {
		t.Error(found, err)
	}
}

// Whichever bit of a sealed log was changed, reading it says so.
func TestSeal_DetectsChanges(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	h := mustBegin(t, b, "resp_flip")
	w := mustWriter(t, b, h, 1, "n1")
	must(t, w.Commit(testContext(t), schema.RecordClaim, []byte(`{}`), delta(1)))
	must(t, w.Flush(testContext(t)))
	entries := w.kept.all()
	raw, err := lay(entries)
	must(t, err)
	p, err := locate(h.Ref, b.partitions)
	must(t, err)
	m := describe(entries, raw, true)
	if _, err := m.check(p, raw); err != nil {
		t.Fatal(err)
	}
	for bit := range len(raw) * 8 {
		flipped := bytes.Clone(raw)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := m.check(p, flipped); err == nil {
			t.Fatalf("bit %d", bit)
		}
	}
}
