package sseserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

const oneEvent = `{"type":"response.mcp_list_tools.in_progress","item_id":"x"}` + "\n"

// feeding is a request to feed a response of the test's own, in the middle of its body.
type feeding struct {
	conn net.Conn
	ref  schema.Ref
}

// feed begins a request whose body comes in chunks.
func feed(t *testing.T, s *site, headers ...string) *feeding {
	t.Helper()
	ref := freshCommand(t).Ref()
	conn := s.dial(t, "POST /v1/responses/"+ref.Response()+"/events HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: application/x-ndjson\r\nMidstream-Producer: p\r\nTransfer-Encoding: chunked\r\n"+
		strings.Join(append(headers, "\r\n"), "\r\n"))
	t.Cleanup(func() { takeJob(t, ref) })
	return &feeding{conn, ref}
}

// takeJob takes the run that was opened out of the queue, which all tests share, and lets nobody look for it: it would come back.
func takeJob(t *testing.T, ref schema.Ref) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	job, err := liveBroker(t).Claim(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if job.Command.Ref() != ref {
		t.Errorf("the queue held %s", job.Command.Response)
	}
	if err := job.Ack(ctx); err != nil {
		t.Error(err)
	}
	liveBroker(t).Drop(ref)
}

func (f *feeding) chunk(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(f.conn, fmt.Sprintf("%x\r\n%s", len(text), text)+"\r\n"); err != nil {
		t.Fatal(err)
	}
}

// whole ends the body.
func (f *feeding) whole(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(f.conn, "0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// answer reads what the request is told.
func (f *feeding) answer(t *testing.T) *http.Response { t.Helper(); return answerOn(t, f.conn) }

// stored waits until so many events of the producer are stored.
func (f *feeding) stored(t *testing.T, want int64) {
	t.Helper()
	b := liveBroker(t)
	for deadline := time.Now().Add(30 * time.Second); ; {
		var at uint64
		var next int64
		for {
			sent, err := b.NextSent(t.Context(), f.ref, "p", at)
			if err != nil {
				t.Fatal(err)
			}
			if sent == nil {
				break
			}
			at, next = sent.Position, sent.Next()
		}
		if next >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events stored, want %d", next, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func ingesting(c *Config) { c.Ingest = c.Broker.(Ingest) }

// A body may go on for as long as its producer has something to say: what has come is stored while it is open, also when it is
// cut in the middle of a line.
func TestIngest_StoresWhatHasCome(t *testing.T) {
	s := serveLive(t, ingesting)
	f := feed(t, s)
	f.chunk(t, oneEvent)
	f.stored(t, 1)
	f.chunk(t, oneEvent+oneEvent[:20])
	f.stored(t, 2)
	f.chunk(t, oneEvent[20:]+oneEvent[:30])
	f.stored(t, 3)
	f.conn.Close()
	f.stored(t, 3)
}

// A body of which nobody knew how long it is ends its producer too, if its last event is terminal: also when its end comes later
// than that event is stored.
func TestIngest_EndsWithAnOpenBody(t *testing.T) {
	s := serveLive(t, ingesting)
	f := feed(t, s)
	f.chunk(t, `{"type":"response.completed","response":{"id":"r","status":"completed"}}`+"\n")
	f.stored(t, 1)
	f.whole(t)
	resp := f.answer(t)
	sent, err := liveBroker(t).NextSent(t.Context(), f.ref, "p", 0)
	for err == nil && sent != nil && !sent.Last {
		sent, err = liveBroker(t).NextSent(t.Context(), f.ref, "p", sent.Position)
	}
	if err != nil || sent == nil || sent.Next() != 1 {
		t.Errorf("%s, and the producer has not ended: %+v, %v", resp.Status, sent, err)
	}
}

// A producer that is refused in the middle of a body hears of it at once, also where it is known how much is still to come, and no
// drain waits for that.
func TestIngest_RefusedInTheMiddle(t *testing.T) {
	s := serveLive(t, ingesting, func(c *Config) { c.ProducerTimeout = time.Hour })
	conn := s.dial(t, "POST /v1/responses/resp_0123456789abcdefrefused/events HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: application/x-ndjson\r\nMidstream-Producer: p\r\nContent-Length: 5000\r\n\r\nnonsense\n")
	mustRefuse(t, answerOn(t, conn), 400, schema.CodeInvalidJSON)
	if err := s.stop(); err != nil {
		t.Errorf("a drain waits for a body that was refused: %v", err)
	}
}

// Whatever a request is refused for, producers' errors are counted: also where nothing of its body was read.
func TestIngest_CountsRefusals(t *testing.T) {
	s := serveLive(t, ingesting)
	path := "/v1/responses/" + freshCommand(t).Ref().Response() + "/events"
	mustRefuse(t, s.do(t, s.request(t, "POST", path, oneEvent, "Content-Type", "text/csv", "Midstream-Producer", "p")), 415, "unsupported_media_type")
	mustRefuse(t, s.do(t, s.request(t, "POST", path, oneEvent, "Content-Type", "application/x-ndjson")), 400, schema.CodeInvalidValue)
	for _, code := range []string{"unsupported_media_type", schema.CodeInvalidValue} {
		if got := valueOf(t, s.metrics.notIngested.WithLabelValues(code)); got != 1 {
			t.Errorf("%v refusals as %s, want 1", got, code)
		}
	}
}

// A producer that falls silent in the middle of a body is told so, and keeps what it has sent.
func TestIngest_SilentProducer(t *testing.T) {
	s := serveLive(t, ingesting, func(c *Config) { c.ProducerTimeout = 100 * time.Millisecond })
	f := feed(t, s)
	f.chunk(t, oneEvent)
	resp := f.answer(t)
	if resp.StatusCode != http.StatusRequestTimeout || resp.Header.Get(headerNext) != "1" {
		raw, _ := io.ReadAll(resp.Body)
		t.Errorf("%s %s, next %s", raw, resp.Status, resp.Header.Get(headerNext))
	}
}
