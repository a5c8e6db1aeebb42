package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/midstream-dev/midstream/schema"
)

func note(id, text string) schema.Item {
	return schema.Item{
		ID: id, Type: schema.KindMessage, Role: "user", Content: schema.Content{schema.NewPart(schema.PartInputText, text)},
	}
}

// adds adds items that say who they are.
func adds(names ...string) ConversationChange {
	return func(c *schema.Conversation) (*schema.Fact, error) {
		var items []schema.Item
		for _, name := range names {
			items = append(items, note(name, "said by "+name))
		}
		return c.Add(items)
	}
}

func removes(id string) ConversationChange {
	return func(c *schema.Conversation) (*schema.Fact, error) { return c.Remove(id), nil }
}

func idsOf(c *schema.Conversation) (ids []string) {
	for _, it := range c.Items() {
		ids = append(ids, it.ID)
	}
	return ids
}

func mustCreate(tb testing.TB, b *Broker, id string) {
	tb.Helper()
	_, err := b.CreateConversation(testContext(tb), "t1", id, map[string]string{"topic": "horses"})
	must(tb, err)
}

func mustChange(tb testing.TB, b *Broker, id string, change ConversationChange) *schema.Conversation {
	tb.Helper()
	c, err := b.ChangeConversation(testContext(tb), "t1", id, change)
	must(tb, err)
	return c
}

func mustConversation(tb testing.TB, b *Broker, id string) *schema.Conversation {
	tb.Helper()
	c, err := b.Conversation(testContext(tb), "t1", id)
	must(tb, err)
	return c
}

// What was written is read, by whoever is asked next; what was removed is not; and a refused change changes nothing.
func TestConversation_IsTheFoldOfItsFacts(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	mustCreate(t, b, "conv_fold")
	mustChange(t, b, "conv_fold", adds("a", "b", "c"))
	mustChange(t, b, "conv_fold", removes("b"))
	mustChange(t, b, "conv_fold", adds("d"))
	mustChange(t, b, "conv_fold", func(c *schema.Conversation) (*schema.Fact, error) {
		return c.Describe(map[string]string{"topic": "streams"}), nil
	})
	refusal := errors.New("no")
	_, err := b.ChangeConversation(testContext(t), "t1", "conv_fold", func(*schema.Conversation) (*schema.Fact, error) { return nil, refusal })
	if !errors.Is(err, refusal) {
		t.Errorf("refused with %v", err)
	}
	c := mustConversation(t, b, "conv_fold")
	if got := strings.Join(idsOf(c), " "); got != "a c d" || c.Metadata["topic"] != "streams" || c.ID != "conv_fold" || c.Version != 5 {
		t.Errorf("items %s of %+v", got, c)
	}
}

// Unknown, foreign and malformed ids are not found, and no id reads more than it names.
func TestConversation_NotFound(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	mustCreate(t, b, "conv_mine")
	for _, ref := range [][2]string{{"t1", "conv_other"}, {"t2", "conv_mine"}, {"t1", "*"}, {"t1", ">"}, {"t1", ""}, {"", "conv_mine"}, {"*", "conv_mine"}, {"t1", "conv_mine.x"}} {
		if _, err := b.Conversation(testContext(t), ref[0], ref[1]); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", ref, err)
		}
		if err := b.DeleteConversation(testContext(t), ref[0], ref[1]); !errors.Is(err, ErrNotFound) {
			t.Errorf("delete %q: %v", ref, err)
		}
	}
	mustConversation(t, b, "conv_mine")
}

// Many writers lose nothing and repeat nothing, and each sees its own item as soon as it has written it.
func TestConversation_ManyWriters(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	mustCreate(t, b, "conv_many")
	const writers, each = 4, 6
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				id := fmt.Sprintf("w%d_%d", w, i)
				if _, err := b.ChangeConversation(testContext(t), "t1", "conv_many", adds(id)); err != nil {
					t.Error(err)
				}
				c, err := b.Conversation(testContext(t), "t1", "conv_many")
				if err != nil || c.Item(id) == nil {
					t.Errorf("%s is not there behind its own write: %v", id, err)
				}
			}
		})
	}
	all.Wait()
	ids := idsOf(mustConversation(t, b, "conv_many"))
	slices.Sort(ids)
	if len(slices.Compact(ids)) != writers*each || len(ids) != writers*each {
		t.Errorf("%d items", len(ids))
	}
}

