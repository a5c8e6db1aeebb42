package upstream

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// chatToolCall is one entry of delta.tool_calls: a piece of a call, or a whole one.
type chatToolCall struct {
	Index    *int          `json:"index"`
	ID       *string       `json:"id"`
	Function *chatFunction `json:"function"`
	Custom   *chatFunction `json:"custom"`
}

type chatFunction struct {
	Name      *string        `json:"name"`
	Arguments jsontext.Value `json:"arguments"`
	Input     jsontext.Value `json:"input"` // of a custom tool
}

// chatCalls tells tool calls one after the other, each as an item of its own. A call that something follows is done as
// soon as its arguments are one JSON object, to which nothing can be added; until then the pieces of later calls wait
// here, since downstream an item holds the wire until it is done.
type chatCalls struct {
	*answer
	all  []*chatCall
	told int // calls that are done
}

// chatCall is a call as far as it is known.
type chatCall struct {
	index    int // the upstream's
	id, name string
	custom   bool
	open     *call
	judged   int              // bytes of the arguments when they were last judged
	waiting  []jsontext.Value // pieces that are not told yet
	done     bool
}

// take adds a piece to the call that it belongs to.
func (cs *chatCalls) take(t *chatToolCall) error {
	f, custom := t.Function, false
	if f == nil && t.Custom != nil {
		f, custom = t.Custom, true
	}
	if f == nil {
		f = &chatFunction{}
	}
	c := cs.find(t.Index, deref(t.ID), deref(f.Name))
	c.custom = c.custom || custom
	piece, err := cs.piece(f)
	if err != nil {
		return err
	}
	if c.done {
		return cs.late(c, piece)
	}
	if piece != nil {
		c.waiting = append(c.waiting, piece)
	}
	return cs.tell()
}

// takeLegacy takes a function_call, the form before tool_calls: there is one at most, and it has no id.
func (cs *chatCalls) takeLegacy(f *chatFunction) error {
	index := 0
	return cs.take(&chatToolCall{Index: &index, Function: f})
}

func deref(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// piece returns arguments as a JSON string; nil if there are none. Some servers give an object instead of its text.
func (cs *chatCalls) piece(f *chatFunction) (jsontext.Value, error) {
	raw := f.Arguments
	if len(raw) == 0 {
		raw = f.Input
	}
	switch raw.Kind() {
	case '"':
		return raw, nil
	case '{':
		object, err := mend(raw)
		if err != nil {
			return nil, broken(err, "upstream %s sent arguments that cannot be read", cs.name)
		}
		if err := object.Compact(); err != nil {
			return nil, broken(err, "upstream %s sent arguments that cannot be read", cs.name)
		}
		return quote(string(object)), nil
	}
	return nil, nil
}

// find returns the call that a piece belongs to, a new one if need be. Servers differ: most give an index; Ollama and
// Gemini send whole calls with none, or all with 0, and tell them apart by id; old vLLM gives every piece a new id, but
// only the first a name; some repeat the name in every piece.
func (cs *chatCalls) find(index *int, id, name string) *chatCall {
	c := cs.last(index, id)
	if c == nil || c.differs(index, id, name) {
		c = &chatCall{index: len(cs.all)}
		if index != nil {
			c.index = *index
		}
		cs.all = append(cs.all, c)
	}
	set(&c.name, name)
	set(&c.id, id)
	return c
}

// last returns the latest call with that index; without an index the one with that id, else the latest of all.
func (cs *chatCalls) last(index *int, id string) (latest *chatCall) {
	for _, c := range cs.all {
		switch {
		case index != nil && c.index == *index:
			latest = c
		case index == nil && id != "" && c.id == id:
			return c
		case index == nil:
			latest = c
		}
	}
	return latest
}

// differs reports whether a piece begins another call than c, though it may have the same index.
func (c *chatCall) differs(index *int, id, name string) bool {
	if name == "" || c.name == "" {
		return false
	}
	if index == nil {
		return id == "" || id != c.id
	}
	return id != "" && c.id != "" && id != c.id
}

// tell streams what may be streamed: the first call that is not done, and those behind it whose turn has come.
func (cs *chatCalls) tell() error {
	if err := cs.finishWhole(len(cs.all) - 1); err != nil || cs.told == len(cs.all) {
		return err
	}
	return cs.stream(cs.all[cs.told])
}

// settle ends the calls that are whole, since the upstream goes on with text.
func (cs *chatCalls) settle() error { return cs.finishWhole(len(cs.all)) }

// finishWhole ends calls, in order, as long as they are whole and lie before n.
func (cs *chatCalls) finishWhole(n int) error {
	for cs.told < n {
		c := cs.all[cs.told]
		if err := cs.stream(c); err != nil || !c.whole() {
			return err
		}
		if err := cs.finish(c, schema.StatusCompleted); err != nil {
			return err
		}
	}
	return nil
}

// stream tells the pieces of a call. It waits for the name, which output_item.added must show.
func (cs *chatCalls) stream(c *chatCall) error {
	if c.name == "" {
		return nil
	}
	if c.open == nil {
		if err := cs.begin(c); err != nil {
			return err
		}
	}
	for _, piece := range c.waiting {
		if err := c.open.add(piece); err != nil {
			return err
		}
	}
	c.waiting = nil
	return nil
}

func (cs *chatCalls) begin(c *chatCall) (err error) {
	kind := schema.KindFunctionCall
	if c.custom {
		kind = schema.KindCustomCall
	}
	id := c.id
	if id == "" || cs.taken(c) {
		id = callID(cs.req, cs.told)
	}
	c.open, err = cs.items.call(kind, id, c.name)
	return err
}

// taken reports whether an earlier call of the context has the id: some servers count from call_0 in every answer, and
// then nobody could tell which output belongs to which call.
func (cs *chatCalls) taken(c *chatCall) bool {
	for _, other := range cs.all[:cs.told] {
		if other.id == c.id {
			return true
		}
	}
	return slices.ContainsFunc(cs.req.Input, func(it schema.Item) bool { return it.CallID == c.id })
}

// whole reports whether nothing can be added to the arguments. A custom tool's input is free text: it is never whole.
func (c *chatCall) whole() bool {
	if c.open == nil || c.custom || c.judged == c.open.text.Len() {
		return false
	}
	c.judged = c.open.text.Len()
	args := jsontext.Value(c.open.text.String())
	return args.Kind() == '{' && args.IsValid()
}

func (cs *chatCalls) finish(c *chatCall, status string) error {
	cs.told++
	c.done = true
	return c.open.done(status)
}

// late is for a piece of a call that is done: an empty one, or the whole arguments again, as some servers send in their
// last chunk. Anything else would have changed the call.
func (cs *chatCalls) late(c *chatCall, piece jsontext.Value) error {
	if again := text(piece); again == "" || again == c.open.text.String() {
		return nil
	}
	return broken(nil, "upstream %s went on with a tool call that was done", cs.name)
}

// close ends the calls that are open. The last one, and any that is not whole, ends with that status.
func (cs *chatCalls) close(status string) error {
	for cs.told < len(cs.all) {
		c := cs.all[cs.told]
		if err := cs.stream(c); err != nil {
			return err
		}
		if c.open == nil {
			return broken(nil, "upstream %s sent a tool call without a name", cs.name)
		}
		last := cs.told == len(cs.all)-1
		end := schema.StatusCompleted
		if last || !c.whole() {
			end = status
		}
		if err := cs.finish(c, end); err != nil {
			return err
		}
	}
	return nil
}
