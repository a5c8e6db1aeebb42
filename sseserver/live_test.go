package sseserver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// serveLive starts a server over the embedded broker.
func serveLive(tb testing.TB, adjust ...func(*Config)) *site {
	tb.Helper()
	b := liveBroker(tb)
	return serve(tb, append([]func(*Config){func(c *Config) {
		c.Broker, c.Library, c.Control, c.Follow, c.Expect = b, b, b, Following(b.Follow), b.Expect
	}}, adjust...)...)
}

// producer appends a run to the real log, as a worker does.
type producer struct {
	*run
	w *broker.Writer
}

// produce begins a response in the log, and its attempt.
func produce(tb testing.TB, cmd *schema.Command) *producer {
	tb.Helper()
	b := liveBroker(tb)
	rec, err := cmd.RequestRecord()
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.Begin(tb.Context(), rec, cmd.Ref()); err != nil {
		tb.Fatal(err)
	}
	h, err := b.Read(tb.Context(), cmd.Ref())
	if err != nil {
		tb.Fatal(err)
	}
	p := &producer{tell(tb, cmd), b.Writer(h, 1, "test")}
	tb.Cleanup(p.w.Close)
	if err := p.w.Commit(tb.Context(), schema.RecordClaim, []byte(`{"node":"test"}`), p.events(p.begin())...); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (p *producer) events(frames []byte) (events []schema.Event) {
	p.tb.Helper()
	for len(frames) > 0 {
		f, rest, err := schema.CutFrame(frames)
		if err != nil {
			p.tb.Fatal(err)
		}
		e, err := schema.ParseEvent(f.Data)
		if err != nil {
			p.tb.Fatal(err)
		}
		events, frames = append(events, e), rest
	}
	return events
}

// append makes frames durable before it returns.
func (p *producer) append(frames []byte) {
	p.tb.Helper()
	if err := p.w.Append(p.tb.Context(), p.events(frames)...); err != nil {
		p.tb.Fatal(err)
	}
	if err := p.w.Flush(p.tb.Context()); err != nil {
		p.tb.Fatal(err)
	}
}

// end ends the response and seals it.
func (p *producer) end() {
	p.tb.Helper()
	p.append(p.close())
	p.append(p.finish())
	if err := p.w.Seal(p.tb.Context(), true); err != nil {
		p.tb.Fatal(err)
	}
}

// freshCommand is a command whose response no other test has.
func freshCommand(tb testing.TB) *schema.Command {
	tb.Helper()
	ref, err := (&order{tenant: "default"}).ref()
	if err != nil {
		tb.Fatal(err)
	}
	return storyCommand(ref.Response())
}

func path(ref schema.Ref) string { return "/v1/responses/" + ref.Response() + "?stream=true" }

// A created stream over the real log and queue: the worker's frames reach the client as they are, and a second reader,
// later and from the archive, gets the same bytes.
func TestLive_CreateToDone(t *testing.T) {
	s, b := serveLive(t), liveBroker(t)
	resp := s.post(t, streamed)
	job, err := b.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := produce(t, job.Command)
	p.append(p.open())
	p.append(p.say("Hello"))
	p.end()
	if err := job.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := string(p.all()) + string(doneFrame)
	if diff := cmp.Diff(want, string(read(t, resp))); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	b.Drop(p.ref)
	if diff := cmp.Diff(want, string(read(t, s.get(t, path(p.ref))))); diff != "" {
		t.Errorf("replay from the archive (-want +got):\n%s", diff)
	}
}

// Whoever is cut at any event and comes back gets exactly what was missing: at every moment of the run, for every cursor,
// by both ways to say it, from a hub that was there and from one that must read the log.
func TestLive_ReconnectAtEveryEvent(t *testing.T) {
	t.Parallel()
	s, b := serveLive(t), liveBroker(t)
	p := produce(t, freshCommand(t))
	check := func() {
		t.Helper()
		for after := -1; after < len(p.frames)-1; after++ {
			want := bytes.Join(p.frames[after+1:], nil)
			for _, from := range []*http.Request{
				s.request(t, http.MethodGet, path(p.ref)+cursorQuery(after), ""),
				s.request(t, http.MethodGet, path(p.ref), "", cursorHeader(after)...),
			} {
				resp := s.do(t, from)
				got := readFrames(t, bufio.NewReader(resp.Body), len(p.frames)-1-after)
				resp.Body.Close()
				if !bytes.Equal(got, want) {
					t.Fatalf("behind %d of %d (-want +got):\n%s", after, len(p.frames), cmp.Diff(string(want), string(got)))
				}
			}
		}
	}
	check()
	p.append(p.open())
	check()
	for _, word := range []string{"Because ", "the ", "old ", "one ", "drowns."} {
		p.append(p.say(word))
		check()
	}
	b.Drop(p.ref)
	check()
	p.end()
	check()
	b.Drop(p.ref)
	check()
}

func cursorQuery(after int) string {
	if after < 0 {
		return ""
	}
	return "&starting_after=" + strconv.Itoa(after)
}

func cursorHeader(after int) []string {
	if after < 0 {
		return nil
	}
	return []string{"Last-Event-ID", strconv.Itoa(after)}
}

// A heartbeat interrupts the wait for frames, and loses none of them.
func TestLive_HeartbeatsBetweenFrames(t *testing.T) {
	t.Parallel()
	s := serveLive(t, func(c *Config) { c.Heartbeat = time.Millisecond })
	p := produce(t, freshCommand(t))
	resp := s.get(t, path(p.ref))
	p.append(p.open())
	for i := range 50 {
		sent := valueOf(t, s.metrics.bytes)
		waitFor(t, "a heartbeat", func() bool { return valueOf(t, s.metrics.bytes) > sent })
		p.append(p.say(fmt.Sprintf("word %d ", i)))
	}
	p.end()
	got := read(t, resp)
	if n := bytes.Count(got, heartbeat); n < 50 {
		t.Errorf("%d heartbeats", n)
	}
	want := string(p.all()) + string(doneFrame)
	if diff := cmp.Diff(want, string(bytes.ReplaceAll(got, heartbeat, nil))); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// 500 readers of one response get the same bytes, while others of it do not read at all.
func TestLive_ManyReaders(t *testing.T) {
	t.Parallel()
	s := serveLive(t)
	p := produce(t, freshCommand(t))
	for range 10 {
		s.dial(t, "GET "+path(p.ref)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	const readers = 500
	got := make([][]byte, readers)
	var all, ready sync.WaitGroup
	ready.Add(readers)
	for i := range readers {
		conn := s.dial(t, "GET "+path(p.ref)+" HTTP/1.1\r\nHost: x\r\n\r\n")
		all.Go(func() { got[i] = readAll(t, conn, ready.Done) })
	}
	ready.Wait()
	p.append(p.open())
	for i := range 200 {
		p.append(p.say(fmt.Sprintf("word %d ", i)))
	}
	p.end()
	all.Wait()
	want := append(p.all(), doneFrame...)
	for i := range got {
		if !bytes.Equal(got[i], want) {
			t.Fatalf("reader %d got %d bytes, want %d", i, len(got[i]), len(want))
		}
	}
}

// readAll reads an answer to its end, and says when its headers are there.
func readAll(t *testing.T, conn net.Conn, ready func()) []byte {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	ready()
	if err != nil {
		t.Error(err)
		return nil
	}
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return all
}

// The rows of the cursor table that only the real log can show: a cursor beyond the end is judged by what the leader
// knows, and a response that is nowhere is not found.
func TestLive_CursorBeyondTheEnd(t *testing.T) {
	t.Parallel()
	s := serveLive(t)
	p := produce(t, freshCommand(t))
	began := time.Now()
	body := mustRefuse(t, s.get(t, path(p.ref)+"&starting_after=77"), 400, schema.CodeInvalidCursor)
	if !contains(body, `"last_sequence_number":1`) || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %s", time.Since(began), body)
	}
	unknown := mustRef(t, "resp_nowhere")
	mustRefuse(t, s.get(t, path(unknown)), 404, schema.CodeNotFound)
	mustRefuse(t, s.get(t, path(unknown)+"&starting_after=1"), 404, schema.CodeNotFound)
	mustRefuse(t, s.get(t, "/v1/responses/resp_nowhere"), 404, schema.CodeNotFound)
}