// A change whose acknowledgement is lost is made once.
func TestConversation_ResolvesLostAcknowledgements(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	p := mustProxy(t, host(t, s))
	registry := prometheus.NewRegistry()
	b := mustOpen(t, external(p.address()), func(c *Config) { c.Metrics = registry })
	mustCreate(t, b, "conv_lossy")
	const changes = 6
	for i := range changes {
		mustChange(t, b, "conv_lossy", func(c *schema.Conversation) (*schema.Fact, error) {
			if c.Item(fmt.Sprint("i", i)) == nil {
				p.swallow() // the answer to the append is lost, and the connection with it
			}
			return adds(fmt.Sprint("i", i))(c)
		})
	}
	if got := strings.Join(idsOf(mustConversation(t, b, "conv_lossy")), " "); got != "i0 i1 i2 i3 i4 i5" {
		t.Errorf("items %s", got)
	}
	if n := counted(t, registry, "midstream_append_retries_total", "10071"); n == 0 {
		t.Error("no append was ever in doubt: this test shows nothing")
	}
}

// onDisk reports whether a text is anywhere below a directory.
func onDisk(tb testing.TB, dir, text string) (found bool) {
	tb.Helper()
	must(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() { // files come and go under a server that runs
			data, err := os.ReadFile(path)
			found = found || err == nil && bytes.Contains(data, []byte(text))
		}
		return nil
	}))
	return found
}

func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for ctx := testContext(tb); !ok(); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

// An item that was removed, metadata that was replaced, and a conversation that was deleted are not on the disk any more;
// what stood beside them is.
func TestConversation_ErasesFromTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := mustOpen(t, func(c *Config) { c.DataDir = dir })
	mustCreate(t, b, "conv_erase")
	mustChange(t, b, "conv_erase", adds("KEEP", "DROP"))
	until(t, "the item on the disk", func() bool { return onDisk(t, dir, "said by DROP") && onDisk(t, dir, "horses") })
	mustChange(t, b, "conv_erase", removes("DROP"))
	mustChange(t, b, "conv_erase", func(c *schema.Conversation) (*schema.Fact, error) { return c.Describe(nil), nil })
	until(t, "the item gone", func() bool { return !onDisk(t, dir, "said by DROP") && !onDisk(t, dir, "horses") })
	until(t, "its neighbour", func() bool { return onDisk(t, dir, "said by KEEP") })
	must(t, b.DeleteConversation(testContext(t), "t1", "conv_erase"))
	until(t, "the conversation gone", func() bool { return !onDisk(t, dir, "said by KEEP") && !onDisk(t, dir, "conv_erase") })
}

// A deletion that is cut short anywhere leaves a conversation that is not there, to read or to write, and deleting it again
// goes on to the end. A second deletion behind that finds nothing.
func TestConversation_DeletionCutShort(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	ctx := testContext(t)
	for cut := range 4 {
		id := fmt.Sprint("conv_cut", cut)
		mustCreate(t, b, id)
		mustChange(t, b, id, adds("a"))
		mustChange(t, b, id, adds("b"))
		before, err := b.view(ctx, "t1", id, "")
		must(t, err)
		must(t, b.buryConversation(ctx, "t1", id))
		for range cut {
			first, err := b.first(ctx, conversationStream, before.subject)
			must(t, err)
			must(t, b.eraseMessage(ctx, conversationStream, first.position))
		}
		if _, err := b.Conversation(ctx, "t1", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("cut behind %d: read %v", cut, err)
		}
		if _, err := b.ChangeConversation(ctx, "t1", id, adds("c")); !errors.Is(err, ErrNotFound) {
			t.Errorf("cut behind %d: changed %v", cut, err)
		}
		must(t, b.DeleteConversation(ctx, "t1", id))
		late, err := before.Add([]schema.Item{note("late", "late")})
		must(t, err)
		if err := b.tell(ctx, before, late, "late"); !errors.Is(err, ErrNotFound) {
			t.Errorf("cut behind %d: a late fact: %v", cut, err)
		}
		if err := b.DeleteConversation(ctx, "t1", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("cut behind %d: deleted again: %v", cut, err)
		}
		if left, err := b.last(ctx, conversationStream, before.subject); left != nil || err != nil {
			t.Errorf("cut behind %d: left %+v %v", cut, left, err)
		}
	}
}

