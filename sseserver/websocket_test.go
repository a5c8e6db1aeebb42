package sseserver

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/midstream-dev/midstream/schema"
)

// A response over a WebSocket is the log's own events, one in each message and nothing behind the last; what goes into the
// queue is what POST puts there, without the envelope.
func TestSocket_SendsTheLog(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t, "X-Request-Id", "call-1")
	if got := c.answer.Header.Get("X-Request-Id"); got != "call-1" {
		t.Errorf("x-request-id %q", got)
	}
	c.sendf(`{"type":"response.create","stream":true,"model":"demo","input":"hi","user":"me"}`)
	r := s.work(t)
	c.expect(r.all(), "")
	from := len(r.frames)
	s.tellAll(r, "Hello", " world")
	c.expect(bytes.Join(r.frames[from:], nil), "")
	req, err := r.cmd.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if !req.Streams() || req.Rest != nil || *req.User != "me" || req.Input[0].Text() != "hi" {
		t.Errorf("queued: %s", r.cmd.Request)
	}
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "again"), "")
}

// In one lane the second response begins when the first is over, named lane or not; every event bears the lane's name.
func TestSocket_OneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, lane := range []string{"", "a.B-c_1"} {
		c := s.openSocket(t)
		for _, word := range []string{"one", "two", "three"} {
			if lane == "" {
				c.sendf(`{"type":"response.create","model":"demo","input":%q}`, word)
			} else {
				c.sendf(`{"type":"response.create","model":"demo","input":%q,"stream_id":%q}`, word, lane)
			}
		}
		for _, word := range []string{"one", "two", "three"} {
			r := s.work(t)
			if n := len(s.memory.commands); n > 0 {
				t.Fatalf("%d more were begun", n)
			}
			if !contains(string(r.cmd.Request), word) {
				t.Errorf("%s is not %s", r.cmd.Request, word)
			}
			c.expect(s.tellAll(r, word), lane)
		}
	}
}

// Lanes run beside each other: what is slow in one holds up no other.
func TestSocket_LanesRunAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	runs := map[string]*run{}
	for _, lane := range []string{"", "a", "b"} {
		id := ""
		if lane != "" {
			id = fmt.Sprintf(`,"stream_id":%q`, lane)
		}
		c.sendf(`{"type":"response.create","model":"demo","input":"hi"%s}`, id)
		runs[lane] = s.work(t)
		c.expect(runs[lane].all(), lane)
	}
	for _, lane := range []string{"b", "", "a"} {
		r := runs[lane]
		from := len(r.frames)
		s.tellAll(r, "from "+lane)
		c.expect(bytes.Join(r.frames[from:], nil), lane)
	}
}

// What a message has wrong is told in the lane that it names, in the API's shape; nothing of it is queued, and the
// connection goes on.
func TestSocket_RefusesMessages(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.MaxBody, c.Socket.Lanes = 4<<10, 2 })
	c := s.openSocket(t)
	for _, row := range []struct {
		message string
		status  int
		code    string
		lane    string
	}{
		{``, 400, schema.CodeInvalidJSON, ""},
		{`{"type":"response.create"`, 400, schema.CodeInvalidJSON, ""},
		{"{\"type\":\"\xff\"}", 400, schema.CodeInvalidJSON, ""},
		{`{"type":"response.create","type":"response.create"}`, 400, schema.CodeInvalidJSON, ""},
		{`[]`, 400, schema.CodeInvalidValue, ""},
		{`"response.create"`, 400, schema.CodeInvalidValue, ""},
		{`{}`, 400, schema.CodeMissing, ""},
		{`{"type":7,"stream_id":"a"}`, 400, schema.CodeInvalidValue, "a"},
		{`{"type":"session.update","stream_id":"a"}`, 400, schema.CodeInvalidValue, "a"},
		{`{"type":"response.create","stream_id":""}`, 400, codeStreamID, ""},
		{`{"type":"response.create","stream_id":7}`, 400, codeStreamID, ""},
		{`{"type":"response.create","stream_id":"a b"}`, 400, codeStreamID, ""},
		{`{"type":"response.create","stream_id":"` + strings.Repeat("x", 257) + `"}`, 400, codeStreamID, ""},
		{`{"type":"response.create","input":"hi","stream_id":"a"}`, 400, schema.CodeMissing, "a"},
		{`{"type":"response.create","model":"demo","input":"hi","background":true}`, 400, schema.CodeUnsupported, ""},
		{`{"type":"response.create","model":"demo","input":"hi","previous_response_id":"resp_no"}`, 400, schema.CodePreviousNotFound, ""},
		{`{"type":"response.create","model":"demo","input":[{"type":"item_reference","id":"msg_no"}]}`, 404, schema.CodeNotFound, ""},
		{`{"type":"response.create","input":"hi","stream_id":"b"}`, 400, schema.CodeMissing, "b"},
		{`{"type":"response.create","model":"demo","input":"hi","stream_id":"c"}`, 400, codeLanes, "c"},
		{`{"type":"response.create","input":"` + strings.Repeat("x", 64<<10) + `"}`, 413, schema.CodeTooLarge, ""},
	} {
		c.sendf("%s", row.message)
		c.refused(row.status, row.code, row.lane)
	}
	if err := c.conn.Write(t.Context(), websocket.MessageBinary, []byte(created)); err != nil {
		t.Fatal(err)
	}
	c.refused(415, codeMessageKind, "")
	if n := len(s.memory.commands); n > 0 {
		t.Errorf("%d commands were queued", n)
	}
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "still here"), "")
}

