package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// badReplica answers Direct Get in the place of the servers: two times of three like one that lags, or has lost messages.
type badReplica struct {
	nc *nats.Conn

	mu    sync.Mutex
	lacks func(stream string, position uint64) bool
	asked int
}

const replicaPrefix = "TEST.API."

// mustLag puts a replica between a broker and its batched reads.
func mustLag(tb testing.TB, b *Broker, lacks func(stream string, position uint64) bool) *badReplica {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b.server))
	must(tb, err)
	r := &badReplica{nc: nc, lacks: lacks}
	for _, subject := range []string{"DIRECT.GET.*", "DIRECT.GET.*.>"} {
		_, err = nc.Subscribe(replicaPrefix+subject, r.answer)
		must(tb, err)
	}
	must(tb, nc.Flush())
	tb.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	js, err := jetstream.NewWithAPIPrefix(b.conns.replay, replicaPrefix)
	must(tb, err)
	b.replays, b.direct = js, replicaPrefix+"DIRECT.GET."
	return r
}

// answer asks the server itself, and passes on what this replica has.
func (r *badReplica) answer(m *nats.Msg) {
	r.mu.Lock()
	lacks := r.lacks
	if r.asked++; r.asked%3 == 0 {
		lacks = whole
	}
	r.mu.Unlock()
	inbox := r.nc.NewInbox()
	replies, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		panic(err)
	}
	defer replies.Unsubscribe()
	ask := nats.NewMsg("$JS.API." + m.Subject[len(replicaPrefix):])
	ask.Reply, ask.Data = inbox, m.Data
	if err := r.nc.PublishMsg(ask); err != nil {
		panic(err)
	}
	passed := 0
	for {
		reply, err := replies.NextMsg(patience)
		if err != nil {
			return // the test is over
		}
		position, _ := strconv.ParseUint(reply.Header.Get(jetstream.SequenceHeader), 10, 64)
		if position > 0 && lacks(reply.Header.Get(jetstream.StreamHeader), position) {
			if len(m.Data) == 0 { // a single message by its subject
				reply = &nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}}
			} else {
				continue
			}
		}
		if reply.Header.Get("Status") == "204" && passed == 0 {
			reply = &nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}}
		}
		reply.Subject, reply.Reply = m.Reply, ""
		if err := r.nc.PublishMsg(reply); err != nil {
			panic(err)
		}
		passed++
		if reply.Header.Get("Status") != "" || len(m.Data) == 0 {
			return
		}
	}
}

func (r *badReplica) now(lacks func(stream string, position uint64) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lacks = lacks
}

func (r *badReplica) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func whole(string, uint64) bool { return false }

// stale lacks every second thing that it is asked for at first: it learns while it is asked.
func stale(n int) func(string, uint64) bool {
	var mu sync.Mutex
	asked := 0
	return func(_ string, position uint64) bool {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return asked > 1 && asked < n
	}
}

// mustTell makes a finished response of about so many records.
func mustTell(tb testing.TB, b *Broker, response string, records int) *owner {
	tb.Helper()
	o := mustOwn(tb, b, mustBegin(tb, b, response).Ref, "n1")
	for n := range records {
		o.say(fmt.Sprintf("token %d ", n))
	}
	o.finish()
	return o
}

// reads are what the broker promises to read whole, whichever replica answers.
func reads(tb testing.TB, b *Broker, ref schema.Ref, conversation string) map[string]func() (string, error) {
	ctx := testContext(tb)
	return map[string]func() (string, error){
		"read": func() (string, error) {
			h, err := b.Read(ctx, ref)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%d records to %x", len(h.Records), h.Records[len(h.Records)-1].Chain), nil
		},
		"exchange": func() (string, error) {
			x, err := b.Exchange(ctx, ref)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%s %d", x.Response.Status, x.Size()), nil
		},
		"past": func() (string, error) {
			items, err := b.Past(ctx, ref.Tenant(), []string{ref.Response()})
			return texts(items), err
		},
		"follow": func() (string, error) { return followAll(ctx, b, ref) },
		"conversation": func() (string, error) {
			c, err := b.Conversation(ctx, ref.Tenant(), conversation)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%d: %s %v", c.Version, texts(c.Items()), c.Metadata), nil
		},
	}
}

func texts(items []schema.Item) string {
	var all strings.Builder
	for _, it := range items {
		fmt.Fprintf(&all, "%s %s: %s; ", it.ID, it.Type, it.Text())
	}
	return all.String()
}

func followAll(ctx context.Context, b *Broker, ref schema.Ref) (string, error) {
	hubs := hub.New(source{b}, hub.Config{}) // those of a node that knows nothing yet
	defer hubs.Close()
	f, err := hubs.Follow(ctx, ref, -1)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var all bytes.Buffer
	for {
		frames, err := f.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all.String(), nil
		}
		if err != nil {
			return "", err
		}
		all.Write(frames)
	}
}

// mustTalk makes a conversation with a gap in its versions: one fact was overtaken, and erased.
func mustTalk(tb testing.TB, b *Broker, id string, items int) {
	tb.Helper()
	ctx := testContext(tb)
	_, err := b.CreateConversation(ctx, "t1", id, map[string]string{"a": "1"})
	must(tb, err)
	for n := range items {
		_, err = b.ChangeConversation(ctx, "t1", id, func(c *schema.Conversation) (*schema.Fact, error) {
			return c.Add([]schema.Item{{ID: fmt.Sprintf("item_%d", n), Type: schema.KindMessage, Role: "user"}})
		})
		must(tb, err)
	}
	for _, a := range []string{"2", "3"} {
		_, err = b.ChangeConversation(ctx, "t1", id, func(c *schema.Conversation) (*schema.Fact, error) {
			return c.Describe(map[string]string{"a": a}), nil
		})
		must(tb, err)
	}
}

// What a replica lacks, because it lags or because its disk has lost it, is missing in no read. Each read is compared with
// what a whole replica gives.
func TestReads_WithoutAGoodReplica(t *testing.T) {
	t.Parallel()
	some := func(_ string, position uint64) bool { return position%3 == 2 }
	for name, lacks := range map[string]func(string, uint64) bool{
		"lags":           stale(40),
		"lost some":      some,
		"lost the first": func(_ string, position uint64) bool { return position <= 2 },
	} {
		for _, sealed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sealed %t", name, sealed), func(t *testing.T) {
				t.Parallel()
				b := mustOpen(t, func(c *Config) { c.Partitions = 1 })
				o := mustTell(t, b, "resp_told", 20)
				if sealed {
					must(t, o.w.Seal(testContext(t), true))
				}
				mustTalk(t, b, "conv_1", 9)
				r := mustLag(t, b, whole)
				for name, read := range reads(t, b, o.w.place.ref, "conv_1") {
					r.now(whole)
					want, err := read()
					must(t, err)
					r.now(lacks)
					if got, err := read(); err != nil || got != want {
						t.Errorf("%s:\ngot  %.600s (%v)\nwant %.600s", name, got, err, want)
					}
				}
				if r.tries() == 0 {
					t.Error("no replica was ever asked: this test shows nothing")
				}
			})
		}
	}
}
