package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// remark is a message with an id.
func remark(id string) Item {
	return Item{ID: id, Type: KindMessage, Role: "user", Content: Content{NewPart(PartInputText, id)}}
}

func remarks(ids ...string) (items []Item) {
	for _, id := range ids {
		items = append(items, remark(id))
	}
	return items
}

func idsOf(items []Item) (ids []string) {
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	return ids
}

// history is the facts of a conversation as its stream holds them, each in its encoding.
type history struct {
	*Conversation
	facts map[int64][]byte
}

func newHistory() *history {
	h := &history{Conversation: &Conversation{ID: "conv_1"}, facts: map[int64][]byte{}}
	h.tell(NewConversation(time.UnixMilli(1000), map[string]string{"a": "b"}))
	return h
}

// tell appends a fact.
func (h *history) tell(f *Fact) {
	data, err := f.Encode()
	if err != nil {
		panic(err)
	}
	if err := h.Apply(f, len(data)); err != nil {
		panic(err)
	}
	h.facts[f.Version] = data
}

// refold folds what is left of the facts.
func (h *history) refold() *Conversation {
	var versions []int64
	for v := range h.facts {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	c := &Conversation{ID: h.ID}
	for _, v := range versions {
		f, err := ParseFact(h.facts[v])
		if err == nil {
			err = c.Apply(f, len(h.facts[v]))
		}
		if err != nil {
			panic(err)
		}
	}
	return c
}

// step makes one change that some caller, or some attempt of a response, may make.
func (h *history) step(t *rapid.T) {
	id := func(label string) string { return fmt.Sprint("i", rapid.IntRange(0, 12).Draw(t, label)) }
	var f *Fact
	var err error
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		f = h.Describe(map[string]string{"n": id("metadata")})
	case 1:
		f, err = h.Add(remarks(rapid.SliceOfNDistinct(rapid.StringMatching(`i[0-9]`), 1, 3, rapid.ID).Draw(t, "new")...))
	case 2:
		f = h.Remove(id("removed"))
	default:
		response := fmt.Sprint("resp_", rapid.IntRange(0, 2).Draw(t, "response"))
		f, err = h.Answer(response, rapid.IntRange(1, 3).Draw(t, "attempt"), remarks(response+id("question"), response+id("answer")))
		if f != nil && idsOf(f.Items)[0] == idsOf(f.Items)[len(f.Items)-1] {
			f.Items = f.Items[:1]
		}
	}
	if err != nil && !errors.As(err, new(*Error)) {
		t.Fatal(err)
	}
	if f != nil {
		h.tell(f)
	}
}

// Whatever of the dead facts has been erased, lowest first, the conversation is the same; its ids are unique; its size is
// that of the facts that count; and an older version shows a part of it, in the same order.
func TestConversation_IsWhatItsLivingFactsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			h.step(t)
			left := h.refold()
			for _, v := range left.Dead()[:rapid.IntRange(0, len(left.Dead())).Draw(t, "erased")] {
				delete(h.facts, v)
			}
			c := h.refold()
			if diff := cmp.Diff(h.Items(), c.Items()); diff != "" || c.Version != h.Version || c.Metadata["n"] != h.Metadata["n"] {
				t.Fatalf("behind erasure (-want +got):\n%s", diff)
			}
			ids := idsOf(c.Items())
			slices.Sort(ids)
			if len(slices.Compact(slices.Clone(ids))) != len(ids) {
				t.Fatalf("ids %v", ids)
			}
			size := 0
			for _, data := range h.facts {
				size += len(data)
			}
			if dead := c.Dead(); len(dead) == 0 && c.Size != size || c.Size > size {
				t.Fatalf("size %d, the facts have %d, dead %v", c.Size, size, dead)
			}
			at := rapid.Int64Range(1, c.Version).Draw(t, "version")
			if part := idsOf(c.ItemsAt(at)); !slices.Equal(part, idsOf(c.Items())[:len(part)]) {
				t.Fatalf("at %d %v of %v", at, part, idsOf(c.Items()))
			}
		}
	})
}

