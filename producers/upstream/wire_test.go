package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// pipeListener is a network in memory, so that an hour of silence takes no time in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inBubble runs a test against a chat upstream with the default limits, in virtual time.
func inBubble(t *testing.T, h http.HandlerFunc, test func(t *testing.T, up Upstream)) {
	t.Helper()
	inBubbleOf(t, "chat", h, test)
}

// inBubbleOf is inBubble for an upstream of another dialect.
func inBubbleOf(t *testing.T, dialect string, h http.HandlerFunc, test func(t *testing.T, up Upstream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then does the server see that its client has gone
			h(w, r)
		})}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		up, err := dialects[dialect](Config{Name: "far", Dialect: dialect, BaseURL: "http://far.example:81/v1", APIKey: secret})
		if err != nil {
			t.Fatal(err)
		}
		up.(*endpoint).client.Transport.(*http.Transport).DialContext = l.dial
		test(t, up)
		up.close()
		server.Close()
		<-served
	})
}

// stream makes a call and returns its error as the public one, with how long it took.
func stream(t *testing.T, up Upstream, emit func(schema.Event) error) (*schema.Error, time.Duration) {
	t.Helper()
	start := time.Now()
	_, err := up.Stream(t.Context(), ask("m", "Hello"), emit)
	var public *schema.Error
	if err != nil && !errors.As(err, &public) {
		t.Fatalf("err = %v, which is not a *schema.Error", err)
	}
	if public != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "far.example")) {
		t.Errorf("key or address in %q", err)
	}
	return public, time.Since(start)
}

func wantError(t *testing.T, got *schema.Error, status int, code string) {
	t.Helper()
	if got == nil || got.Status != status || got.Code != code {
		t.Errorf("error = %+v, want %d %s", got, status, code)
	}
}

func ignore(schema.Event) error { return nil }

const hello = `data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}` + "\n\n"
const goodbye = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"

// scripts is the same short answer, in two pieces, in each dialect whose decoder this package has to trust alone.
var scripts = map[string]struct{ hello, goodbye string }{
	"chat": {hello, goodbye},
	"messages": {
		`data: {"type":"message_start","message":{"usage":{"input_tokens":1}}}` + "\n\n" +
			`data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hello"}}` + "\n\n",
		`data: {"type":"content_block_stop","index":0}` + "\n\n" +
			`data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}` + "\n\n" +
			`data: {"type":"message_stop"}` + "\n\n",
	},
}

// inEachDialect runs a test in each dialect of scripts.
func inEachDialect(t *testing.T, test func(t *testing.T, dialect, hello, goodbye string)) {
	t.Helper()
	for dialect, s := range scripts {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			test(t, dialect, s.hello, s.goodbye)
		})
	}
}

func flush(w http.ResponseWriter, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// An upstream that takes the request and says nothing is given up after FirstByte.
func TestStream_GivesUpOnSilence(t *testing.T) {
	t.Parallel()
	inBubble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, up Upstream) {
		err, took := stream(t, up, ignore)
		wantError(t, err, 504, CodeTimeout)
		if took != 2*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// Headers are no answer: FirstByte holds until the body begins.
func TestStream_GivesUpOnHeadersAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		_ = flush(w, "")
		<-r.Context().Done()
	}, func(t *testing.T, up Upstream) {
		err, took := stream(t, up, ignore)
		wantError(t, err, 504, CodeTimeout)
		if took != 2*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// An upstream that falls silent in the midst of its answer is given up after Idle.
func TestStream_GivesUpOnSilenceInTheMiddle(t *testing.T) {
	t.Parallel()
	inEachDialect(t, func(t *testing.T, dialect, hello, _ string) {
		inBubbleOf(t, dialect, func(w http.ResponseWriter, r *http.Request) {
			_ = flush(w, hello)
			<-r.Context().Done()
		}, func(t *testing.T, up Upstream) {
			err, took := stream(t, up, ignore)
			wantError(t, err, 504, CodeTimeout)
			if took != time.Minute {
				t.Errorf("took %v", took)
			}
		})
	})
}

// Bytes that say nothing are no token: an upstream that only keeps the connection alive is given up after FirstToken.
func TestStream_GivesUpOnWaitingForAToken(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(30 * time.Second)
		defer tick.Stop()
		for flush(w, ": keepalive\n\n") == nil {
			select {
			case <-tick.C:
			case <-r.Context().Done():
			}
		}
	}, func(t *testing.T, up Upstream) {
		err, took := stream(t, up, ignore)
		wantError(t, err, 504, CodeTimeout)
		if took != 5*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// An upstream that drips a byte now and then, for ever, is given up after Total.
func TestStream_GivesUpOnDrip(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(59 * time.Second)
		defer tick.Stop()
		for err := flush(w, hello); err == nil; err = flush(w, ":") {
			select {
			case <-tick.C:
			case <-r.Context().Done():
			}
		}
	}, func(t *testing.T, up Upstream) {
		err, took := stream(t, up, ignore)
		wantError(t, err, 504, CodeTimeout)
		if took != time.Hour {
			t.Errorf("took %v", took)
		}
	})
}

// The time that an event takes downstream is not the upstream's silence.
func TestStream_DoesNotCountTheTimeOfEmit(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) { _ = flush(w, hello); _ = flush(w, goodbye) },
		func(t *testing.T, up Upstream) {
			err, took := stream(t, up, func(schema.Event) error { time.Sleep(5 * time.Minute); return nil }) // virtual time
			if err != nil {
				t.Error(err)
			}
			if took < 20*time.Minute {
				t.Errorf("took %v", took)
			}
		})
}

// After a finish_reason the connection may hang: the answer is there, and is given back soon.
func TestStream_NeedsNoEndBehindTheAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		_ = flush(w, hello+strings.TrimSuffix(goodbye, "data: [DONE]\n\n"))
		<-r.Context().Done()
	}, func(t *testing.T, up Upstream) {
		err, took := stream(t, up, ignore)
		if err != nil || took != trailerTime {
			t.Errorf("err = %v after %v", err, took)
		}
	})
}

// Cancelling the context ends the upstream's request, and the error says why.
func TestStream_CancelEndsTheRequest(t *testing.T) {
	t.Parallel()
	inEachDialect(t, func(t *testing.T, dialect, hello, _ string) {
		ended := make(chan struct{})
		inBubbleOf(t, dialect, func(w http.ResponseWriter, r *http.Request) {
			_ = flush(w, hello)
			<-r.Context().Done()
			close(ended)
		}, func(t *testing.T, up Upstream) {
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("fenced")
			_, err := up.Stream(ctx, ask("m", "Hello"), func(e schema.Event) error {
				if e.Type == schema.TextDelta {
					go cancel(why)
				}
				return nil
			})
			if !errors.Is(err, why) {
				t.Errorf("err = %v", err)
			}
			<-ended
		})
	})
}

// An error of emit ends the call at once and comes back as it is.
func TestStream_EmitErrorEndsTheCall(t *testing.T) {
	t.Parallel()
	inEachDialect(t, func(t *testing.T, dialect, hello, _ string) {
		ended := make(chan struct{})
		inBubbleOf(t, dialect, func(w http.ResponseWriter, r *http.Request) {
			_ = flush(w, hello)
			<-r.Context().Done()
			close(ended)
		}, func(t *testing.T, up Upstream) {
			full := errors.New("log is full")
			_, err := up.Stream(t.Context(), ask("m", "Hello"), func(schema.Event) error { return full })
			if err != full {
				t.Errorf("err = %v", err)
			}
			<-ended
		})
	})
}
