package sseserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// A cursor is taken only as the plain number that it is; the header wins; whatever else comes is refused as invalid.
func FuzzCursor(f *testing.F) {
	f.Fuzz(func(t *testing.T, header, query string) {
		at, err := readCursor(http.Header{http.CanonicalHeaderKey(headerCursor): {header}}, url.Values{queryCursor: {query}})
		value := header
		if header == "" {
			value = query
		}
		if err != nil {
			if refusal, hidden := refusalOf(err); refusal.Code != schema.CodeInvalidCursor || hidden || len(refusal.Message) > 200 {
				t.Errorf("(%q, %q): %v", header, query, err)
			}
			return
		}
		if at.after < 0 || strconv.FormatInt(at.after, 10) != value || !at.given() {
			t.Errorf("(%q, %q) became %+v", header, query, at)
		}
	})
}

// No path makes the server panic, answer with more than a bounded part of it, or read a response that it does not name
// letter for letter.
func FuzzPath(f *testing.F) {
	m := newMemory()
	r := whole(f, storyID, "word")
	m.append(r.ref, r.all())
	m.made[r.ref] = r.cmd
	s := New(Config{Broker: m, Library: m, Control: m, Follow: Following(m.follow)})
	f.Fuzz(func(t *testing.T, id, query string) {
		u, err := url.ParseRequestURI("/v1/responses/" + id)
		if err != nil {
			return
		}
		u.RawQuery = query
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL, req.RequestURI = u, u.RequestURI()
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		body := w.Body.String()
		switch {
		case w.Code >= 500:
			t.Errorf("%q: status %d: %s", u, w.Code, body)
		case w.Code >= 400 && len(body) > 1000:
			t.Errorf("%q: %d bytes of error", u, len(body))
		case w.Code == http.StatusOK && strings.TrimSuffix(u.EscapedPath(), "/input_items") != "/v1/responses/"+storyID:
			t.Errorf("%q reads a response", u)
		}
	})
}

// No message makes the reader panic. What it takes is of a known kind and a legal lane, and its body is one that POST
// could have had, without the envelope; what it refuses is told in a bounded message.
func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, data string) {
		m, refusal := readMessage([]byte(data))
		if refusal != nil {
			if event, err := errorEvent(refusal, refusal); err != nil || len(event) > 1000 || schema.CheckJSON(tag(event, m.lane)) != nil {
				t.Errorf("%q: refused with %s, %v", data, event, err)
			}
			return
		}
		if schema.CheckJSON(m.create()) != nil {
			t.Errorf("%q became the body %s", data, m.create())
		}
		var body map[string]jsontext.Value
		if err := json.Unmarshal(m.create(), &body); err != nil || string(body["stream"]) != "true" || body["type"] != nil || body["stream_id"] != nil {
			t.Errorf("%q became the body %s: %v", data, m.create(), err)
		}
		if m.lane != "" && (len(m.lane) > maxStreamID || strings.Trim(m.lane, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "") {
			t.Errorf("%q goes to the lane %q", data, m.lane)
		}
		if m.kind == messageSteer {
			event, err := steerFailed(m)
			if err != nil || schema.CheckJSON(tag(event, m.lane)) != nil {
				t.Errorf("%q: %s, %v", data, event, err)
			}
		}
	})
}
