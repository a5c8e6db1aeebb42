package mcp

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// endless is the bound of a stream that lives as long as its session.
const endless = math.MaxInt

// maxServerRequests bounds what a server may ask of us in the midst of one call: each costs a POST.
const maxServerRequests = 16

// events filters a body of server-sent events before mcp-go reads it. Whole events pass, up to a size; notifications
// other than of progress are emptied, since nobody listens to them; and an answer to one request ends after the first
// response, since mcp-go leaks a goroutine for ever if it meets three.
type events struct {
	body  io.Closer
	in    *bufio.Reader
	x     *exchange
	out   []byte
	event event

	mu    sync.Mutex
	ended chan struct{} // closed when nobody reads in any more; nil before the response

	maxEvent int
	left     int
	requests int
	endless  bool
	answered bool
}

func newEvents(body io.ReadCloser, x *exchange, maxEvent, maxTotal int) *events {
	return &events{
		body: body, in: bufio.NewReader(body), x: x,
		maxEvent: maxEvent, left: maxTotal, endless: maxTotal == endless,
	}
}

// Read implements [io.Reader].
func (e *events) Read(p []byte) (int, error) {
	for len(e.out) == 0 {
		if err := e.next(); err != nil {
			if err != io.EOF {
				e.x.fail(err)
			}
			return 0, err
		}
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

// next reads one event, and puts what remains of it into out. An event that the end of the body cuts short counts too:
// some servers leave out the last empty line.
func (e *events) next() error {
	if e.answered {
		return io.EOF
	}
	e.event.reset()
	for {
		line, err := e.line()
		e.event.add(line)
		switch {
		case err == io.EOF && len(e.event.data) > 0:
			e.pass()
			return nil
		case err != nil:
			return err
		case len(line) == 0:
			e.pass()
			return nil
		}
	}
}

// line gives one line without its end. It holds no more of it than the bounds allow.
func (e *events) line() ([]byte, error) {
	var line []byte
	for {
		part, err := e.in.ReadSlice('\n')
		if !e.endless {
			e.left -= len(part)
		}
		if e.left < 0 || e.event.size()+len(line)+len(part) > e.maxEvent {
			return nil, errTooLarge
		}
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return bytes.TrimRight(line, "\r\n"), err
		}
	}
}

func (e *events) pass() {
	switch kind := e.event.kind(); kind {
	case notification:
		e.event.data = nil
	case request:
		if e.requests++; e.requests > maxServerRequests {
			e.event.data = nil
		}
	case response:
		if e.answered = !e.endless; e.answered {
			e.settle()
		}
	}
	e.out = e.event.bytes()
}

// settleTime is how long the end of a stream may take after its response.
const settleTime = 10 * time.Millisecond

// settle waits a moment for the end of the body before the response is handed out. mcp-go closes the body at once, and
// a connection whose body was not read to its end is lost: the next call would pay for another TLS handshake.
func (e *events) settle() {
	ended := make(chan struct{})
	e.mu.Lock()
	e.ended = ended
	e.mu.Unlock()
	go func() {
		defer close(ended)
		_, _ = e.in.Peek(1) // what there is does not matter: only whether it ends
	}()
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}

// Close implements [io.Closer]. It is called from other goroutines than Read is, to end a Read.
func (e *events) Close() error {
	err := e.body.Close()
	e.mu.Lock()
	ended := e.ended
	e.mu.Unlock()
	if ended != nil {
		<-ended
	}
	return err
}

// event is one server-sent event as mcp-go needs it: the fields other than data as they came, the data joined.
type event struct {
	fields []byte
	data   []byte
	name   string
}

func (v *event) reset() { v.fields, v.data, v.name = nil, nil, "" }

func (v *event) size() int { return len(v.fields) + len(v.data) }

func (v *event) add(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if len(v.data) > 0 {
			v.data = append(v.data, '\n')
		}
		v.data = append(v.data, value...)
		return
	case "event":
		v.name = string(value)
	case "id", "retry":
	default: // comments, and fields that mean nothing
		return
	}
	v.fields = append(append(v.fields, line...), '\n')
}

func (v *event) bytes() []byte {
	out := bytes.Clone(v.fields)
	if len(v.data) > 0 {
		for line := range bytes.SplitSeq(v.data, []byte("\n")) {
			out = append(append(append(out, "data: "...), line...), '\n')
		}
	}
	if len(out) == 0 {
		return nil
	}
	return append(out, '\n')
}

// kind is what an event carries.
type kind int

const (
	nothing kind = iota
	notification
	progress
	request
	response
	endpoint // HTTP+SSE: where to post to
)

func (v *event) kind() kind {
	if v.name == "endpoint" {
		return endpoint
	}
	var m struct {
		ID     jsontext.Value `json:"id"`
		Method jsontext.Value `json:"method"`
	}
	switch err := json.Unmarshal(v.data, &m, lenient); {
	case len(v.data) == 0:
		return nothing
	case err != nil: // mcp-go ignores it too; it must not pass for the one response
		v.data = nil
		return nothing
	case m.Method == nil:
		return response
	case (m.ID == nil || m.ID.Kind() == 'n') && string(m.Method) == `"`+string(mcpgo.MethodNotificationProgress)+`"`:
		return progress
	case m.ID == nil || m.ID.Kind() == 'n':
		return notification
	default:
		return request
	}
}
