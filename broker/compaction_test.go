package broker

import (
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// A summary comes back out of its compaction, for its tenant and on any node with the key; it cannot be read, moved or
// changed outside.
func TestCompaction(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", keyBytes))
	withKey := func(c *Config) { c.SecretKey = key }
	b, other, stranger := mustOpen(t, withKey), mustOpen(t, withKey), mustOpen(t)
	it, err := b.Compaction("t1", "we spoke of rivers")
	must(t, err)
	if strings.Contains(*it.EncryptedContent, "rivers") || it.Type != schema.KindCompaction || it.ID == "" {
		t.Errorf("compaction %+v", it)
	}
	for _, node := range []*Broker{b, other} {
		if got, ok := node.Summary("t1", &it); !ok || got != "we spoke of rivers" {
			t.Errorf("summary %q, %t", got, ok)
		}
	}
	if _, ok := b.Summary("t2", &it); ok {
		t.Error("another tenant can read it")
	}
	if _, ok := stranger.Summary("t1", &it); ok {
		t.Error("another key opens it")
	}
	for _, text := range []string{"", "midstream.1.", "midstream.1.###", *it.EncryptedContent + "AAAA", "gAAAA-from-elsewhere"} {
		if _, ok := b.Summary("t1", &schema.Item{Type: schema.KindCompaction, EncryptedContent: &text}); ok {
			t.Errorf("%q is taken for a summary", text)
		}
	}
	if _, ok := b.Summary("t1", &schema.Item{Type: schema.KindReasoning, EncryptedContent: it.EncryptedContent}); ok {
		t.Error("a reasoning item is taken for a compaction")
	}
}
