//go:build e2e

package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/midstream-dev/midstream/broker/publish"
)

// feeder is a producer that knows NATS and nothing else, as the user that may do no more.
type feeder struct {
	ctx    context.Context
	stream *publish.Stream
}

func feed(t *testing.T, id string) *feeder {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	stream, err := publish.New(publish.Config{Conn: connect(t, shared.Feeder), Tenant: "default", Response: id, Producer: "agent"})
	must(t, err)
	t.Cleanup(stream.Close)
	return &feeder{ctx, stream}
}

// say sends events, and returns when they are stored.
func (f *feeder) say(t *testing.T, events ...string) {
	t.Helper()
	for _, event := range events {
		must(t, f.stream.Send(f.ctx, []byte(event)))
	}
	must(t, f.stream.Flush(f.ctx))
}

const (
	begins = `{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}`
	ends   = `{"type":"response.completed","response":{"status":"completed"}}`
)

func word(n int) string {
	return fmt.Sprintf(`{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":"word%d "}`, n)
}

func said(words int) string {
	var text string
	for n := range words {
		text += fmt.Sprintf("word%d ", n)
	}
	return fmt.Sprintf(`{"type":"response.output_item.done","item":{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":%q}]}}`, text)
}

// kill -9 of every producer node while they relay what somebody else's producer sends by NATS alone costs readers a pause: the next
// relay says the same again, and goes on. Nothing is lost, and nothing comes twice.
func TestRelaysKilled(t *testing.T) {
	const words = 30
	f := feed(t, "resp_relayedacrosskills000")
	s := &story{id: "resp_relayedacrosskills000", words: words}
	f.say(t, begins, word(0))
	for _, g := range shared.Gateways {
		get(t, g, "/v1/responses/"+s.id)
		s.readers = append(s.readers, resume(t, g, s.id, ""))
	}
	for n := 1; n < words; n++ {
		for _, r := range s.readers {
			r.hear(t, 1)
		}
		if n == words/3 {
			kill(t, shared.Producers...)
			startAll(t, shared.Producers)
		}
		f.say(t, word(n))
	}
	f.say(t, said(words), ends)
	must(t, f.stream.End(f.ctx))
	finish(t, []*story{s})
	s.uncut(t)
}