// Of the attempts at a response the highest has the last word, once, whenever it comes.
func TestConversation_AnswerOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		highest := 0
		for range rapid.IntRange(1, 6).Draw(t, "answers") {
			attempt := rapid.IntRange(1, 4).Draw(t, "attempt")
			highest = max(highest, attempt)
			f, err := h.Answer("resp_1", attempt, remarks("question", fmt.Sprint("answer", attempt)))
			if err != nil {
				t.Fatal(err)
			}
			if f != nil {
				h.tell(f)
			}
			if got := strings.Join(idsOf(h.Items()), " "); got != fmt.Sprint("question answer", highest) {
				t.Fatalf("behind attempt %d of %d: %s", attempt, highest, got)
			}
		}
	})
}

// A later attempt that has nothing to say says so, lest an earlier one that was cut off adds something behind it.
func TestConversation_AnswerOfNothing(t *testing.T) {
	t.Parallel()
	h := newHistory()
	if f, err := h.Answer("resp_1", 1, nil); f != nil || err != nil {
		t.Errorf("a first attempt: %+v %v", f, err)
	}
	f, err := h.Answer("resp_1", 2, nil)
	if f == nil || err != nil {
		t.Fatalf("a second attempt: %+v %v", f, err)
	}
	h.tell(f)
	if f, err := h.Answer("resp_1", 1, remarks("late")); f != nil || err != nil {
		t.Errorf("the first attempt, late: %+v %v", f, err)
	}
	if dead := h.Dead(); len(dead) != 0 {
		t.Errorf("dead: %v", dead)
	}
}

// Each bound refuses with its own error, before anything is stored.
func TestConversation_Bounds(t *testing.T) {
	t.Parallel()
	full := newHistory()
	var ids []string
	for i := range MaxConversationItems {
		ids = append(ids, fmt.Sprint("n", i))
	}
	f, err := full.Answer("resp_1", 1, remarks(ids...))
	if err != nil {
		t.Fatal(err)
	}
	full.tell(f)
	long := remark("long")
	long.Content[0].setContent(strings.Repeat("x", MaxOutput))
	middle := remark("")
	middle.Content[0].setContent(strings.Repeat("x", MaxConversationInput))
	for name, c := range map[string]struct {
		decide func() error
		code   string
	}{
		"twins":           {func() error { _, err := newHistory().Add(remarks("a", "a")); return err }, CodeInvalidValue},
		"a twin of one":   {func() error { _, err := full.Add(remarks("n7")); return err }, CodeInvalidValue},
		"twins to join":   {func() error { _, err := full.Join(remarks("n7")); return err }, CodeInvalidValue},
		"items of a full": {func() error { _, err := full.Add(remarks("m")); return err }, CodeConversationFull},
		"to join a full":  {func() error { _, err := full.Join(remarks("m")); return err }, CodeConversationFull},
		"large items":     {func() error { _, err := newHistory().Add([]Item{long}); return err }, CodeTooLarge},
		"large input":     {func() error { _, err := newHistory().Join([]Item{middle}); return err }, CodeTooLarge},
	} {
		if e, ok := errors.AsType[*Error](c.decide()); !ok || e.Code != c.code || e.Status != 400 {
			t.Errorf("%s: %v", name, e)
		}
	}
	if at, err := newHistory().Join(remarks("")); err != nil || *at != (ConversationPoint{"conv_1", 1}) {
		t.Errorf("joined at %+v: %v", at, err)
	}
}

