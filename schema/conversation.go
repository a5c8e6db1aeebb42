package schema

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// Conversation is the fold of its facts: metadata, and items in the order in which they came.
//
// Each fact sets one part of it, the head (what the conversation is) or one group (items that came together), and the last
// word on a part is all that counts. So a fact that another one has overtaken may be erased without changing the fold; to
// erase an item, its group is set again without it.
type Conversation struct {
	ID        string
	CreatedAt int64 // milliseconds since 1970
	Metadata  map[string]string
	Version   int64 // number of the last fact
	Size      int   // bytes of the facts that count

	head    word
	groups  []group // in order of since
	dead    []int64 // versions of facts that have been overtaken
	deleted bool
}

// word is the fact that had the last word on a part of the conversation.
type word struct {
	version int64
	size    int
}

// group is items that came together.
type group struct {
	word
	since    int64 // version with which they came
	response string
	attempt  int
	items    []Item
}

// ConversationPoint is a conversation at one of its versions: what a response goes on from, whichever attempt makes it.
type ConversationPoint struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

// FactKind says what happened to a conversation.
type FactKind string

// The kinds of facts.
const (
	FactCreated   FactKind = "created"
	FactDescribed FactKind = "described" // its metadata was set
	FactAdded     FactKind = "added"
	FactRemoved   FactKind = "removed"
	FactDeleted   FactKind = "deleted"
)

// Fact is one change of a conversation, and one message of its subject.
type Fact struct {
	Format  int      `json:"v"`
	Version int64    `json:"version"` // numbers the facts of a conversation, from 1
	Kind    FactKind `json:"kind"`
	At      int64    `json:"at"` // milliseconds since 1970

	// Of created and described, which set the head.
	CreatedAt int64             `json:"created_at,omitzero"`
	Metadata  map[string]string `json:"metadata,omitzero"`

	// Of added and removed, which set the group that came with version Since. Response and Attempt say which run added it.
	Since    int64  `json:"since,omitzero"`
	Response string `json:"response,omitzero"`
	Attempt  int    `json:"attempt,omitzero"`
	Item     string `json:"item,omitzero"` // the one that was removed
	Items    []Item `json:"items,omitzero"`
}

// ParseFact decodes a fact.
func ParseFact(data []byte) (*Fact, error) {
	var f Fact
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("parse fact: %w", err)
	}
	if f.Format != FormatVersion {
		return nil, fmt.Errorf("parse fact: version %d, this build reads %d", f.Format, FormatVersion)
	}
	return &f, nil
}

// Encode writes the fact.
func (f *Fact) Encode() ([]byte, error) {
	data, err := json.Marshal(f, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode fact %d: %w", f.Version, err)
	}
	return data, nil
}

var errFact = errors.New("fact does not fit into its conversation")

// Apply folds the next fact, whose encoding has so many bytes. What it refuses changes nothing.
func (c *Conversation) Apply(f *Fact, size int) error {
	if c.deleted || f.Version <= c.Version {
		return fmt.Errorf("%w: %s %d behind %d, deleted %t", errFact, f.Kind, f.Version, c.Version, c.deleted)
	}
	switch f.Kind {
	case FactCreated, FactDescribed:
		c.CreatedAt, c.Metadata = f.CreatedAt, f.Metadata
		c.overtake(c.head)
		c.head = word{f.Version, size}
	case FactAdded, FactRemoved:
		if f.Since < 1 || f.Since > f.Version {
			return fmt.Errorf("%w: %s %d sets group %d", errFact, f.Kind, f.Version, f.Since)
		}
		c.put(group{word{f.Version, size}, f.Since, f.Response, f.Attempt, f.Items})
	case FactDeleted:
		c.deleted = true
	default:
		return fmt.Errorf("%w: kind %.40q", errFact, f.Kind)
	}
	c.Version = f.Version
	c.Size += size
	return nil
}

func (c *Conversation) put(g group) {
	at, there := slices.BinarySearchFunc(c.groups, g.since, func(have group, since int64) int { return cmp.Compare(have.since, since) })
	if !there {
		c.groups = slices.Insert(c.groups, at, g)
		return
	}
	c.overtake(c.groups[at].word)
	c.groups[at] = g
}

func (c *Conversation) overtake(w word) {
	if w.version > 0 {
		c.dead = append(c.dead, w.version)
		c.Size -= w.size
	}
}

// Alive reports whether there is such a conversation: it was created, and not deleted.
func (c *Conversation) Alive() bool { return c.head.version > 0 && !c.deleted }

// Dead returns the versions of the facts that may be erased, lowest first: in that order, whatever is left of them at any
// moment changes nothing. A group that lost its last item is one too, once another fact stands behind it, unless a response
// added it: then it says that the response must not be added again.
func (c *Conversation) Dead() []int64 {
	dead := slices.Clone(c.dead)
	for i := range c.groups {
		if g := &c.groups[i]; len(g.items) == 0 && g.response == "" && g.version < c.Version {
			dead = append(dead, g.version)
		}
	}
	slices.Sort(dead)
	return dead
}

// Items returns all items, the oldest first.
func (c *Conversation) Items() []Item { return c.ItemsAt(c.Version) }

// ItemsAt returns the items that came with that version or before, and are still there.
func (c *Conversation) ItemsAt(version int64) []Item {
	var items []Item
	for i := range c.groups {
		if c.groups[i].since <= version {
			items = append(items, c.groups[i].items...)
		}
	}
	return items
}

// Item returns the item with that id, nil if there is none.
func (c *Conversation) Item(id string) *Item {
	g, i := c.find(id)
	if g == nil {
		return nil
	}
	return &g.items[i]
}

func (c *Conversation) find(id string) (*group, int) {
	for i := range c.groups {
		g := &c.groups[i]
		if n := slices.IndexFunc(g.items, func(it Item) bool { return it.ID == id }); n >= 0 {
			return g, n
		}
	}
	return nil, 0
}

// count is what the bound on items counts: also groups that are kept for what they say of their response.
func (c *Conversation) count() (n int) {
	for i := range c.groups {
		n += max(1, len(c.groups[i].items))
	}
	return n
}
