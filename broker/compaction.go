package broker

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/midstream-dev/midstream/schema"
)

// compactionPrefix begins what is ours of the encrypted contents of compactions, in its first form.
const compactionPrefix = "midstream.1."

// Compaction returns an item that stands for a context of which a summary is left. The summary is sealed with the secret key
// of this log, for the tenant: it can be sent back to any node of ours, and tells nothing to whoever keeps it meanwhile.
func (b *Broker) Compaction(tenant, summary string) (schema.Item, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return schema.Item{}, fmt.Errorf("mint a compaction: %w", err)
	}
	sealed := b.vault.lock([]byte(summary), compactionScope(tenant))
	text := compactionPrefix + base64.StdEncoding.EncodeToString(sealed)
	return schema.Item{
		ID: "cmp_" + strings.ReplaceAll(id.String(), "-", ""), Type: schema.KindCompaction, EncryptedContent: &text,
	}, nil
}

// Summary returns what [Broker.Compaction] has sealed for the tenant; ours is false for any other item. What bears our mark
// and does not open, for the tenant or at all, is an error.
func (b *Broker) Summary(tenant string, it *schema.Item) (text string, ours bool, err error) {
	if it.Type != schema.KindCompaction || it.EncryptedContent == nil {
		return "", false, nil
	}
	text, ours = strings.CutPrefix(*it.EncryptedContent, compactionPrefix)
	if !ours {
		return "", false, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", true, fmt.Errorf("read a compaction: %w", err)
	}
	summary, _, err := b.vault.unlock(sealed, compactionScope(tenant))
	if err != nil {
		return "", true, fmt.Errorf("open a compaction: %w", err)
	}
	return string(summary), true, nil
}

// compactionScope binds a summary to its tenant, and keeps it apart from the secrets that the same key seals.
func compactionScope(tenant string) []byte { return []byte("compaction/" + tenant) }
