//go:build e2e

package cluster_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/cluster"
	"github.com/midstream-dev/midstream/schema"
)

// story is one response, read by one client at each gateway from its first event to its last.
type story struct {
	id      string
	words   int
	readers []*reader
}

// tell begins n responses, each of so many words with so long between two of them, and returns when every client has heard
// some. Gateways take turns to create them.
func tell(t *testing.T, n, words int, delay time.Duration) []*story {
	t.Helper()
	var all []*story
	for i := range n {
		s := &story{words: words}
		first, second := shared.Gateways[i%2], shared.Gateways[(i+1)%2]
		s.readers = append(s.readers, post(t, first, fmt.Sprintf("Tell me about rivers. [[tokens=%d]] [[delay=%v]]", words, delay)))
		s.id = s.readers[0].identify(t)
		s.readers = append(s.readers, resume(t, second, s.id, ""))
		all = append(all, s)
	}
	for _, s := range all {
		for _, r := range s.readers {
			r.hear(t, 3)
		}
	}
	return all
}

// finish reads each story to its end: no connection was lost, the strict checker accepts what both clients got, all of it
// was said, and both gateways replay the same bytes.
func finish(t *testing.T, stories []*story) {
	t.Helper()
	for _, s := range stories {
		for _, r := range s.readers {
			if err := r.rest(t); err != io.EOF {
				t.Errorf("the stream of %s at %s ended with %v, want its end", s.id, r.gateway.Name, err)
			}
		}
		s.agree(t)
	}
}

var deltas = regexp.MustCompile(`"type":"response\.output_text\.delta".*"delta":"([^"]*)"|"delta":"([^"]*)".*"type":"response\.output_text\.delta"`)

func (s *story) agree(t *testing.T) {
	t.Helper()
	got := s.readers[0].frames
	if _, err := schema.CheckStream(got); err != nil {
		t.Errorf("%s: %v\n%s", s.id, err, got)
	}
	if !bytes.Contains(got, []byte("event: response.completed\n")) {
		t.Errorf("%s is not completed:\n%s", s.id, got)
	}
	for _, r := range s.readers[1:] {
		if !bytes.Equal(r.frames, got) {
			t.Errorf("%s: two clients got other bytes\n--- one\n%s\n--- two\n%s", s.id, got, r.frames)
		}
	}
	for _, g := range shared.Gateways {
		if raw := get(t, g, "/v1/responses/"+s.id+"?stream=true"); !bytes.Equal(raw, got) {
			t.Errorf("%s: %s replays other bytes than the client got\n--- replay\n%s\n--- client\n%s", s.id, g.Name, raw, got)
		}
	}
	var text strings.Builder
	for _, m := range deltas.FindAllSubmatch(got, -1) {
		text.Write(m[1])
		text.Write(m[2])
	}
	if n := len(strings.Fields(text.String())); n != s.words {
		t.Errorf("%s has %d words, want %d: %q", s.id, n, s.words, text.String())
	}
}

// uncut checks that one call of the model made the whole story.
func (s *story) uncut(t *testing.T) {
	t.Helper()
	if n := bytes.Count(s.readers[0].frames, []byte("event: response.output_item.added\n")); n != 1 {
		t.Errorf("%s has %d items, want 1: its run was taken over", s.id, n)
	}
}

// reader is one client: it keeps every whole frame, over as many connections as it takes.
type reader struct {
	gateway *cluster.Member
	frames  []byte // to be read when the connection has ended
	last    string // id of the last whole frame

	ids   chan string   // the response's, once
	heard chan struct{} // one for each delta
	ended chan error    // how the connection ended
}

func post(t *testing.T, g *cluster.Member, input string) *reader {
	t.Helper()
	body := fmt.Sprintf(`{"model":"demo-slow","input":%q,"stream":true}`, input)
	resp, err := http.Post(g.URL+"/v1/responses", "application/json", strings.NewReader(body))
	r := &reader{gateway: g}
	r.open(t, resp, err)
	return r
}

// resume reads a response from behind an event; from the start if there is none.
func resume(t *testing.T, g *cluster.Member, id, last string) *reader {
	t.Helper()
	r := &reader{gateway: g, last: last}
	r.again(t, g, id)
	return r
}

// again goes on with the same response behind the last whole frame, at whichever gateway.
func (r *reader) again(t *testing.T, g *cluster.Member, id string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, g.URL+"/v1/responses/"+id+"?stream=true", nil)
	must(t, err)
	if r.last != "" {
		req.Header.Set("Last-Event-ID", r.last)
	}
	r.gateway = g
	resp, err := http.DefaultClient.Do(req)
	r.open(t, resp, err)
}

func (r *reader) open(t *testing.T, resp *http.Response, err error) {
	t.Helper()
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL, resp.Status, body)
	}
	r.ids, r.heard, r.ended = make(chan string, 1), make(chan struct{}, 1024), make(chan error, 1)
	t.Cleanup(func() { _ = resp.Body.Close() })
	go func() {
		err := r.read(bufio.NewReader(resp.Body))
		_ = resp.Body.Close()
		close(r.heard)
		r.ended <- err
	}()
}

var responseID = regexp.MustCompile(`"id":"(resp_[0-9A-Za-z]+)"`)

// read takes frames until the connection ends; a frame that a cut has left half of is dropped.
func (r *reader) read(in *bufio.Reader) error {
	for {
		frame, err := nextFrame(in)
		if err != nil {
			return err
		}
		if frame[0] == ':' {
			continue // a heartbeat
		}
		r.frames = append(r.frames, frame...)
		if _, id, ok := bytes.Cut(frame, []byte("\nid: ")); ok {
			r.last = string(bytes.TrimSpace(id))
		}
		if m := responseID.FindSubmatch(frame); m != nil && r.last == "0" {
			r.ids <- string(m[1])
		}
		if bytes.HasPrefix(frame, []byte("event: response.output_text.delta\n")) {
			r.heard <- struct{}{}
		}
	}
}

func nextFrame(in *bufio.Reader) (frame []byte, err error) {
	for !bytes.HasSuffix(frame, []byte("\n\n")) {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		frame = append(frame, line...)
	}
	return frame, nil
}

func (r *reader) identify(t *testing.T) string {
	t.Helper()
	select {
	case id := <-r.ids:
		return id
	case <-time.After(patience):
		t.Fatal("no first event")
		return ""
	}
}

// hear waits for n more deltas.
func (r *reader) hear(t *testing.T, n int) {
	t.Helper()
	late := time.After(patience)
	for range n {
		select {
		case _, ok := <-r.heard:
			if !ok {
				t.Fatalf("the stream at %s has ended: %v", r.gateway.Name, <-r.ended)
			}
		case <-late:
			t.Fatalf("the stream at %s stands still for %v", r.gateway.Name, patience)
		}
	}
}

// rest waits until the connection has ended, and returns how.
func (r *reader) rest(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(2 * patience):
		t.Fatalf("the stream at %s does not end", r.gateway.Name)
		return nil
	}
}

// get returns the body of a GET that must answer 200 before long.
func get(t *testing.T, g *cluster.Member, path string) (body []byte) {
	t.Helper()
	eventually(t, "GET "+path+" at "+g.Name, func() (err error) {
		body, err = fetch(g.URL + path)
		return err
	})
	return body
}

func fetch(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(body))
	}
	return body, err
}