// Erasure that was cut short is made up for by the next change, and nothing that was removed comes back meanwhile.
func TestConversation_MakesUpForErasure(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	ctx := testContext(t)
	mustCreate(t, b, "conv_heal")
	mustChange(t, b, "conv_heal", adds("a", "b", "c"))
	for _, id := range []string{"a", "b", "c"} { // each removed by a node that dies before it erases
		v, err := b.view(ctx, "t1", "conv_heal", "")
		must(t, err)
		must(t, b.tell(ctx, v, v.Remove(id), id))
	}
	if ids := idsOf(mustConversation(t, b, "conv_heal")); len(ids) != 0 {
		t.Errorf("still there: %v", ids)
	}
	mustChange(t, b, "conv_heal", adds("d"))
	v, err := b.view(ctx, "t1", "conv_heal", "")
	must(t, err)
	if len(v.at) != 2 || strings.Join(idsOf(&v.Conversation), " ") != "d" {
		t.Errorf("%d facts left, items %v", len(v.at), idsOf(&v.Conversation))
	}
}

// A reader sees every item that is there all the time, though its group is written anew and its old fact erased under the
// reader's hands.
func TestConversation_ReadsThroughErasure(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	mustCreate(t, b, "conv_churn")
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprint("x", i))
	}
	mustChange(t, b, "conv_churn", adds(append(names, "stays")...))
	mustChange(t, b, "conv_churn", adds("also stays"))
	ctx, cancel := context.WithCancel(testContext(t))
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				c, err := b.Conversation(ctx, "t1", "conv_churn")
				if err == nil && (c.Item("stays") == nil || c.Item("also stays") == nil) {
					t.Error("an item vanished for a moment")
					return
				}
			}
		})
	}
	for _, name := range names {
		mustChange(t, b, "conv_churn", removes(name))
	}
	cancel()
	readers.Wait()
}

// A stream that is filling up takes no new conversations, items or responses in them, but still what frees room, and the
// answers of open runs.
func TestConversation_KeepsRoomForAnswers(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.ConversationBytes = 64 << 10 })
	mustCreate(t, b, "conv_full")
	mustChange(t, b, "conv_full", adds("small"))
	big := note("big", strings.Repeat("x", 50<<10))
	mustChange(t, b, "conv_full", func(c *schema.Conversation) (*schema.Fact, error) { return c.Add([]schema.Item{big}) })
	b.watch.look(testContext(t))
	if _, err := b.ChangeConversation(testContext(t), "t1", "conv_full", adds("more")); !errors.Is(err, ErrFull) {
		t.Errorf("added: %v", err)
	}
	if _, err := b.CreateConversation(testContext(t), "t1", "conv_new", nil); !errors.Is(err, ErrFull) {
		t.Errorf("created: %v", err)
	}
	cmd := command("resp_full")
	cmd.Conversation = &schema.ConversationPoint{ID: "conv_full", Version: 1}
	if err := b.Enqueue(testContext(t), cmd, nil); !errors.Is(err, ErrFull) {
		t.Errorf("enqueued: %v", err)
	}
	mustChange(t, b, "conv_full", func(c *schema.Conversation) (*schema.Fact, error) {
		return c.Answer("resp_open", 1, []schema.Item{note("answer", "yes")})
	})
	_, err := b.ChangeConversation(testContext(t), "t1", "conv_full", func(c *schema.Conversation) (*schema.Fact, error) {
		return c.Answer("resp_huge", 1, []schema.Item{note("huge", strings.Repeat("x", 60<<10))})
	})
	if !errors.Is(err, ErrFull) {
		t.Errorf("an answer beyond all room: %v", err)
	}
	mustChange(t, b, "conv_full", removes("big"))
	b.watch.look(testContext(t))
	mustChange(t, b, "conv_full", adds("more"))
	must(t, b.DeleteConversation(testContext(t), "t1", "conv_full"))
}
