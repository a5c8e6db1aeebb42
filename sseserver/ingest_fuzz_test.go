package sseserver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// bodyOf reads a whole body. The length of one that is known to the server decides only where the last batch ends.
func bodyOf(in io.Reader, kind string, length int64) (events []jsontext.Value, done bool, err error) {
	r := &eventReader{
		in: bufio.NewReaderSize(in, 64), frames: kind == mimeEvents, spread: kind == echo.MIMEApplicationJSON, whole: length,
		extend: func() error { return nil }, cut: func(err error) error { return err },
	}
	for {
		some, ended, err := r.next()
		events = append(events, some...)
		if ended || err != nil {
			return events, r.done, err
		}
	}
}

// FuzzEventBody promises that what a producer's body says does not depend on how it arrives: in one piece or byte by byte, with a
// length or without one; that what is stored of it are events; and that whatever is wrong with it is told as the producer's fault.
func FuzzEventBody(f *testing.F) {
	for _, body := range []string{
		"", "{}", "{}\n{}\n", "{\"a\":1}\r\n\r\n{\"b\":2}", "[DONE]\n{}", "{\"a\":1", "nonsense\n{}", "{}\n\x00",
		"data: {}\n\n", "event: x\ndata: {\"a\":\ndata: 1}\n\ndata: [DONE]\n\n", ": heartbeat\n\ndata:{}\n\nid: 7\ndata: {}", "data: {}\n\ndata: {", "data: {}\n\ndata: {}\n", "{}\n", "data: {}\n{}\n",
		"{\"type\":\"response.created\",\"type\":\"x\"}\n", "{\"a\":\"\\ud800\"}\n",
	} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, frames bool) {
		if frames {
			mustReadAlike(t, body, mimeEvents)
			return
		}
		mustReadAlike(t, body, mimeLines)
		mustReadAlike(t, body, echo.MIMEApplicationJSON)
	})
}

func mustReadAlike(t *testing.T, body []byte, kind string) {
	t.Helper()
	want, done, whole := bodyOf(bytes.NewReader(body), kind, int64(len(body)))
	for name, in := range map[string]io.Reader{
		"byte by byte":    iotest.OneByteReader(bytes.NewReader(body)),
		"of no length":    bytes.NewReader(body),
		"with its EOF":    iotest.DataErrReader(bytes.NewReader(body)),
		"half, then half": iotest.HalfReader(bytes.NewReader(body)),
	} {
		got, also, err := bodyOf(in, kind, -1)
		if diff := cmp.Diff(want, got); diff != "" || also != done || (err == nil) != (whole == nil) {
			t.Errorf("%s: done %t and %t, errors %v and %v, events (-whole +%s):\n%s", name, done, also, whole, err, name, diff)
		}
	}
	for _, event := range want {
		if event.Kind() != '{' || bytes.ContainsAny(event, "\r\n") {
			t.Errorf("%q is no event on one line", event)
		}
	}
	if refused := (*schema.Error)(nil); whole != nil && (!errors.As(whole, &refused) || refused.Status < 400 || refused.Status > 499) {
		t.Errorf("refused with %v", whole)
	}
}

// What is in a body is an event or an error, however it is laid out: nothing of it is passed over.
func TestEventBody_PassesNothingOver(t *testing.T) {
	const one, two = `{"type":"a"}`, "{\n  \"type\":\r\n  \"a\"\n}"
	for _, c := range []struct {
		kind, body string
		events     int
		wrong      string
	}{
		{mimeLines, one + "\n\n" + one, 2, ""},
		{mimeLines, one + "\n" + two + "\n" + one, 1, "Line 2 of the body: "},
		{echo.MIMEApplicationJSON, two, 1, ""},
		{echo.MIMEApplicationJSON, "\n" + one + "\n" + two + "\n", 2, ""},
		{echo.MIMEApplicationJSON, one + "\n[DONE]\n", 1, ""},
		{echo.MIMEApplicationJSON, one + "\n{\"type\" \"a\"}\n" + one + "\n", 1, "Line 2 of the body: "},
		{echo.MIMEApplicationJSON, "nonsense\n{", 0, "Line 1 of the body: "},
		{echo.MIMEApplicationJSON, one + "\n" + two + one, 1, "Line 2 of the body: "},
		{mimeEvents, "data: " + one, 1, ""},
		{mimeEvents, "data: " + one + "\nid: 3", 1, ""},
		{mimeEvents, "data: " + one + "\n\nevent: a\ndata: {\"type\":\ndata: \"a\"}", 2, ""},
		{mimeEvents, "data: " + one + "\n\nevent: a\ndata: {\"type\":", 1, "Line 4 of the body: "},
	} {
		events, _, err := bodyOf(strings.NewReader(c.body), c.kind, int64(len(c.body)))
		if len(events) != c.events || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s %q: %s, %v", c.kind, c.body, events, err)
		}
	}
}
