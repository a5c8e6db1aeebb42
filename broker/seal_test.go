package broker

import (
	"bytes"
	"errors"
	"testing"

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