// A panic is told in its lane as a server's error, without its words, and ends neither the connection nor the process.
func TestSocket_Panic(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) {
		c.Admit = func(_ context.Context, req *schema.CreateRequest) error {
			if req.Model == "broken" {
				panic("CANARY")
			}
			return nil
		}
		c.Socket.QueueBytes = 1 // MaxBody then: what a panic does not give back is missed soon
	})
	c := s.openSocket(t)
	for range 3 {
		c.sendf(`{"type":"response.create","model":"broken","input":%q,"stream_id":"a"}`, strings.Repeat("x", 900<<10))
		if message := c.refused(500, schema.CodeServer, "a"); strings.Contains(message, "CANARY") {
			t.Errorf("told %q", message)
		}
	}
	c.turn(s, "goes on", "", "a", "1")
}

// A steer is refused, and gives back what it brought, in the lane of the response that it means.
func TestSocket_CannotSteer(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	c.sendf(`{"type":"response.create","model":"demo","input":"hi","stream_id":"a"}`)
	r := s.work(t)
	c.expect(r.all(), "a")
	id := r.ref.Response()
	c.sendf(`{"type":"response.steer","previous_response_id":%q,"input":[{"role":"user","content":"stop"}]}`, id)
	got := c.receive()
	for _, part := range []string{
		`{"type":"response.steer.failed","sequence_number":0,"error":{"code":"steering_not_supported"`, `"type":"invalid_request_error"`,
		`"steer":{"previous_response_id":"` + id + `","input":[{"role":"user","content":"stop"}]}`, `,"stream_id":"a"}`,
	} {
		if !contains(got, part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
	c.sendf(`{"type":"response.steer"}`)
	if got := c.receive(); !contains(got, `"code":"invalid_input"`) || !contains(got, `"input":null`) {
		t.Errorf("a steer of nothing: %s", got)
	}
}

// A follower that is cut off is followed by another: the client misses nothing, and sees nothing twice.
func TestSocket_FollowsAgain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	c.sendf(created)
	r := s.work(t)
	c.expect(r.all(), "")
	s.memory.cutOnce(t, r.ref)
	from := len(r.frames)
	s.tellAll(r, "whole")
	c.expect(bytes.Join(r.frames[from:], nil), "")
}

// A response that this node cannot follow any more is named to the client, and why is logged, once, and not told.
func TestSocket_TellsWhichResponseIsLeft(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	c := s.openSocket(t)
	s.memory.set(t, func(m *memory) { m.followErr = fmt.Errorf("CANARY") })
	c.sendf(created)
	id := s.command(t).Response
	if text := c.refused(500, schema.CodeServer, ""); !contains(text, id) || contains(text, "CANARY") {
		t.Errorf("told %q", text)
	}
	if n := log.count("CANARY"); n != 1 {
		t.Errorf("%d lines tell of it:\n%s", n, log.String())
	}
}