// Facts that do not fit change nothing.
func TestConversation_RefusesFactsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*Fact{
		"an old version": {Version: 1, Kind: FactDescribed},
		"no group":       {Version: 2, Kind: FactAdded, Items: remarks("a")},
		"a later group":  {Version: 2, Kind: FactAdded, Since: 3},
		"no kind":        {Version: 2},
	} {
		h := newHistory()
		if err := h.Apply(f, 1); err == nil || h.Version != 1 || len(h.Items()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := newHistory()
	h.tell(h.Delete())
	if err := h.Apply(h.Describe(nil), 1); err == nil || h.Alive() {
		t.Errorf("behind its end: %v, alive %t", err, h.Alive())
	}
}

// What a response leaves in its conversation follows from its status and from what is whole.
func TestExchange_Contribution(t *testing.T) {
	t.Parallel()
	item := func(id, kind, status string) Item { return Item{ID: id, Type: kind, Status: status} }
	said := []Item{
		item("list", KindListTools, ""), item("thought", KindReasoning, StatusCompleted), item("call", KindMCPCall, StatusFailed),
		item("cut thought", KindReasoning, StatusCompleted), item("function", KindFunctionCall, StatusCompleted),
		item("text", KindMessage, StatusCompleted), item("idle thought", KindReasoning, StatusCompleted), item("cut", KindMessage, StatusIncomplete),
	}
	for _, c := range []struct {
		status string
		output []Item
		store  bool
		want   string
	}{
		{StatusCompleted, said, true, "in list thought call cut thought function text idle thought cut"},
		{StatusIncomplete, said[7:], true, "in cut"},
		{StatusFailed, said, true, "in list thought call text"},
		{StatusFailed, said[:1], true, ""},
		{StatusFailed, said[7:], true, ""},
		{StatusCancelled, said[7:], true, "in"},
		{StatusCompleted, said, false, ""},
	} {
		x := &Exchange{
			Command: &Command{Response: "resp_1"}, Response: &Response{Status: c.status, Output: c.output},
			Request: &CreateRequest{Store: &c.store, Input: Input{remark("in"), {ID: "elsewhere", Type: KindItemReference}}},
		}
		items := x.Contribution()
		if got := strings.Join(idsOf(items), " "); got != c.want {
			t.Errorf("%s, store %t: %q, want %q", c.status, c.store, got, c.want)
		}
		if len(items) > 0 && items[0].Status != StatusCompleted {
			t.Errorf("the input has status %q", items[0].Status)
		}
	}
}

// A request names its conversation by itself or as an object, and is shown it as an object; not beside an earlier response.
func TestCreateRequest_ConversationID(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`"conv_1"`: "conv_1", `{"id":"conv_1"}`: "conv_1", `null`: "",
		`""`: CodeInvalidValue, `{}`: CodeInvalidValue, `{"id":7}`: CodeInvalidValue, `{"id":null}`: CodeInvalidValue, `7`: CodeInvalidValue,
		`"conv_1","previous_response_id":"resp_1"`: CodeExclusive,
	} {
		r, err := ParseCreate([]byte(`{"model":"m","input":"hi","conversation":` + raw + `}`))
		if err != nil {
			if err.Code != want || err.Param != "conversation" {
				t.Errorf("%s: %v", raw, err)
			}
			continue
		}
		if id, err := r.ConversationID(); id != want || err != nil {
			t.Errorf("%s: %q %v", raw, id, err)
		}
		if shown := string(r.echoConversation()); want != "" && shown != `{"id":"conv_1"}` || want == "" && shown != "" {
			t.Errorf("%s is shown as %s", raw, shown)
		}
	}
}

// No bytes of a message make the fold panic, or change it while they are refused.
func FuzzFact(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		h := newHistory()
		fact, err := ParseFact(data)
		if err != nil {
			return
		}
		before := h.Version
		if err := h.Apply(fact, len(data)); err != nil {
			if h.Version != before || len(h.Items()) != 0 || len(h.Dead()) != 0 {
				t.Fatalf("refused with %v, and changed", err)
			}
			return
		}
		for _, it := range h.Items() {
			if f := h.Remove(it.ID); f == nil || h.Item(it.ID) == nil {
				t.Fatalf("item %q is there and is not found", it.ID)
			}
		}
		h.Dead()
	})
}

// What the bodies of /v1/conversations are accepted with can be kept: a refusal names a member, and items stay within their
// bound and under the ids that they have.
func FuzzParseConversation(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := ParseDescription(body); err != nil && err.Status != 400 {
			t.Fatal(err)
		}
		items, err := ParseNewItems(body)
		req, also := ParseNewConversation(body)
		if err != nil || also != nil {
			return
		}
		if len(items) > MaxNewItems || len(req.Items) != len(items) {
			t.Fatalf("%d items, and %d", len(items), len(req.Items))
		}
		for i := range items {
			items[i].MintItem("key" + fmt.Sprint(i))
			if !ValidToken(items[i].ID) {
				t.Fatalf("id %q", items[i].ID)
			}
		}
		h := newHistory()
		if fact, err := h.Add(items); err == nil && fact != nil {
			h.tell(fact)
			if diff := cmp.Diff(idsOf(items), idsOf(h.refold().Items())); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
