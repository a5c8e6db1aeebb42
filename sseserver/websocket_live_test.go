package sseserver

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// Over the real log and queue, with lanes beside each other: in each, the events of its responses in order, the bytes of
// the log's data lines, and the whole again over server-sent events.
func TestLive_SocketLanes(t *testing.T) {
	s, b := serveLive(t), liveBroker(t)
	const lanes, turns = 4, 3
	var workers sync.WaitGroup
	for range lanes * turns {
		workers.Go(func() {
			job, err := b.Claim(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			p := produce(t, job.Command)
			p.append(p.open())
			p.append(p.say("Hello"))
			p.append(p.say(" world"))
			p.end()
			if err := job.Ack(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	c := s.openSocket(t)
	for i := range turns {
		for lane := range lanes {
			c.sendf(`{"type":"response.create","model":"demo","input":"turn %d","store":true,"stream_id":"lane-%d"}`, i, lane)
		}
	}
	heard := map[string][][]string{} // by lane, by response, its events
	for ended := 0; ended < lanes*turns; {
		event := c.receive()
		e, err := schema.ParseEvent([]byte(event))
		if err != nil {
			t.Fatal(err)
		}
		lane := string(e.Rest)
		if e.Type == schema.Created {
			heard[lane] = append(heard[lane], nil)
		}
		last := &heard[lane][len(heard[lane])-1]
		*last = append(*last, event)
		if e.Type.Terminal() {
			ended++
		}
	}
	workers.Wait()
	for lane := range lanes {
		id := fmt.Sprintf("lane-%d", lane)
		responses := heard[`{"stream_id":"`+id+`"}`]
		if len(responses) != turns {
			t.Fatalf("%d responses in %s", len(responses), id)
		}
		for _, events := range responses {
			e, err := schema.ParseEvent([]byte(events[0]))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			replay := read(t, s.get(t, path(mustRef(t, e.Response.ID))))
			for _, data := range eventsOf(t, replay[:len(replay)-len(doneFrame)]) {
				want = append(want, string(tag([]byte(data), id)))
			}
			if diff := cmp.Diff(want, events); diff != "" {
				t.Errorf("%s (-log +heard):\n%s", id, diff)
			}
		}
	}
}

// Over the real log, a response that is not stored is gone with its connection, and until then goes on.
func TestLive_SocketUnstored(t *testing.T) {
	s, b := serveLive(t), liveBroker(t)
	work := func() *producer {
		job, err := b.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := produce(t, job.Command)
		p.append(p.open())
		p.append(p.say("Hello"))
		p.append(p.close())
		p.append(p.finish())
		if err := p.w.Seal(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if err := job.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	c := s.openSocket(t)
	c.sendf(`{"type":"response.create","model":"demo","input":"one","store":false}`)
	first := work()
	c.expect(first.all(), "")
	for range 2 {
		c.sendf(`{"type":"response.create","model":"demo","input":"two","store":false,"previous_response_id":%q}`, first.ref.Response())
		second := work()
		c.expect(second.all(), "")
		if got, want := askedOf(t, second.cmd), "user one, assistant Hello, user two"; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	again := s.openSocket(t)
	again.sendf(`{"type":"response.create","model":"demo","input":"two","previous_response_id":%q}`, first.ref.Response())
	again.refused(400, schema.CodePreviousNotFound, "")
}
