package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// run sends batch after batch, one at a time.
func (s *Stream) run() {
	for {
		b := s.next()
		if b == nil {
			return
		}
		if err := s.store(b); err != nil {
			s.fail(err)
			return
		}
		s.stored(b)
	}
}

// batch is the events of one message.
type batch struct {
	place  int64
	events [][]byte
	bytes  int
	last   bool
}

// next waits for something to send; nil says that the stream has ended.
func (s *Stream) next() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.queue) == 0 && (!s.last || s.ended) {
		s.moved.Wait()
	}
	if s.err != nil {
		return nil
	}
	b := &batch{place: s.place}
	for _, e := range s.queue {
		if len(b.events) > 0 && (len(b.events) == MaxEvents || b.bytes+len(e) > MaxBytes) {
			break
		}
		b.events, b.bytes = append(b.events, e), b.bytes+len(e)
	}
	b.last = s.last && len(b.events) == len(s.queue)
	return b
}

// stored takes a batch out of the queue.
func (s *Stream) stored(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.bytes, s.place = s.queue[len(b.events):], s.bytes-b.bytes, s.place+int64(len(b.events))
	s.ended = b.last
	s.moved.Broadcast()
}

// store sends a batch until it is acknowledged, or refused for good.
func (s *Stream) store(b *batch) error {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := s.try(b)
		if err == nil || s.ctx.Err() != nil {
			return err
		}
		if hopeless(err) {
			return fmt.Errorf("publish %s: %w", s.subject, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return ErrClosed
		}
	}
}

func (s *Stream) try(b *batch) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeout)
	defer cancel()
	msg := &nats.Msg{Subject: s.subject, Data: append(bytes.Join(b.events, []byte("\n")), '\n'), Header: nats.Header{
		HeaderPlace: {strconv.FormatInt(b.place, 10)},
		HeaderEpoch: {strconv.FormatInt(s.cfg.Epoch, 10)},
		HeaderLast:  {strconv.FormatBool(b.last)}, // where a message ends is chance: an event in it says nothing of the producer's end
	}}
	_, err := s.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	return err
}

// hopeless reports whether sending the same again cannot help: the bytes, the subject or the permission are wrong. A stream that
// is full has room again, and one that cannot be found has no leader yet.
func hopeless(err error) bool {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, nats.ErrPermissionViolation) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code >= 400 && api.Code < 500 && api.Code != 404
}
