package sseserver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// caller is a client with a WebSocket.
type caller struct {
	testing.TB
	conn   *websocket.Conn
	answer *http.Response
}

// openSocket opens a WebSocket; headers come in pairs.
func (s *site) openSocket(tb testing.TB, headers ...string) *caller {
	tb.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	conn, answer, err := websocket.Dial(tb.Context(), "ws://"+s.addr+socketPath, &websocket.DialOptions{HTTPHeader: h, HTTPClient: s.client})
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetReadLimit(-1)
	tb.Cleanup(func() { _ = conn.CloseNow() })
	return &caller{tb, conn, answer}
}

func (c *caller) sendf(format string, args ...any) {
	c.Helper()
	if err := c.conn.Write(c.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		c.Fatal(err)
	}
}

// receive returns the next message.
func (c *caller) receive() string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 20*time.Second)
	defer cancel()
	kind, data, err := c.conn.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		c.Fatalf("message of kind %v: %v", kind, err)
	}
	return string(data)
}

// expect wants the events of some frames, each with the lane's name.
func (c *caller) expect(frames []byte, lane string) {
	c.Helper()
	for _, want := range eventsOf(c, frames) {
		if lane != "" {
			want = strings.TrimSuffix(want, "}") + `,"stream_id":"` + lane + `"}`
		}
		if got := c.receive(); got != want {
			c.Fatalf("event (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// refused wants an error event in its whole shape, and returns its message.
func (c *caller) refused(status int, code, lane string) string {
	c.Helper()
	data := c.receive()
	var e struct {
		Type     string
		Status   int
		Error    map[string]any
		StreamID string `json:"stream_id"`
	}
	if err := json.Unmarshal([]byte(data), &e, json.MatchCaseInsensitiveNames(true)); err != nil {
		c.Fatal(err)
	}
	if e.Type != "error" || e.Status != status || e.Error["code"] != code || e.StreamID != lane || len(data) > 1000 {
		c.Fatalf("got %s, want an error %d %s in lane %q", data, status, code, lane)
	}
	for _, key := range []string{"type", "message", "param"} {
		if _, there := e.Error[key]; !there {
			c.Errorf("no %q in %s", key, data)
		}
	}
	return fmt.Sprint(e.Error["message"])
}

// closed reads to the end of the connection, and returns how it was closed.
func (c *caller) closed() websocket.StatusCode {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, _, err := c.conn.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// eventsOf returns the data lines of frames.
func eventsOf(tb testing.TB, frames []byte) (events []string) {
	tb.Helper()
	for len(frames) > 0 {
		f, rest, err := schema.CutFrame(frames)
		if err != nil {
			tb.Fatal(err)
		}
		events, frames = append(events, string(f.Data)), rest
	}
	return events
}

// end tells a run to its end, and returns all of its frames.
func (s *site) tellAll(r *run, words ...string) []byte {
	steps := [][]byte{r.begin(), r.open()}
	for _, w := range words {
		steps = append(steps, r.say(w))
	}
	s.memory.append(r.ref, append(steps, r.close(), r.finish())...)
	return r.all()
}

const created = `{"type":"response.create","model":"demo","input":"hi"}`

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

// No more responses run at once than may, whatever the number of lanes; the others wait.
func TestSocket_BoundsActive(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Active = 1 })
	c := s.openSocket(t)
	c.sendf(`{"type":"response.create","model":"demo","input":"hi","stream_id":"a"}`)
	first := s.work(t)
	c.expect(first.all(), "a")
	c.sendf(`{"type":"response.create","model":"demo","input":"hi","stream_id":"b"}`)
	c.sendf(`{"type":"response.steer","previous_response_id":%q,"input":"left"}`, first.ref.Response())
	c.receive() // the reader is past the second create
	if n := len(s.memory.commands); n > 0 {
		t.Errorf("%d commands beside the one that runs", n)
	}
	from := len(first.frames)
	s.tellAll(first, "done")
	c.expect(bytes.Join(first.frames[from:], nil), "a")
	c.expect(s.tellAll(s.work(t), "me too"), "b")
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

// A create over a WebSocket is a request as any other to the tenant's limit.
func TestSocket_RateLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.RequestsPerMinute = 1 })
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "one"), "")
	c.sendf(created)
	c.refused(429, schema.CodeRateLimit, "")
	mustRefuse(t, s.post(t, `{"model":"demo","input":"hi"}`), 429, schema.CodeRateLimit)
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

