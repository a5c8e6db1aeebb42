package schema

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// The methods in this file decide: each returns the fact that makes a change, for the conversation as it is now. Whoever
// appends the fact does so behind that version, or asks again.

// NewConversation returns the fact that begins a conversation.
func NewConversation(at time.Time, metadata map[string]string) *Fact {
	return &Fact{Format: FormatVersion, Version: 1, Kind: FactCreated, CreatedAt: at.UnixMilli(), Metadata: metadata}
}

func (c *Conversation) next(kind FactKind) *Fact {
	return &Fact{Format: FormatVersion, Version: c.Version + 1, Kind: kind}
}

// Describe sets the metadata.
func (c *Conversation) Describe(metadata map[string]string) *Fact {
	f := c.next(FactDescribed)
	f.CreatedAt, f.Metadata = c.CreatedAt, metadata
	return f
}

// Delete ends the conversation.
func (c *Conversation) Delete() *Fact { return c.next(FactDeleted) }

// Add adds items, each under its id, or returns a refusal. There is no fact for no items.
func (c *Conversation) Add(items []Item) (*Fact, error) {
	if len(items) == 0 {
		return nil, nil
	}
	if err := c.refuseTwins("items", items); err != nil {
		return nil, err
	}
	f := c.next(FactAdded)
	f.Since, f.Items = f.Version, items
	size, err := encodedItems(items)
	switch {
	case err != nil:
		return nil, err
	case size > MaxOutput:
		return nil, Refuse(CodeTooLarge, "items", "The items are larger than %d bytes.", MaxOutput)
	case c.count()+len(items) > MaxConversationItems || c.Size+size > MaxConversationBytes:
		return nil, c.full("items")
	}
	return f, nil
}

// Remove removes an item; nil if there is none with that id.
func (c *Conversation) Remove(id string) *Fact {
	g, i := c.find(id)
	if g == nil {
		return nil
	}
	f := c.next(FactRemoved)
	f.Item, f.Since, f.Response, f.Attempt = id, g.since, g.response, g.attempt
	f.Items = slices.Delete(slices.Clone(g.items), i, i+1)
	return f
}

// Join returns the point from which a response with that input goes on, or why it cannot.
func (c *Conversation) Join(input []Item) (*ConversationPoint, error) {
	if err := c.refuseTwins("input", input); err != nil {
		return nil, err
	}
	size, err := encodedItems(input)
	switch {
	case err != nil:
		return nil, err
	case size+len(input)*MaxToken > MaxConversationInput:
		return nil, Refuse(CodeTooLarge, "input", "The input of a response in a conversation must stay below %d bytes.", MaxConversationInput)
	case c.count()+len(input) > MaxConversationItems || c.Size+size > MaxConversationBytes:
		return nil, c.full("conversation")
	}
	return &ConversationPoint{ID: c.ID, Version: c.Version}, nil
}

// Answer adds the items of a response, which its attempt is about to end. There is no fact where this attempt or a later one
// has added them already; what an earlier attempt added gives way, since that one did not get to its terminal event. Items
// whose ids are there already are left out.
func (c *Conversation) Answer(response string, attempt int, items []Item) (*Fact, error) {
	f := c.next(FactAdded)
	f.Since, f.Response, f.Attempt = f.Version, response, attempt
	for i := range c.groups {
		g := &c.groups[i]
		switch {
		case g.response != response:
		case g.attempt >= attempt:
			return nil, nil
		default:
			f.Since = g.since
		}
	}
	for i := range items {
		if g, _ := c.find(items[i].ID); g == nil || g.since == f.Since {
			f.Items = append(f.Items, items[i])
		}
	}
	if len(f.Items) == 0 && f.Since == f.Version && attempt <= 1 {
		return nil, nil // a later attempt must leave its word, lest an earlier one that was cut off still adds something
	}
	size, err := encodedItems(f.Items)
	switch {
	case err != nil:
		return nil, err
	case c.Size+size > 2*MaxConversationBytes:
		return nil, c.full("conversation")
	}
	return f, nil
}

func (c *Conversation) full(param string) *Error {
	return Refuse(CodeConversationFull, param, "The conversation is full: %d items of %d, %d bytes of %d. Delete items, or begin another one.",
		c.count(), MaxConversationItems, c.Size, MaxConversationBytes)
}

// refuseTwins keeps ids unique, among the items and with what is there.
func (c *Conversation) refuseTwins(param string, items []Item) error {
	ids := map[string]bool{"": true}
	for _, it := range c.Items() {
		ids[it.ID] = true
	}
	for i := range items {
		if id := items[i].ID; id != "" && ids[id] {
			return Refuse(CodeInvalidValue, param,
				"Duplicate item found with id %.64s. Remove duplicate items from your input and try again.", id)
		}
		ids[items[i].ID] = true
	}
	return nil
}

func encodedItems(items []Item) (int, error) {
	data, err := json.Marshal(items)
	if err != nil {
		return 0, fmt.Errorf("encode items: %w", err)
	}
	return len(data), nil
}
