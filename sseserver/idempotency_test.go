package sseserver

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// The same key with the same body is one response: it is made once, and every further request gets it, streamed from the
// start or from Last-Event-ID, or as an object.
func TestIdempotency_SameKeySameResponse(t *testing.T) {
	t.Parallel()
	s := serve(t)
	first := s.post(t, streamed, headerKey, "k1")
	r := s.work(t)
	again := s.post(t, streamed, headerKey, "k1") // while it runs
	s.memory.append(r.ref, r.begin(), r.open(), r.say("Hello"), r.close(), r.finish())
	want := append(r.all(), doneFrame...)
	for name, resp := range map[string]*http.Response{
		"first": first, "while it runs": again, "when it is over": s.post(t, streamed, headerKey, "k1"),
	} {
		if got := read(t, resp); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	resumed := read(t, s.post(t, streamed, headerKey, "k1", headerCursor, "2"))
	if want := append(bytes.Join(r.frames[3:], nil), doneFrame...); !bytes.Equal(resumed, want) {
		t.Errorf("from Last-Event-ID:\n%s\nwant\n%s", resumed, want)
	}
	end := s.post(t, streamed, headerKey, "k1", headerCursor, "8")
	if end.StatusCode != http.StatusNoContent {
		t.Errorf("from its end: status %d", end.StatusCode)
	}
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d more commands were enqueued", n)
	}
	other := s.post(t, streamed, headerKey, "k2")
	if r2 := s.work(t); r2.ref == r.ref {
		t.Error("another key made the same response")
	}
	other.Body.Close()
}

// Many requests at once with one key make one response.
func TestIdempotency_AtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const body = `{"model":"demo","input":"hi","background":true}`
	ids := make([]string, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i] = object(t, s.post(t, body, headerKey, "k")).ID })
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("made %s and %s", ids[0], id)
		}
	}
	if n := len(s.memory.commands); n != 1 {
		t.Errorf("%d commands were enqueued", n)
	}
}

// A key that was used with another body, whose response was deleted, or that is no key, is refused, and starts nothing.
func TestIdempotency_Refused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	made := object(t, s.post(t, `{"model":"demo","input":"hi","background":true}`, headerKey, "k"))
	<-s.memory.commands
	refused := func(status int, code, body string, keys ...string) {
		t.Helper()
		req := s.request(t, http.MethodPost, "/v1/responses", body)
		req.Header[headerKey] = keys
		resp := s.do(t, req)
		if got := string(read(t, resp)); resp.StatusCode != status || !strings.Contains(got, `"code":"`+code+`"`) {
			t.Errorf("keys %.40q: status %d, %s; want %d %s", keys, resp.StatusCode, got, status, code)
		}
	}
	refused(409, "idempotency_key_in_use", `{"model":"demo","input":"other","background":true}`, "k")
	for _, bad := range [][]string{{""}, {strings.Repeat("x", 256)}, {"a\tb"}, {"ä"}, {"k", "k"}} {
		refused(400, schema.CodeInvalidValue, streamed, bad...)
	}
	s.memory.set(t, func(m *memory) { m.gone[mustRef(t, made.ID)] = true })
	refused(410, codeErased, `{"model":"demo","input":"hi","background":true}`, "k")
	if n := len(s.memory.commands); n != 0 {
		t.Errorf("%d commands were enqueued", n)
	}
}
