package sseserver

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// The kinds of bodies that a producer may send.
const (
	mimeLines  = "application/x-ndjson"
	mimeJSONL  = "application/jsonl"
	mimeEvents = "text/event-stream"
)

// eventReader reads the events of a body in batches: what has come by the time that it is asked, and at least one event.
type eventReader struct {
	in     *bufio.Reader
	frames bool  // server-sent events, rather than a line each
	spread bool  // one event may take all lines of the body
	whole  int64 // how long the body is, -1 if nobody knows
	read   int64
	extend func() error      // the time that the next part may take
	cut    func(error) error // what the caller is told of a body that cannot be read on
	data   []byte            // of the frame, or of the one event, that has begun
	line   int               // of the body
	begun  int               // the line that data began with
	done   bool              // [DONE] was there
}

// eventBody returns the reader of a request's body: newline-delimited JSON, server-sent events, or one event. Nothing is waited for
// any more once ctx has ended, until stop is called; behind it the deadline of the body is the caller's.
func (s *Server) eventBody(ctx context.Context, c echo.Context) (r *eventReader, stop func(), err error) {
	kind, err := mediaType(c, mimeLines, mimeJSONL, mimeEvents, echo.MIMEApplicationJSON)
	if err != nil {
		return nil, nil, err
	}
	r = &eventReader{
		in:     bufio.NewReaderSize(c.Request().Body, schema.MaxRecordBytes),
		frames: kind == mimeEvents, spread: kind == echo.MIMEApplicationJSON, whole: c.Request().ContentLength,
		extend: func() error { // in this order: ctx may end in between
			return cmp.Or(readBy(c, time.Now().Add(s.cfg.ProducerTimeout)), ctx.Err())
		},
		cut: func(err error) error { return bodyError(c, err, schema.MaxEvent) },
	}
	over := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = readBy(c, time.Now())
	})
	return r, func() {
		if !unhook() {
			<-over
		}
	}, nil
}

// next returns the next events, and whether the body has ended behind them. Beside an error, what came before is returned too.
func (r *eventReader) next() (events []jsontext.Value, ended bool, err error) {
	size := 0
	for len(events) < schema.MaxRecordEvents && size < schema.MaxRecordBytes {
		if len(events) > 0 && !r.ready() {
			return events, r.atEnd(), nil
		}
		line, last, err := r.readLine()
		if err != nil {
			return events, false, err
		}
		event, err := r.take(line, last)
		if err != nil {
			return events, false, err
		}
		if event != nil {
			events, size = append(events, event), size+len(event)
		}
		if last {
			return events, true, nil
		}
	}
	return events, r.atEnd(), nil
}

// ready reports whether a whole line has come already.
func (r *eventReader) ready() bool {
	waiting, _ := r.in.Peek(r.in.Buffered())
	return bytes.IndexByte(waiting, '\n') >= 0
}

// atEnd reports whether the body is known to have ended.
func (r *eventReader) atEnd() bool { return r.whole >= 0 && r.read >= r.whole && len(r.data) == 0 }

// readLine returns the next line, and whether the body ends with it.
func (r *eventReader) readLine() (line []byte, last bool, err error) {
	if err := r.extend(); err != nil {
		return nil, false, r.cut(err)
	}
	r.line++
	for {
		part, err := r.in.ReadSlice('\n')
		r.read += int64(len(part))
		line = append(line, part...)
		switch {
		case len(line) > schema.MaxEvent+len("data: ")+2:
			return nil, false, r.blame(tooLarge(schema.MaxEvent))
		case err == nil:
			return line, false, nil
		case errors.Is(err, io.EOF):
			return line, true, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, r.cut(err)
		}
	}
}

// take takes a line, and returns the event that it ends, if it does. So does the last line: the body is whole then, and half an
// event in it is an error.
func (r *eventReader) take(line []byte, last bool) (jsontext.Value, error) {
	line = bytes.TrimRight(line, "\r\n")
	var more bool
	switch {
	case !r.frames:
		more = r.takeLine(bytes.TrimSpace(line))
	case len(line) > 0 && line[0] == '{':
		return nil, r.blame(schema.Refuse(schema.CodeInvalidJSON, "", "no server-sent event. Lines of JSON are %s.", mimeLines))
	default:
		more = r.takeField(line)
	}
	switch {
	case len(r.data) > schema.MaxEvent:
		return nil, r.blame(tooLarge(schema.MaxEvent))
	case more && !last:
		return nil, nil
	}
	event, err := r.parse(r.data)
	r.data, r.begun = r.data[:0], 0
	return event, err
}

// takeLine takes a line of JSON, and reports whether it begins an event that is laid out over the rest of the body.
func (r *eventReader) takeLine(line []byte) (more bool) {
	more = len(r.data) > 0 || r.spread && unfinished(line)
	r.add(line)
	return more
}

// unfinished reports whether a line is the beginning of a JSON value, and right so far.
func unfinished(line []byte) bool {
	_, err := jsontext.NewDecoder(bytes.NewReader(line)).ReadValue()
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// takeField takes a line of a frame, and reports whether the frame goes on (WHATWG HTML, 9.2.6).
func (r *eventReader) takeField(line []byte) (more bool) {
	if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		r.add(bytes.TrimPrefix(data, []byte(" ")))
	}
	return len(line) > 0
}

func (r *eventReader) add(line []byte) {
	if len(r.data) == 0 {
		r.begun = r.line
	} else {
		r.data = append(r.data, '\n')
	}
	r.data = append(r.data, line...)
}

func (r *eventReader) parse(data []byte) (jsontext.Value, error) {
	switch data = bytes.TrimSpace(data); {
	case len(data) == 0:
		return nil, nil
	case string(data) == schema.DoneMark:
		r.done = true
		return nil, nil
	}
	event, err := schema.ReadEvent(data)
	if err != nil {
		return nil, r.blame(err)
	}
	return event, nil
}

// blame says in which line of the body the event began that has an error.
func (r *eventReader) blame(err error) error {
	refused := (*schema.Error)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	named := *refused
	named.Message = fmt.Sprintf("Line %d of the body: %s", cmp.Or(r.begun, r.line), named.Message)
	return &named
}
