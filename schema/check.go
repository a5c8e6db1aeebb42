package schema

import (
	"bytes"
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// CheckStream holds a whole answer, as a client received it from sequence number 0 to its end, to everything that
// Midstream promises of it: the frames' form and numbers, the canonical order, text that equals its deltas, one terminal
// event, last, whose output equals the streamed items, and the members that the SDKs' types require. Between frames it
// allows comments, behind the last one `data: [DONE]`. It returns what was read up to the first fault; the fault is a
// *[Violation] unless the bytes are no frames at all.
func CheckStream(sse []byte) (*State, error) {
	c := &checker{}
	for len(sse) > 0 {
		rest, err := c.take(sse)
		if err != nil {
			return &c.state, err
		}
		sse = rest
	}
	if !c.state.Ended() {
		return &c.state, refuse(&Event{SequenceNumber: c.state.due}, lawOne, "the stream ends without a terminal event")
	}
	return &c.state, nil
}

// checker is the State, and what a State does not keep: the JSON as it was, member by member.
type checker struct {
	state State
	items []jsontext.Value // as output_item.done brought them, plain
	done  bool             // [DONE] was there
}

// DoneMark is the data of the frame behind the terminal event; it is no event.
const DoneMark = "[DONE]"

var doneFrame = []byte("data: " + DoneMark + "\n\n")

// take checks the first frame, comment or end mark of a stream.
func (c *checker) take(sse []byte) (rest []byte, err error) {
	at := &Event{SequenceNumber: c.state.due}
	if comment, rest, ok := bytes.Cut(sse, frameEnd); ok && comment[0] == ':' && !bytes.ContainsAny(comment, "\n\r") {
		return rest, nil
	}
	if rest, ok := bytes.CutPrefix(sse, doneFrame); ok {
		if !c.state.Ended() || c.done {
			return sse, refuse(at, lawLast, "[DONE] before the terminal event, or twice")
		}
		c.done = true
		return rest, nil
	}
	if c.done {
		return sse, refuse(at, lawLast, "bytes after [DONE]")
	}
	f, rest, err := CutFrame(sse)
	if err != nil {
		return sse, err
	}
	e, err := parseFrame(f)
	if v := (*Violation)(nil); err != nil && !errors.As(err, &v) {
		return sse, refuse(at, lawMembers, "%v", err)
	}
	if err != nil {
		return sse, err
	}
	if err := c.state.Apply(&e); err != nil {
		return sse, err
	}
	return rest, c.checkMembers(&e, f.Data)
}

// checkMembers holds an event's JSON to what clients need of it.
func (c *checker) checkMembers(e *Event, data []byte) error {
	o, err := objectOf(e, "event", data)
	if err != nil {
		return err
	}
	if err := o.require(memberTable[e.Type]...); err != nil {
		return err
	}
	switch {
	case e.Type.Lifecycle():
		return c.checkResponse(e, o.members["response"])
	case e.Type == ItemAdded:
		return checkItem(e, o.members["item"])
	case e.Type == ItemDone:
		c.items = append(c.items, plain(o.members["item"]))
		return checkItem(e, o.members["item"])
	case e.Part != nil:
		return checkPart(e, o.members["part"])
	}
	return nil
}

// checkResponse holds the response in a lifecycle event to its members, and its output to the very JSON of the items.
func (c *checker) checkResponse(e *Event, raw jsontext.Value) error {
	o, err := objectOf(e, "response", raw)
	if err != nil {
		return err
	}
	if err := o.require(responseMembers...); err != nil {
		return err
	}
	if err := o.kinds(responseKinds); err != nil {
		return err
	}
	if err := o.checkEnd(e.Response); err != nil {
		return err
	}
	var shown struct {
		Output []jsontext.Value `json:"output"`
		Tools  []jsontext.Value `json:"tools"`
	}
	if err := json.Unmarshal(raw, &shown); err != nil {
		return refuse(e, lawMembers, "response: output and tools are lists")
	}
	for _, tool := range shown.Tools {
		if err := checkTool(e, tool); err != nil {
			return err
		}
	}
	same := func(a, b jsontext.Value) bool { return bytes.Equal(plain(a), b) }
	if e.Type.Terminal() && !slices.EqualFunc(shown.Output, c.items, same) {
		return refuse(e, lawOutput, "output differs from the items streamed")
	}
	return nil
}

// checkEnd holds the members that tell how a response ended to its status.
func (o *object) checkEnd(r *Response) error {
	failed, incomplete, completed := r.Status == StatusFailed, r.Status == StatusIncomplete, r.Status == StatusCompleted
	switch {
	case r.Object != "response":
		return o.refuse("object is %q", r.Object)
	case completed != (r.CompletedAt != nil):
		return o.refuse("completed_at of a response that is %s", r.Status)
	case failed && r.Error == nil, !failed && r.Status != StatusCancelled && r.Error != nil:
		return o.refuse("error of a response that is %s", r.Status)
	case r.Error != nil && (r.Error.Code == "" || r.Error.Message == ""):
		return o.refuse("error without code and message")
	case incomplete != (r.IncompleteDetails != nil), incomplete && r.IncompleteDetails.Reason == "":
		return o.refuse("incomplete_details of a response that is %s", r.Status)
	}
	if r.Usage == nil {
		return nil
	}
	usage, err := objectOf(o.event, "usage", o.members["usage"])
	if err != nil {
		return err
	}
	return usage.require("input_tokens", "input_tokens_details.cached_tokens", "input_tokens_details.cache_write_tokens",
		"output_tokens", "output_tokens_details.reasoning_tokens", "total_tokens")
}

func checkTool(e *Event, raw jsontext.Value) error {
	o, err := objectOf(e, "tool", raw)
	if err != nil {
		return err
	}
	switch o.text("type") {
	case ToolFunction:
		return o.require("name", "description", "parameters", "strict")
	case ToolMCP:
		if _, leaks := o.members["authorization"]; leaks || !isNull(o.members["headers"]) {
			return o.refuse("an MCP tool shows its secrets")
		}
		return o.require("server_label", "headers", "allowed_tools", "require_approval")
	}
	return o.require("type")
}

func checkItem(e *Event, raw jsontext.Value) error {
	o, err := objectOf(e, e.Item.Type, raw)
	if err != nil {
		return err
	}
	if err := o.require(itemMembers[e.Item.Type]...); err != nil {
		return err
	}
	if err := o.refuseNull(itemNeverNull[e.Item.Type]...); err != nil {
		return err
	}
	switch e.Item.Type {
	case KindMessage:
		return checkParts(e, o.members["content"])
	case KindMCPCall:
		return o.checkCall(e)
	case KindListTools:
		return o.checkList(e)
	}
	return nil
}

// checkCall holds an mcp_call to the states of the API, and its error to the API's union.
func (o *object) checkCall(e *Event) error {
	status := o.text("status")
	states := []string{StatusCompleted, StatusIncomplete, StatusFailed}
	if e.Type == ItemAdded {
		states = []string{StatusInProgress, "calling"}
	}
	if !slices.Contains(states, status) {
		return o.refuse("status %q", status)
	}
	if !slices.Contains([]jsontext.Kind{'n', '"'}, o.members["output"].Kind()) {
		return o.refuse("output is neither a string nor null")
	}
	if isNull(e.Item.Error) {
		return nil
	}
	fault, err := objectOf(e, "mcp_call.error", o.members["error"])
	if err != nil {
		return err
	}
	members, ok := callErrors[fault.text("type")]
	if !ok {
		return fault.refuse("type %q", fault.text("type"))
	}
	return fault.require(members...)
}

func (o *object) checkList(e *Event) error {
	if _, there := o.members["status"]; there {
		return o.refuse("it has no status in the API")
	}
	if fault, there := o.members["error"]; there && fault.Kind() != '"' {
		return o.refuse("error is not a string")
	}
	for _, raw := range e.Item.Tools {
		tool, err := objectOf(e, "mcp_list_tools.tools", raw)
		if err != nil {
			return err
		}
		if err := tool.require("name", "input_schema"); err != nil {
			return err
		}
		if err := tool.refuseNull("description", "annotations"); err != nil {
			return err
		}
	}
	return nil
}

func checkParts(e *Event, raw jsontext.Value) error {
	var parts []jsontext.Value
	if json.Unmarshal(raw, &parts) != nil {
		return refuse(e, lawMembers, "content is not a list")
	}
	for _, p := range parts {
		if err := checkPart(e, p); err != nil {
			return err
		}
	}
	return nil
}

func checkPart(e *Event, raw jsontext.Value) error {
	o, err := objectOf(e, "part", raw)
	if err != nil {
		return err
	}
	if err := o.require(partMembers[o.text("type")]...); err != nil {
		return err
	}
	return o.refuseNull(partMembers[o.text("type")]...)
}
