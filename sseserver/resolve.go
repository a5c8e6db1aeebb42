package sseserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// maxLookups bounds the earlier responses that one request reads at once.
const maxLookups = 8

// resolve finds what an order goes on from: the thread of previous_response_id, oldest first, or its conversation; and the
// items that it refers to, which take the place of the references.
func (s *Server) resolve(ctx context.Context, o *order) error {
	if id := o.req.PreviousResponseID; id != nil && !o.recalled {
		x, err := s.previous(ctx, o.tenant, *id)
		if err != nil {
			return err
		}
		o.thread, o.near = x.Thread(), x.Items()
	}
	if err := s.unfold(o.tenant, o.req.Input); err != nil {
		return err
	}
	if err := s.dereference(ctx, o); err != nil {
		return err
	}
	return s.joinConversation(ctx, o)
}

// unfold puts what a compaction of ours holds in its place: the run needs no key for it then. One of another maker goes to
// the upstream as it is.
func (s *Server) unfold(tenant string, items []schema.Item) error {
	for i := range items {
		it := &items[i]
		if it.Type != schema.KindCompaction {
			continue
		}
		text, ours, err := s.cfg.Library.Summary(tenant, it)
		if err != nil {
			return schema.Refuse(schema.CodeInvalidValue, "input", "The compaction '%s' was not made here for you, or was changed.", schema.Quote(it.ID))
		}
		if ours {
			*it = schema.Item{
				ID: it.ID, Type: schema.KindMessage, Role: "developer",
				Content: schema.Content{{Type: schema.PartInputText, Text: &text}},
			}
		}
	}
	return nil
}

func previousNotFound(id string) *schema.Error {
	return schema.Refuse(schema.CodePreviousNotFound, "previous_response_id", "Previous response with id '%s' not found.", schema.Quote(id))
}

// previous returns the response that a request goes on from. The responses in front of it are read by the run alone.
func (s *Server) previous(ctx context.Context, tenant, id string) (*schema.Exchange, error) {
	x, err := s.exchange(ctx, tenant, id)
	switch {
	case err != nil:
		return nil, err
	case x == nil:
		return nil, previousNotFound(id)
	case !x.Response.Ended():
		return nil, schema.Refuse(schema.CodeInvalidValue, "previous_response_id",
			"Previous response with id '%s' is still %s: wait for its end, or cancel it.", schema.Quote(id), x.Response.Status)
	case len(x.Thread()) > schema.MaxThread:
		return nil, schema.Refuse(schema.CodeInvalidValue, "previous_response_id",
			"More than %d responses in a row: send the input as a whole, or compact it.", schema.MaxThread)
	}
	return x, nil
}

// exchange returns what a response of the tenant was asked and said, nil if it is not there for this caller.
func (s *Server) exchange(ctx context.Context, tenant, id string) (*schema.Exchange, error) {
	if !schema.ValidToken(id) {
		return nil, nil
	}
	ref, err := schema.NewRef(tenant, id)
	if err != nil {
		return nil, fmt.Errorf("look up a response: %w", err)
	}
	x, err := s.cfg.Library.Exchange(ctx, ref)
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", ref, err)
	}
	return x, nil
}

// dereference puts items in the place of references to them. An item's id tells the response or the conversation that has it.
func (s *Server) dereference(ctx context.Context, o *order) error {
	refs := map[string][]int{} // input positions by response or conversation
	for i := range o.req.Input {
		it := &o.req.Input[i]
		if it.Type != schema.KindItemReference {
			continue
		}
		home, ok := homeOf(it.ID)
		if !ok {
			return itemNotFound(it.ID)
		}
		refs[home] = append(refs[home], i)
	}
	if len(refs) > schema.MaxThread {
		return schema.Refuse(schema.CodeInvalidValue, "input", "References to items of more than %d responses and conversations.", schema.MaxThread)
	}
	found := &findings{items: make([]schema.Item, len(o.req.Input))}
	lookups, ctx := errgroup.WithContext(ctx)
	lookups.SetLimit(maxLookups)
	for home, at := range refs {
		lookups.Go(func() error { return s.lookUp(ctx, o, home, at, found) })
	}
	if err := lookups.Wait(); err != nil {
		return err
	}
	for _, at := range refs {
		for _, i := range at {
			o.req.Input[i] = found.items[i]
		}
	}
	return nil
}

// homeOf returns the response or the conversation that an item id was minted for.
func homeOf(item string) (id string, ok bool) {
	if id, ok = schema.ConversationOf(item); ok {
		return id, true
	}
	return schema.ResponseOf(item)
}