// A client that sends faster than its responses run is not read from, and loses nothing.
func TestSocket_Backpressure(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Queue, c.Socket.QueueBytes, c.MaxBody = 1, 1, 1<<10 })
	c := s.openSocket(t)
	const all = 30
	for i := range all {
		c.sendf(`{"type":"response.create","model":"demo","input":"%d"}`, i)
	}
	first := s.work(t)
	const read = 3 // one runs, one is in the queue, one is in the reader's hand
	waitFor(t, "the reader", func() bool { return valueOf(t, s.metrics.sockets.received) == read })
	c.expect(s.tellAll(first, "0"), "")
	for i := 1; i < all; i++ {
		if n := valueOf(t, s.metrics.sockets.received); n > float64(i+read) {
			t.Fatalf("%v messages were read when %d responses were over", n, i)
		}
		r := s.work(t)
		if !contains(string(r.cmd.Request), fmt.Sprintf(`"%d"`, i)) {
			t.Fatalf("%s is not number %d", r.cmd.Request, i)
		}
		c.expect(s.tellAll(r, "x"), "")
	}
}

// The bytes of creates that wait are bounded over all lanes.
func TestSocket_BoundsWaitingBytes(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Active, c.Socket.QueueBytes, c.MaxBody = 1, 1, 1<<10 })
	c := s.openSocket(t)
	long := strings.Repeat("x", 600)
	c.sendf(created)
	first := s.work(t)
	for _, lane := range []string{"a", "b", "c"} {
		c.sendf(`{"type":"response.create","model":"demo","input":%q,"stream_id":%q}`, long, lane)
	}
	const read = 3 // one runs, one waits, and there is no room for the next
	waitFor(t, "the reader", func() bool { return valueOf(t, s.metrics.sockets.received) == read })
	c.expect(s.tellAll(first, "0"), "")
	for _, lane := range []string{"a", "b", "c"} {
		if n := valueOf(t, s.metrics.sockets.received); lane == "a" && n > read+1 {
			t.Errorf("%v messages were read", n)
		}
		c.expect(s.tellAll(s.work(t), "next"), lane)
	}
}

// A message that does not come to its end in time ends the connection: no frame can be told from its rest.
func TestSocket_LateMessage(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "in time"), "")
	w, err := c.conn.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte(" "), 8<<10)); err != nil {
		t.Fatal(err)
	}
	c.closed()
	waitFor(t, "the end", func() bool { return valueOf(t, s.metrics.sockets.open) == 0 })
}

// A client that does not read is cut off in time, as slow, and holds up nobody; the response goes on.
func TestSocket_SlowClientIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.WriteTimeout = 300 * time.Millisecond })
	slow, quick := s.openSocket(t), s.openSocket(t)
	slow.sendf(created)
	big := s.work(t)
	words := make([]string, 60)
	for i := range words {
		words[i] = strings.Repeat("x", 64<<10)
	}
	s.tellAll(big, words...)
	quick.sendf(created)
	quick.expect(s.tellAll(s.work(t), "quick"), "")
	waitFor(t, "the cut", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("slow")) == 1 })
	if got := object(t, s.get(t, "/v1/responses/"+big.ref.Response())); got.Status != schema.StatusCompleted {
		t.Errorf("the response is %s", got.Status)
	}
}

// A client that goes away stops nothing: its response can be read from where it was.
func TestSocket_ClientGoesAway(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	c := s.openSocket(t, "X-Request-Id", "gone")
	c.sendf(created)
	r := s.work(t)
	c.expect(r.all(), "")
	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log line", func() bool { return log.count(`"request_id":"gone"`) == 1 })
	if text := log.String(); !contains(text, `"status":101`) || !contains(text, `"aborted":true`) || contains(text, `"bytes":0`) {
		t.Errorf("log: %s", text)
	}
	if n := valueOf(t, s.metrics.aborted.WithLabelValues("client")); n != 1 {
		t.Errorf("%v responses were cut off by their client", n)
	}
	want := append(s.tellAll(r, "on"), doneFrame...)
	if got := read(t, s.get(t, path(r.ref))); !bytes.Equal(got, want) {
		t.Errorf("stream (-want +got):\n%s", cmp.Diff(string(want), string(got)))
	}
}

