package sseserver

import (
	"net/http"
	"testing"
	"time"
)

// beginBody begins a request whose body does not go on, and returns how it is answered.
func (s *site) beginBody(t *testing.T, path, framing string) *http.Response {
	t.Helper()
	conn := s.dial(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"+framing+"\r\n\r\n5\r\nhello\r\n")
	return answerOn(t, conn)
}

// Who is refused hears of it though its body has not ended: at once where nobody knows when it will, else when the time for it is over.
// So nobody holds a connection for longer by a request that is not let in.
func TestBody_RefusedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	chunked := serve(t, func(c *Config) { c.BodyTimeout = time.Hour })
	counted := serve(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	for _, c := range []struct {
		path   string
		status int
		code   string
	}{{"/v1/responses", 415, "unsupported_media_type"}, {"/v1/nowhere", 404, "unknown_url"}} {
		mustRefuse(t, chunked.beginBody(t, c.path, "Transfer-Encoding: chunked"), c.status, c.code)
		mustRefuse(t, counted.beginBody(t, c.path, "Content-Length: 100"), c.status, c.code)
	}
	if err := chunked.stop(); err != nil {
		t.Errorf("a drain waits for bodies that were refused: %v", err)
	}
}
