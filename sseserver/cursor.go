package sseserver

import (
	"net/http"
	"net/url"

	"github.com/midstream-dev/midstream/schema"
)

// The two ways to say where to go on. The header is what an EventSource sends when it reconnects; the URL that it
// reconnects to may carry a stale starting_after, so the header wins.
const (
	headerCursor = "Last-Event-ID"
	queryCursor  = "starting_after"
)

// cursor is where a subscriber wants to go on: behind the event after. The zero value is no cursor; see start.
type cursor struct {
	after int64
	kind  string // headerCursor or queryCursor, "" for none
}

// start is the cursor of a reader who has seen nothing.
var start = cursor{after: -1}

func (c cursor) given() bool { return c.kind != "" }

// readCursor takes the cursor from a request. An empty Last-Event-ID is what an EventSource sends that has seen no id:
// it says nothing, and starting_after, if there, holds.
func readCursor(h http.Header, q url.Values) (cursor, error) {
	if ids := h.Values(headerCursor); len(ids) > 1 || (len(ids) == 1 && ids[0] != "") {
		return parseCursor(headerCursor, ids)
	}
	if q.Has(queryCursor) {
		return parseCursor(queryCursor, q[queryCursor])
	}
	return start, nil
}

func parseCursor(kind string, values []string) (cursor, error) {
	if len(values) > 1 {
		return cursor{}, schema.Refuse(schema.CodeInvalidCursor, kind, "%s was given more than once.", kind)
	}
	n, err := schema.ParseSeq(values[0])
	if err != nil {
		return cursor{}, schema.Refuse(schema.CodeInvalidCursor, kind,
			"%s must be the sequence number of an event: decimal digits, nothing else.", kind)
	}
	return cursor{after: n, kind: kind}, nil
}
