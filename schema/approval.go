package schema

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// ApprovalRule says which calls of an MCP entry's tools a human must allow. The zero value is the API's default: all.
type ApprovalRule struct {
	always, never ToolFilter
	none          bool
}

// ToolFilter names tools of an MCP server, by their names or by what the server says of them.
type ToolFilter struct {
	Names    []string `json:"tool_names,omitzero"`
	ReadOnly *bool    `json:"read_only,omitzero"`
}

// Approval reads the entry's require_approval: null, "always", "never", or an object with always and never. What it does
// not know it refuses: a rule that was misread would let tools run that nobody allowed.
func (t *Tool) Approval() (ApprovalRule, error) {
	raw := t.RequireApproval
	switch {
	case len(raw) == 0, raw.Kind() == 'n', raw.Kind() == '"' && TextOf(raw) == "always":
		return ApprovalRule{}, nil
	case raw.Kind() == '"' && TextOf(raw) == "never":
		return ApprovalRule{none: true}, nil
	}
	var rule struct {
		Always ToolFilter `json:"always"`
		Never  ToolFilter `json:"never"`
	}
	if err := json.Unmarshal(raw, &rule, json.RejectUnknownMembers(true)); err != nil {
		return ApprovalRule{}, fmt.Errorf("read require_approval: %w", err)
	}
	return ApprovalRule{always: rule.Always, never: rule.Never}, nil
}

// Needs reports whether a call of that tool must be allowed first. What neither filter names must be, and so must what
// both name.
func (a ApprovalRule) Needs(name string, readOnly bool) bool {
	return !a.none && (!a.never.frees(name, readOnly) || a.always.binds(name, readOnly))
}

// frees reports whether a tool is all that the filter asks for. A read_only of false asks for nothing, and an empty filter
// frees nothing.
func (f ToolFilter) frees(name string, readOnly bool) bool {
	asksReadOnly := f.ReadOnly != nil && *f.ReadOnly
	switch {
	case f.Names == nil && !asksReadOnly:
		return false
	case asksReadOnly && !readOnly:
		return false
	}
	return f.Names == nil || slices.Contains(f.Names, name)
}

// binds reports whether a tool is anything that the filter asks for.
func (f ToolFilter) binds(name string, readOnly bool) bool {
	return slices.Contains(f.Names, name) || f.ReadOnly != nil && *f.ReadOnly == readOnly
}

// CheckApprovals refuses a request whose answers to requests for approval cannot be followed: to a request that is in
// neither part of its context, a second answer to the same, an approval of a call that was made already, or one for a
// server that is not among the tools. past is what the request goes on from, input what it brings itself, with references
// resolved.
func CheckApprovals(past, input []Item, tools []Tool) *Error {
	a, err := readApprovals(past, input)
	if err != nil {
		return err
	}
	if len(a.granted) > MaxApprovals {
		return Refuse(CodeInvalidValue, "input", "More than %d calls are approved at once.", MaxApprovals)
	}
	for _, i := range a.granted {
		label := a.requests[a.id(input[i])].ServerLabel
		known := slices.ContainsFunc(tools, func(t Tool) bool { return t.Type == ToolMCP && t.ServerLabel == label })
		if !known {
			return Refuse(CodeInvalidValue, fmt.Sprintf("input[%d]", i),
				"The approved call is of the MCP server %.64q, which is not among the 'tools' of this request.", label)
		}
	}
	return nil
}

// Approved returns the requests for approval that the input grants and that have led to no call yet, in the order of the
// answers. What an earlier response was to do with its own answers is that response's affair.
func Approved(past, input []Item) []Item {
	a, err := readApprovals(past, input)
	if err != nil {
		return nil
	}
	var requests []Item
	for _, i := range a.granted {
		requests = append(requests, *a.requests[a.id(input[i])])
	}
	return requests
}

// approvals are the requests for approval in a context, and what became of them.
type approvals struct {
	requests map[string]*Item // by id; of two under one id the older one, which a caller cannot have rewritten
	calls    map[string]int   // id of a request → where its call stands
	answered map[string]bool
	granted  []int // the input's answers that are to be followed
}

func (*approvals) id(answer Item) string { return TextOf(answer.ApprovalRequestID) }

func readApprovals(past, input []Item) (*approvals, *Error) {
	a := &approvals{requests: map[string]*Item{}, calls: map[string]int{}, answered: map[string]bool{}}
	context := slices.Concat(past, input)
	for i := range context {
		a.note(i, &context[i])
	}
	for i := range context {
		if context[i].Type != KindApproval {
			continue
		}
		if err := a.follow(i, len(past), &context[i]); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *approvals) note(i int, it *Item) {
	switch it.Type {
	case KindApprovalRequest:
		if _, twice := a.requests[it.ID]; !twice && it.ID != "" {
			a.requests[it.ID] = it
		}
	case KindMCPCall:
		if id := TextOf(it.ApprovalRequestID); id != "" {
			a.calls[id] = i
		}
	}
}

// follow takes the answer at place i of the context. A caller that sends the whole input again sends answers that were
// followed long ago: behind those stands the call.
func (a *approvals) follow(i, past int, answer *Item) *Error {
	id := a.id(*answer)
	request, known := a.requests[id]
	twice := a.answered[id]
	a.answered[id] = true
	if i < past {
		return nil
	}
	call, made := a.calls[id]
	grants := answer.Approve != nil && *answer.Approve
	param := fmt.Sprintf("input[%d].approval_request_id", i-past)
	switch {
	case !known:
		return Refuse(CodeInvalidValue, param, "There is no approval request with id %.64q in the context.", id)
	case twice:
		return Refuse(CodeInvalidValue, param, "The approval request %.64q has been answered before.", id)
	case made && call < i && grants:
		return Refuse(CodeInvalidValue, param, "The call of the approval request %.64q was made before.", id)
	case request.Name == "" || request.ServerLabel == "":
		return Refuse(CodeInvalidValue, param, "The approval request %.64q does not say which tool to call.", id)
	case grants && !made:
		a.granted = append(a.granted, i-past)
	}
	return nil
}
