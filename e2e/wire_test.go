//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// wire is a client that looks at bytes: it keeps every whole frame of a response, over as many connections as it takes,
// and drops what a cut leaves of one, as every reader of text/event-stream must.
type wire struct {
	frames []byte
	id     string // of the response
	last   string // id of the last whole frame

	body io.Closer
	in   *bufio.Reader
	via  *http.Client // for resume; nil is the default one
}

// post creates a streamed response at a node.
func (w *wire) post(t *testing.T, url, model, input string) {
	t.Helper()
	w.send(t, url, fmt.Sprintf(`{"model":%q,"input":%q,"stream":true}`, model, input))
}

// send is post for any body.
func (w *wire) send(t *testing.T, url, body string) {
	t.Helper()
	resp, err := http.Post(url+"/v1/responses", "application/json", strings.NewReader(body))
	w.open(t, resp, err)
}

// resume goes on behind the last frame, at whichever node.
func (w *wire) resume(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url+"/v1/responses/"+w.id+"?stream=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", w.last)
	client := http.DefaultClient
	if w.via != nil {
		client = w.via
	}
	resp, err := client.Do(req)
	w.open(t, resp, err)
}

func (w *wire) open(t *testing.T, resp *http.Response, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL, resp.Status, body)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	w.read(resp.Body)
}

// read goes on with another connection.
func (w *wire) read(body io.ReadCloser) { w.body, w.in = body, bufio.NewReader(body) }

// next reads one frame. Its error tells how the connection ended; io.EOF is a clean end.
func (w *wire) next() error {
	var frame []byte
	for !bytes.HasSuffix(frame, []byte("\n\n")) {
		line, err := w.in.ReadBytes('\n')
		if err != nil {
			return err
		}
		frame = append(frame, line...)
	}
	if frame[0] == ':' {
		return w.next() // a heartbeat
	}
	w.frames = append(w.frames, frame...)
	if _, id, ok := bytes.Cut(frame, []byte("\nid: ")); ok {
		w.last = string(bytes.TrimSpace(id))
	}
	if id := responseID.FindSubmatch(frame); id != nil && w.id == "" {
		w.id = string(id[1])
	}
	return nil
}

// until reads as far as the n-th delta of text, counted from the response's beginning.
func (w *wire) until(t *testing.T, n int) {
	t.Helper()
	for bytes.Count(w.frames, []byte(cutMark)) < n {
		if err := w.next(); err != nil {
			t.Fatalf("before delta %d: %v\n%s", n, err, w.frames)
		}
	}
}

// rest reads to the end of the connection, and returns how it ended.
func (w *wire) rest() error {
	for {
		if err := w.next(); err != nil {
			_ = w.body.Close()
			return err
		}
	}
}

// finish reads to the clean end of the response: the frames of all connections together pass the strict checker, and
// are the very bytes that the nodes replay.
func (w *wire) finish(t *testing.T, nodes ...*gateway) *transcript {
	t.Helper()
	if err := w.rest(); err != io.EOF {
		t.Fatalf("the last connection ended with %v\n%s", err, w.frames)
	}
	if _, err := schema.CheckStream(w.frames); err != nil {
		t.Errorf("what the client got: %v\n%s", err, w.frames)
	}
	for _, g := range nodes {
		if raw := g.get(t, "/v1/responses/"+w.id+"?stream=true"); !bytes.Equal(raw, w.frames) {
			t.Errorf("a replay has other bytes than the client got\n--- replay\n%s\n--- client\n%s", raw, w.frames)
		}
	}
	return nodes[0].replay(t, w.id)
}