// One that is gone without a word is told apart from the end of a response.
func TestSocket_ClientIsCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.work(t).all(), "")
	_ = c.conn.CloseNow()
	waitFor(t, "the count", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("client")) == 1 })
}

// A connection between two responses that ends is no aborted request; the gauge tells how many are open.
func TestSocket_QuietEnd(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	c := s.openSocket(t)
	c.sendf(created)
	c.expect(s.tellAll(s.work(t), "all"), "")
	if n := valueOf(t, s.metrics.sockets.open); n != 1 {
		t.Errorf("%v are open", n)
	}
	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end", func() bool { return valueOf(t, s.metrics.sockets.open) == 0 })
	waitFor(t, "the log line", func() bool { return log.count(`"aborted":false`) == 1 })
}

// A connection that has been open for as long as it may says so, in words and by its code. What runs goes on.
func TestSocket_Age(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Socket.Age = 200 * time.Millisecond })
	c := s.openSocket(t)
	c.sendf(created)
	r := s.work(t)
	c.expect(r.all(), "")
	c.refused(400, codeSocketAge, "")
	if got := c.closed(); got != websocket.StatusGoingAway {
		t.Errorf("closed with %v", got)
	}
	waitFor(t, "the count", func() bool { return valueOf(t, s.metrics.aborted.WithLabelValues("age")) == 1 })
	s.tellAll(r, "on")
	read(t, s.get(t, path(r.ref)))
}

// A drain closes connections with the code that asks their clients to come back, waits for their handlers, and refuses new
// ones.
func TestSocket_Drain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	idle, busy := s.openSocket(t), s.openSocket(t)
	busy.sendf(created)
	r := s.work(t)
	busy.expect(r.all(), "")
	codes := make(chan websocket.StatusCode, 2)
	for _, c := range []*caller{idle, busy} {
		go func() { codes <- c.closed() }()
	}
	if err := s.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	if n := valueOf(t, s.metrics.sockets.open); n != 0 {
		t.Errorf("%v are open behind the drain", n)
	}
	for range 2 {
		if got := <-codes; got != websocket.StatusServiceRestart {
			t.Errorf("closed with %v", got)
		}
	}
	if n := valueOf(t, s.metrics.aborted.WithLabelValues("drain")); n != 1 {
		t.Errorf("%v responses were cut off by the drain", n)
	}
}

// A drain is bounded also where a client does not answer its close.
func TestSocket_DrainOfADeafClient(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.DrainTimeout = 100 * time.Millisecond })
	s.openSocket(t)
	waitFor(t, "the connection", func() bool { return valueOf(t, s.metrics.sockets.open) == 1 })
	if err := s.stop(); err == nil || !contains(err.Error(), "drain WebSockets") {
		t.Errorf("drain: %v", err)
	}
	waitFor(t, "the handler", func() bool { return valueOf(t, s.metrics.sockets.open) == 0 })
}

// Pings keep a quiet connection open. A peer that answers none is cut off.
func TestSocket_KeepAlive(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Heartbeat = 20 * time.Millisecond })
	var pings atomic.Int64
	conn, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+socketPath, &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	alive := &caller{TB: t, conn: conn}
	go func() { waitFor(t, "pings", func() bool { return pings.Load() > 10 }); alive.sendf(created) }()
	go func() { r := s.work(t); s.tellAll(r, "alive") }()
	if got := alive.receive(); !contains(got, "response.created") {
		t.Errorf("got %s", got)
	}
	s.openSocket(t) // reads nothing, so answers nothing
	waitFor(t, "two", func() bool { return valueOf(t, s.metrics.sockets.open) == 2 })
	go alive.closed()
	waitFor(t, "the cut", func() bool { return valueOf(t, s.metrics.sockets.open) == 1 })
	_ = conn.CloseNow()
}
