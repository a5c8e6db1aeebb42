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
		if got, ours, err := node.Summary("t1", &it); err != nil || !ours || got != "we spoke of rivers" {
			t.Errorf("summary %q, %t, %v", got, ours, err)
		}
	}
	if _, _, err := b.Summary("t2", &it); err == nil {
		t.Error("another tenant can read it")
	}
	if _, _, err := stranger.Summary("t1", &it); err == nil {
		t.Error("another key opens it")
	}
	for _, text := range []string{"midstream.1.", "midstream.1.###", *it.EncryptedContent + "AAAA"} {
		if _, ours, err := b.Summary("t1", &schema.Item{Type: schema.KindCompaction, EncryptedContent: &text}); err == nil || !ours {
			t.Errorf("%q is taken for a summary", text)
		}
	}
	for _, foreign := range []schema.Item{
		{Type: schema.KindCompaction}, {Type: schema.KindCompaction, EncryptedContent: new("gAAAA-from-elsewhere")},
		{Type: schema.KindReasoning, EncryptedContent: it.EncryptedContent},
	} {
		if _, ours, err := b.Summary("t1", &foreign); ours || err != nil {
			t.Errorf("%+v is taken for ours: %v", foreign, err)
		}
	}
}
