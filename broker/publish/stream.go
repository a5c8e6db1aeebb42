package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Defaults of Config, and the pauses between two tries.
const (
	DefaultBuffer  = 4 << 20
	DefaultTimeout = 2 * time.Second

	pauseMin = 50 * time.Millisecond
	pauseMax = 2 * time.Second
)

var (
	// ErrClosed: the stream was closed before everything was stored.
	ErrClosed = errors.New("publish: stream is closed")
	// ErrEvent: what was given is not one JSON object on one line, or too large. Nothing of it was taken.
	ErrEvent = errors.New("publish: not an event")
)

// Config says which producer of which response a Stream is.
type Config struct {
	// Conn is the caller's, and stays open.
	Conn *nats.Conn
	// Tenant, Response and Producer: each 1 to 64 letters, digits, _ or -.
	Tenant, Response, Producer string
	// Epoch counts the starts of a producer. A producer that is started anew says again what it has said, or begins at Place.
	Epoch int64
	// Place is where the first event stands among the producer's: 0, unless an earlier process has sent some.
	Place int64
	// Buffer bounds what waits to be sent, in bytes (0: 4 MiB); then Send waits.
	Buffer int
	// Timeout bounds one try (0: 2 s).
	Timeout time.Duration
}

// Stream sends what one producer says of one response. It is safe for concurrent use; the order is that of the calls.
type Stream struct {
	cfg     Config
	js      jetstream.JetStream
	subject string

	mu    sync.Mutex
	moved sync.Cond // something below has changed
	queue [][]byte  // the events that are not stored
	bytes int
	place int64 // of the first of them
	last  bool  // nothing comes behind them
	ended bool  // and that is stored
	err   error

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns a stream that has sent nothing yet. Close it.
func New(cfg Config) (*Stream, error) {
	if cfg.Conn == nil {
		return nil, errors.New("publish: no connection")
	}
	subject, err := Subject(cfg.Tenant, cfg.Response, cfg.Producer)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if cfg.Buffer <= 0 {
		cfg.Buffer = DefaultBuffer
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	s := &Stream{cfg: cfg, js: js, subject: subject, place: cfg.Place, done: make(chan struct{})}
	s.moved.L = &s.mu
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		s.run()
	}()
	return s, nil
}

// Send queues one event, a JSON object on one line, and returns before it is stored. It waits while the buffer is full.
func (s *Stream) Send(ctx context.Context, event []byte) error {
	event = bytes.TrimSpace(event)
	if len(event) == 0 || event[0] != '{' || bytes.ContainsAny(event, "\r\n") || len(event) > MaxEvent {
		return fmt.Errorf("%w: %.40q", ErrEvent, event)
	}
	room := func() bool { return s.bytes == 0 || s.bytes+len(event) <= s.cfg.Buffer }
	return s.when(ctx, room, func() {
		s.queue, s.bytes = append(s.queue, bytes.Clone(event)), s.bytes+len(event)
	})
}

// Flush returns nil once every event that was sent is stored.
func (s *Stream) Flush(ctx context.Context) error {
	return s.when(ctx, func() bool { return len(s.queue) == 0 }, func() {})
}

// End says that nothing comes any more, and returns nil once that is stored, behind everything that was sent. Without it the producer
// has not ended, whatever its last event is.
func (s *Stream) End(ctx context.Context) error {
	at := func() bool { return true }
	if err := s.when(ctx, at, func() { s.last = true }); err != nil {
		return err
	}
	return s.when(ctx, func() bool { return s.ended }, func() {})
}

// Next is the place of the first event that is not known to be stored.
func (s *Stream) Next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

// Close stops sending, and waits for that. What is not stored by then may be or not: call Flush or End first.
func (s *Stream) Close() {
	s.cancel()
	s.fail(ErrClosed)
	<-s.done
}

// when waits until ready, and then does a step.
func (s *Stream) when(ctx context.Context, ready func() bool, step func()) error {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.moved.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ready() {
		switch {
		case s.err != nil:
			return s.err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		s.moved.Wait()
	}
	if s.err != nil {
		return s.err
	}
	step()
	s.moved.Broadcast()
	return nil
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.moved.Broadcast()
	}
}
