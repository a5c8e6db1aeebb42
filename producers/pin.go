package producers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// freshLists are the tool lists of the servers of approved calls, each asked for once, when the first call needs it.
type freshLists map[string]func() ([]listed, error)

// listForApproved prepares to list the servers of the pending calls that were approved.
func (r *run) listForApproved(ctx context.Context) freshLists {
	fresh := freshLists{}
	for _, c := range r.pending {
		if entry, ok := r.entry(c.Label); ok && c.Approval != "" && fresh[c.Label] == nil {
			fresh[c.Label] = sync.OnceValues(func() ([]listed, error) { return r.listAfresh(ctx, entry) })
		}
	}
	return fresh
}

// pin returns the error with which an approved call ends because the tool is not the one that was approved, or nobody can
// tell. What a human has allowed is a call of the tool as it was described then.
func (r *run) pin(ctx context.Context, c *call, fresh freshLists) jsontext.Value {
	list, there := fresh[c.Label]
	if !there {
		return notPinned("its server is not among the tools of this request")
	}
	then, err := r.definition(ctx, c)
	switch {
	case err != nil:
		return callFailure(err)
	case then == nil:
		return notPinned("how it was described when the call was approved is not in the context")
	}
	tools, err := list()
	if err != nil {
		return callFailure(err)
	}
	now := find(tools, c.Name)
	switch {
	case now == nil:
		return notPinned("its server does not offer it any more, or this request does not allow it")
	case !sameTool(then, now):
		return notPinned("its definition has changed since the call was approved")
	}
	return nil
}

func notPinned(why string) jsontext.Value {
	return mcpError{Type: protocolError, Code: new(mcpInvalidParams), Message: "the tool was not called: " + why}.encode()
}

func find(tools []listed, name string) *listed {
	i := slices.IndexFunc(tools, func(t listed) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &tools[i]
}

// sameTool compares two definitions as JSON values: callers that send a list back write it in their own way.
func sameTool(a, b *listed) bool {
	x, y := a.InputSchema.Clone(), b.InputSchema.Clone()
	return a.Name == b.Name && a.Description == b.Description && x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}

// definition returns the tool as it was listed when its call was approved, or nil. A caller that refers to a request for
// approval by its id alone leaves the list out; then it is looked for where the request comes from.
func (r *run) definition(ctx context.Context, c *call) (*listed, error) {
	if tools, ok := r.lists[c.Label]; ok {
		return find(tools, c.Name), nil
	}
	x, err := r.origin(ctx, c.Approval)
	if err != nil || x == nil {
		return nil, err
	}
	tools, ok := readLists(x.Items())[c.Label]
	if !ok {
		past, err := r.node.Library.Past(ctx, r.ref.Tenant(), x.Command.Thread)
		if err != nil {
			return nil, absent(err)
		}
		tools = readLists(past)[c.Label]
	}
	return find(tools, c.Name), nil
}

// origin returns the response that asked for an approval; nil for one that is not there, or no more.
func (r *run) origin(ctx context.Context, request string) (*schema.Exchange, error) {
	id, minted := schema.ResponseOf(request)
	ref, err := schema.NewRef(r.ref.Tenant(), id)
	if err != nil || !minted {
		return nil, nil //nolint:nilerr // an id from outside may name nothing
	}
	x, err := r.node.Library.Exchange(ctx, ref)
	if err != nil {
		return nil, absent(err)
	}
	if !slices.ContainsFunc(x.Response.Output, func(it schema.Item) bool { return it.ID == request }) {
		return nil, nil
	}
	return x, nil
}

// absent makes nothing of an error which says that a response is not there.
func absent(err error) error {
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrGone) {
		return nil
	}
	return fmt.Errorf("look for a tool list: %w", err)
}
