package sseserver

import (
	"context"
	"fmt"
	"net/http"
	"strings"
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
