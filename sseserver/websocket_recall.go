package sseserver

import (
	"fmt"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// recollection is what one connection knows of the responses that it made with store false: enough to go on from them, and
// gone with the connection. The latest are kept, within bounds of number and bytes. Safe for concurrent use.
type recollection struct {
	limits SocketLimits

	mu    sync.Mutex
	kept  map[string]*kept
	turns []string // the ids of kept, that used last at the end
	bytes int
}

// kept is the context of one response. What it goes on from is in the log, as far as that is stored; the rest is here.
type kept struct {
	lane   string
	thread []string       // of stored responses, oldest first
	items  jsontext.Value // what was asked and said behind them, to the end of the response
}

func newRecollection(l SocketLimits) *recollection {
	return &recollection{limits: l, kept: map[string]*kept{}}
}

// keep takes the response of an order that has ended with some output. One that is too large to be kept is not.
func (r *recollection) keep(id, lane string, o *order, output []schema.Item) error {
	items, err := json.Marshal(slices.Concat(o.req.Input, output), oneForm)
	if err != nil {
		return fmt.Errorf("keep %s: %w", id, err)
	}
	if len(items) > r.limits.KeptBytes {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[id] = &kept{lane: lane, thread: o.thread, items: items}
	r.turns, r.bytes = append(r.turns, id), r.bytes+len(items)
	for len(r.turns) > r.limits.Kept || r.bytes > r.limits.KeptBytes {
		r.drop(r.turns[0])
	}
	return nil
}

// restore gives an order the context of the response that it goes on from, if that is kept.
func (r *recollection) restore(o *order) error {
	if o.req.PreviousResponseID == nil {
		return nil
	}
	k := r.use(*o.req.PreviousResponseID)
	if k == nil {
		return nil
	}
	var items []schema.Item
	if err := json.Unmarshal(k.items, &items); err != nil {
		return fmt.Errorf("recall %s: %w", *o.req.PreviousResponseID, err)
	}
	o.thread, o.recalled = k.thread, true
	o.req.Input = slices.Concat(items, o.req.Input)
	return nil
}

func (r *recollection) use(id string) *kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[id]
	if k != nil {
		at := slices.Index(r.turns, id)
		r.turns = append(slices.Delete(r.turns, at, at+1), id)
	}
	return k
}

// evict forgets a response from which the lane that made it could not go on. What fails in another lane was a fork: there
// the response stays.
func (r *recollection) evict(id, lane string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.kept[id]; k != nil && k.lane == lane {
		r.drop(id)
	}
}

// drop is called with mu held.
func (r *recollection) drop(id string) {
	at := slices.Index(r.turns, id)
	r.turns, r.bytes = slices.Delete(r.turns, at, at+1), r.bytes-len(r.kept[id].items)
	delete(r.kept, id)
}
