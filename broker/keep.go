package broker

import (
	"slices"
	"sync"
)

// maxKept bounds the bytes that a Writer keeps to seal them; what is larger is read again from the log.
const maxKept = 4 << 20

// keeper holds the records of a log that were read and written, for the moment of sealing.
type keeper struct {
	mu      sync.Mutex
	entries []entry // nil once there are too many
	size    int
}

func newKeeper(h *History) *keeper {
	k := &keeper{entries: slices.Clip(h.entries)}
	for i := range h.entries {
		k.size += h.entries[i].size()
	}
	return k
}

func (k *keeper) add(e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.size += e.size(); k.size > maxKept {
		k.entries = nil
		return
	}
	k.entries = append(k.entries, e)
}

// all returns every record, or nil where they must be read.
func (k *keeper) all() []entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.entries
}
