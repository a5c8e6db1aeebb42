package upstream

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// The kinds of content blocks that say something.
const (
	blockText     = "text"
	blockThinking = "thinking"
	blockRedacted = "redacted_thinking"
	blockTool     = "tool_use"
)

// messagesBlock is a content block as it begins, or a whole one.
type messagesBlock struct {
	Type      string         `json:"type"`
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Text      jsontext.Value `json:"text"`
	Thinking  jsontext.Value `json:"thinking"`
	Signature jsontext.Value `json:"signature"`
	Data      string         `json:"data"` // of redacted thinking
	Input     jsontext.Value `json:"input"`
}

// messagesDelta is what a block goes on with.
type messagesDelta struct {
	Type      string         `json:"type"`
	Text      jsontext.Value `json:"text"`
	Thinking  jsontext.Value `json:"thinking"`
	Signature jsontext.Value `json:"signature"`
	JSON      jsontext.Value `json:"partial_json"`
}

// messagesBlocks tells content blocks one after the other, as the API sends them. Should two be open beside each other,
// the pieces of the later one wait here, since downstream an item holds the wire until it is done.
type messagesBlocks struct {
	*answer
	all     []*heldBlock
	told    int                // blocks that are done
	byIndex map[int]*heldBlock // the latest with each index
	taken   map[string]bool    // ids of calls that were made before: some servers count from 0 in every answer
}

func newMessagesBlocks(a *answer) messagesBlocks {
	bs := messagesBlocks{answer: a, byIndex: map[int]*heldBlock{}, taken: map[string]bool{"": true}}
	for i := range a.req.Input {
		bs.taken[a.req.Input[i].CallID] = true
	}
	return bs
}

// heldBlock is a block as far as it is known.
type heldBlock struct {
	messagesBlock
	open      bool             // its item has begun
	stopped   bool             // nothing more will come
	waiting   []jsontext.Value // pieces that are not told yet
	signature strings.Builder
	call      *call
	custom    bool            // the tool was declared as a custom one: the call's input is a member of this JSON
	input     strings.Builder // that JSON
	joiner    joiner
}

// deltaBlocks says which kind of block a delta goes on with. Those of other types are for blocks that say nothing.
var deltaBlocks = map[string]string{
	"text_delta": blockText, "thinking_delta": blockThinking, "signature_delta": blockThinking, "input_json_delta": blockTool,
}

func (bs *messagesBlocks) begin(index int, start *messagesBlock) error {
	if before := bs.byIndex[index]; before != nil {
		before.stopped = true // some servers leave out the stop, and give every block the same index
	}
	b := &heldBlock{messagesBlock: *start}
	b.signature.WriteString(text(start.Signature))
	bs.all, bs.byIndex[index] = append(bs.all, b), b
	switch start.Type {
	case blockText:
		return bs.piece(b, start.Text)
	case blockThinking:
		return bs.piece(b, start.Thinking)
	}
	return bs.tell()
}

func (bs *messagesBlocks) add(index int, raw jsontext.Value) error {
	var delta messagesDelta
	if err := json.Unmarshal(raw, &delta, lenient); err != nil {
		return broken(err, "upstream %s sent a delta that cannot be read", bs.name)
	}
	b, kind := bs.byIndex[index], deltaBlocks[delta.Type]
	switch {
	case b == nil || b.stopped:
		return broken(nil, "upstream %s went on with a content block that is not open", bs.name)
	case kind == "" || b.silent():
		return nil
	case kind != b.Type:
		return broken(nil, "upstream %s went on with a content block of one kind as if it were of another", bs.name)
	case delta.Type == "signature_delta":
		b.signature.WriteString(text(delta.Signature))
		return nil
	}
	return bs.piece(b, delta.said())
}

// said is the piece of text, of a thought or of a tool's input that a delta brings.
func (d *messagesDelta) said() jsontext.Value {
	switch d.Type {
	case "thinking_delta":
		return d.Thinking
	case "input_json_delta":
		return d.JSON
	}
	return d.Text
}

// silent reports whether the block is of a kind that says nothing here.
func (b *heldBlock) silent() bool {
	return b.Type != blockText && b.Type != blockThinking && b.Type != blockTool
}

func (bs *messagesBlocks) piece(b *heldBlock, raw jsontext.Value) error {
	switch {
	case blank(raw):
	case raw.Kind() != '"':
		return broken(nil, "upstream %s sent content that is not text", bs.name)
	default:
		b.waiting = append(b.waiting, raw)
	}
	return bs.tell()
}

func (bs *messagesBlocks) stop(index int) error {
	if b := bs.byIndex[index]; b != nil {
		b.stopped = true
	}
	return bs.tell()
}

