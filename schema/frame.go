package schema

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Frame is one event as text/event-stream (WHATWG HTML, section 9.2):
//
//	event: response.output_text.delta
//	data: {"type":"response.output_text.delta","sequence_number":14,…}
//	id: 14
//	(an empty line)
//
// The id is the last line: fetch-event-source takes an id as read the moment it sees the line, so an id in front would
// lose the event that is cut behind it. Data is one line of JSON, and JSON escapes line breaks, so content can never
// forge a line.
type Frame struct {
	Type EventType
	ID   int64
	Data []byte // the event's JSON; aliases the bytes that were read
}

var (
	eventField = []byte("event: ")
	dataField  = []byte("\ndata: ")
	idField    = []byte("\nid: ")
	frameEnd   = []byte("\n\n")
)

// oneForm makes one command one sequence of bytes. U+2028 and U+2029 are escaped, since some readers of event streams
// split lines there against the standard.
var oneForm = json.JoinOptions(json.Deterministic(true), jsontext.EscapeForJS(true))

// AppendFrame appends the frame of e to dst. It fails on an event type that is not one word of visible ASCII, on a
// number that is negative or beyond 2^53, and on an event that cannot be written as JSON.
func AppendFrame(dst []byte, e *Event) ([]byte, error) {
	if !e.Type.legal() {
		return dst, fmt.Errorf("write frame %d: event type %.40q", e.SequenceNumber, e.Type)
	}
	if e.SequenceNumber < 0 || e.SequenceNumber > MaxNumber {
		return dst, fmt.Errorf("write frame %d (%s): not a sequence number", e.SequenceNumber, e.Type)
	}
	whole := dst
	dst = append(append(dst, eventField...), e.Type...)
	dst = append(dst, dataField...)
	dst, err := appendEvent(dst, e)
	if err != nil {
		return whole, fmt.Errorf("write frame %d (%s): %w", e.SequenceNumber, e.Type, err)
	}
	dst = strconv.AppendInt(append(dst, idField...), e.SequenceNumber, 10)
	return append(dst, frameEnd...), nil
}

// CutFrame splits the first frame off b, which holds frames as AppendFrame wrote them. The raw bytes of the frame are
// b[:len(b)-len(rest)].
func CutFrame(b []byte) (f Frame, rest []byte, err error) {
	raw, rest, whole := bytes.Cut(b, frameEnd)
	if !whole {
		return Frame{}, b, fmt.Errorf("read frame: %d bytes without an end", len(b))
	}
	name, tail, ok := bytes.Cut(raw, dataField)
	name, named := bytes.CutPrefix(name, eventField)
	if !ok || !named || !EventType(name).legal() {
		return Frame{}, b, fmt.Errorf("read frame: no event and data line")
	}
	at := bytes.LastIndex(tail, idField)
	if at < 0 || bytes.IndexByte(tail[:at], '\n') >= 0 {
		return Frame{}, b, fmt.Errorf("read frame: no id in the last line")
	}
	id, err := ParseSeq(string(tail[at+len(idField):]))
	if err != nil {
		return Frame{}, b, fmt.Errorf("read frame: id: %w", err)
	}
	return Frame{Type: EventType(name), ID: id, Data: tail[:at]}, rest, nil
}

// ParseSeq reads a sequence number as it stands in an id line or a cursor: decimal digits only, no sign, no leading
// zero, at most 2^53.
func ParseSeq(s string) (int64, error) {
	if len(s) == 0 || len(s) > 16 || (len(s) > 1 && s[0] == '0') {
		return 0, fmt.Errorf("%.20q is not a sequence number", s)
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%.20q is not a sequence number", s)
		}
		n = n*10 + int64(c-'0')
	}
	if n > MaxNumber {
		return 0, fmt.Errorf("%.20q is beyond 2^53", s)
	}
	return n, nil
}