// findings are the items that references stand for, by their positions in the input: no more than a command may hold.
type findings struct {
	items []schema.Item
	bytes atomic.Int64
}

func (f *findings) put(i int, it schema.Item) error {
	if f.bytes.Add(int64(it.Weight())) > maxCommand {
		return tooLarge(maxCommand)
	}
	f.items[i] = it
	return nil
}

// lookUp finds the items at some positions of the input in one response or conversation.
func (s *Server) lookUp(ctx context.Context, o *order, home string, at []int, found *findings) error {
	kept, running, err := s.itemsOf(ctx, o.tenant, home)
	if err != nil {
		return err
	}
	items := map[string]schema.Item{}
	for _, it := range kept {
		items[it.ID] = it
	}
	for _, i := range at {
		it, ok := items[o.req.Input[i].ID]
		switch {
		case !ok:
			return itemNotFound(o.req.Input[i].ID)
		case running != "" && (it.Status == schema.StatusInProgress || it.Status == "calling"):
			return schema.Refuse(schema.CodeInvalidValue, "input",
				"Item with id '%s' is not finished: its response is still %s.", schema.Quote(it.ID), running)
		}
		if err := found.put(i, it); err != nil {
			return err
		}
	}
	return nil
}

// itemsOf returns the items of a response or a conversation of the tenant, none if it is not there for this caller; and the
// status of a response that has not ended.
func (s *Server) itemsOf(ctx context.Context, tenant, home string) (items []schema.Item, running string, err error) {
	if strings.HasPrefix(home, conversationPrefix) {
		items, err = s.conversationItems(ctx, tenant, home)
		return items, "", err
	}
	x, err := s.exchange(ctx, tenant, home)
	if err != nil || x == nil {
		return nil, "", err
	}
	if !x.Response.Ended() {
		running = x.Response.Status
	}
	return x.Items(), running, nil
}

// itemNotFound has OpenAI's own words and status for it.
func itemNotFound(id string) error {
	e := schema.Refuse(schema.CodeNotFound, "input", "Item with id '%s' not found. Items are not kept of responses that were "+
		"made with 'store' set to false, or deleted.", schema.Quote(id))
	e.Status = http.StatusNotFound
	return e
}

// recall returns all that an order goes on from: its conversation, or its thread.
func (s *Server) recall(ctx context.Context, o *order) ([]schema.Item, error) {
	if o.point != nil {
		return o.near, nil
	}
	past, err := s.cfg.Library.Past(ctx, o.tenant, o.thread)
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrGone) {
		return nil, schema.Refuse(schema.CodePreviousNotFound, "previous_response_id", "A response that this one goes on from is no longer there.")
	}
	return past, pastError(err)
}

// pastError answers for a thread that cannot be read.
func pastError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, broker.ErrTooLong):
		return schema.Refuse(schema.CodeInvalidValue, "previous_response_id",
			"The responses that this one goes on from hold more than %d bytes: compact them.", schema.MaxThreadBytes)
	}
	return fmt.Errorf("read a thread: %w", err)
}

// checkContext refuses input that does not go on from what stands in front of it, and answers to requests for approval that no
// run could follow. It reads all of that only where the response before does not tell enough. What a WebSocket remembers
// stands in the input as it was when it was checked.
func (s *Server) checkContext(ctx context.Context, o *order) error {
	answer := slices.IndexFunc(o.req.Input, func(it schema.Item) bool { return it.Type == schema.KindApproval })
	if answer >= 0 && !o.req.Generates() {
		return schema.Refuse(schema.CodeInvalidValue, fmt.Sprintf("input[%d]", answer),
			"An approval leads to a call at once: it cannot come in a request with 'generate' set to false.")
	}
	past := o.near
	if answer >= 0 || !o.recalled && schema.ReachesBack(past, o.req.Input) {
		var err error
		if past, err = s.recall(ctx, o); err != nil {
			return err
		}
	}
	if refusal := schema.CheckContinuity(past, o.req.Input); refusal != nil && !o.recalled {
		return refusal
	}
	if refusal := schema.CheckApprovals(past, o.req.Input, o.req.Tools); refusal != nil {
		return refusal
	}
	return nil
}

// past returns the items of a thread; none if one of its responses was deleted since.
func (s *Server) past(ctx context.Context, tenant string, thread []string) ([]schema.Item, error) {
	items, err := s.cfg.Library.Past(ctx, tenant, thread)
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrGone) {
		return nil, nil
	}
	return items, pastError(err)
}
