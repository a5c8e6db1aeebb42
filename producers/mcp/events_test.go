package mcp

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func readEvents(body io.Reader, maxEvent, maxTotal int) (string, error) {
	out, err := io.ReadAll(newEvents(io.NopCloser(body), &exchange{}, maxEvent, maxTotal))
	return string(out), err
}

// Of a stream of events, one response passes, with what a client needs to resume; what nobody reads does not.
func TestEvents_PassOneResponse(t *testing.T) {
	t.Parallel()
	in := ": hello\r\n\r\nid: 1\nretry: 5\ndata:\n\nid: 2\ndata: {\"method\":\"n\"}\n\n" +
		"data: {\"method\":\"ping\",\"id\":9}\n\ndata: noise\n\nevent: message\ndata:{\"id\":1,\ndata:\"result\":{}}\n\ndata: {\"id\":1}\n\n"
	want := "id: 1\nretry: 5\n\nid: 2\n\ndata: {\"method\":\"ping\",\"id\":9}\n\nevent: message\ndata: {\"id\":1,\ndata: \"result\":{}}\n\n"
	for name, body := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
		if got, err := readEvents(body, 1<<20, 1<<20); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, _ := readEvents(strings.NewReader("data: {\"id\":1}"), 1<<20, 1<<20); got != "data: {\"id\":1}\n\n" {
		t.Errorf("an event without its empty line gives %q", got)
	}
}

// A listening stream passes responses without end, and the address to post to.
func TestEvents_Listen(t *testing.T) {
	t.Parallel()
	in := "event: endpoint\ndata: /x\n\ndata: {\"id\":1}\n\ndata: {\"id\":2}\n\n"
	if got, err := readEvents(strings.NewReader(in), 1<<10, endless); err != nil || got != in {
		t.Errorf("%q, %v", got, err)
	}
}

// A response is handed out when its stream has ended, so that the connection is not lost, or after a moment: a server
// that keeps the stream open holds nobody up.
func TestEvents_WaitsForEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ endsAfter, want time.Duration }{
		"at once": {0, 0},
		"soon":    {settleTime / 2, settleTime / 2},
		"never":   {time.Hour, settleTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body, server := io.Pipe()
				go func() {
					_, _ = io.WriteString(server, "data: {\"id\":1}\n\n")
					time.Sleep(test.endsAfter)
					_ = server.Close()
				}()
				e := newEvents(body, &exchange{}, 1<<10, 1<<10)
				start := time.Now()
				if line, err := bufio.NewReader(e).ReadString('\n'); err != nil || line != "data: {\"id\":1}\n" {
					t.Fatalf("%q, %v", line, err)
				}
				if took := time.Since(start); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				time.Sleep(test.endsAfter) // the server's goroutine belongs to the bubble
			})
		})
	}
}