// tell streams what may be streamed: the first block that is not done, and those behind it whose turn has come. The
// last one stays open: why the answer ended, which comes behind it, may yet make it an incomplete one.
func (bs *messagesBlocks) tell() error {
	for bs.told < len(bs.all) {
		b := bs.all[bs.told]
		if err := bs.stream(b); err != nil {
			return err
		}
		if !b.stopped || bs.told == len(bs.all)-1 {
			return nil
		}
		if err := bs.finish(b, schema.StatusCompleted); err != nil {
			return err
		}
	}
	return nil
}

func (bs *messagesBlocks) stream(b *heldBlock) error {
	if !b.open {
		b.open = true
		if err := bs.start(b); err != nil {
			return err
		}
	}
	for _, piece := range b.waiting {
		if err := bs.say(b, piece); err != nil {
			return err
		}
	}
	b.waiting = nil
	return nil
}

// start begins the item of a block. Text needs none: its first piece begins a message, or goes on with the open one.
func (bs *messagesBlocks) start(b *heldBlock) error {
	switch b.Type {
	case blockText:
		return nil
	case blockThinking, blockRedacted:
		return bs.items.begin(schema.KindReasoning)
	case blockTool:
		return bs.startCall(b)
	}
	return bs.items.close(schema.StatusCompleted) // what stands on its two sides is not one text
}

func (bs *messagesBlocks) startCall(b *heldBlock) (err error) {
	if b.Name == "" {
		return broken(nil, "upstream %s sent a tool call without a name", bs.name)
	}
	kind := schema.KindFunctionCall
	b.custom = slices.ContainsFunc(bs.req.Tools, func(t schema.Tool) bool { return t.Type == schema.ToolCustom && t.Name == b.Name })
	if b.custom {
		kind = schema.KindCustomCall
	}
	id := b.ID
	if bs.taken[id] {
		id = callID(bs.req, bs.told)
	}
	bs.taken[id] = true
	b.call, err = bs.items.call(kind, id, b.Name)
	return err
}

func (bs *messagesBlocks) say(b *heldBlock, piece jsontext.Value) error {
	switch {
	case b.Type == blockText:
		return bs.items.sayJSON(schema.PartOutputText, piece)
	case b.Type == blockThinking:
		return bs.items.sayJSON(schema.PartSummaryText, piece)
	case b.custom:
		b.input.WriteString(b.joiner.add(piece))
		return nil
	}
	return b.call.add(piece)
}

// finish ends a block with that status. The message that text stands in stays open for more text.
func (bs *messagesBlocks) finish(b *heldBlock, status string) error {
	bs.told++
	switch b.Type {
	case blockThinking, blockRedacted:
		if sealed := seal(b.Type, b.signature.String()+b.Data); sealed != "" {
			bs.items.seal(sealed)
		}
		return bs.items.close(status)
	case blockTool:
		return bs.finishCall(b, status)
	}
	return nil
}

// finishCall adds what was not streamed of a call: all of a custom one's input, and an input that was only given whole.
func (bs *messagesBlocks) finishCall(b *heldBlock, status string) error {
	unsaid := b.input.String() + b.joiner.rest()
	if unsaid == "" && b.call.text.Len() == 0 && status == schema.StatusCompleted {
		whole, err := wholeInput(b.Input)
		if err != nil {
			return broken(err, "upstream %s sent a tool's input that cannot be read", bs.name)
		}
		unsaid = string(whole)
	}
	if b.custom {
		unsaid = customInput(unsaid)
	}
	if err := b.call.delta(unsaid); err != nil {
		return err
	}
	return b.call.done(status)
}

// wholeInput is the input that a block began with: {} for a tool that takes none, and in all streams of Anthropic's.
func wholeInput(raw jsontext.Value) (jsontext.Value, error) {
	if present(raw) == nil {
		return jsontext.Value("{}"), nil
	}
	whole, err := mend(raw)
	if err != nil {
		return nil, err
	}
	whole = whole.Clone()
	return whole, whole.Compact()
}

// customInput is what a custom tool is given: see customSchema. Input that does not keep to that is given as it is.
func customInput(raw string) string {
	var in struct {
		Input *string `json:"input"`
	}
	switch {
	case raw == "{}":
		return ""
	case json.Unmarshal([]byte(raw), &in, lenient) != nil || in.Input == nil:
		return raw
	}
	return *in.Input
}

// close ends the blocks that are left. The last one ends with that status; none may be without its stop.
func (bs *messagesBlocks) close(status string) error {
	for bs.told < len(bs.all) {
		b := bs.all[bs.told]
		if err := bs.stream(b); err != nil {
			return err
		}
		if !b.stopped {
			return broken(nil, "upstream %s left a content block open", bs.name)
		}
		end := schema.StatusCompleted
		if bs.told == len(bs.all)-1 {
			end = status
		}
		if err := bs.finish(b, end); err != nil {
			return err
		}
	}
	return nil
}
