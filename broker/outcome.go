package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The error codes of JetStream that mean something here. Compare codes, never text: two of them have the same text.
const (
	codeNoPeers        jetstream.ErrorCode = 10005 // fewer servers are there, or have room, than a stream has replicas
	codeUnavailable    jetstream.ErrorCode = 10008 // no leader of the cluster yet
	codeInsufficient   jetstream.ErrorCode = 10023 // a limit of the account or the server
	codeNoMessage      jetstream.ErrorCode = 10037
	codeNoStorage      jetstream.ErrorCode = 10047
	codeTooLarge       jetstream.ErrorCode = 10054
	codeNoStream       jetstream.ErrorCode = 10059 // also while a cluster starts
	codeWrongLast      jetstream.ErrorCode = 10071 // the subject's last message is not the one that was expected
	codeTooMany        jetstream.ErrorCode = 10167 // the stream's own queue is full: the message was dropped
	codeStoreFailed    jetstream.ErrorCode = 10077 // the stream is full
	codeWrongLastBusy  jetstream.ErrorCode = 10164 // another append to the subject is in process, or was a moment ago
	codeDuplicateInFly jetstream.ErrorCode = 10158
)

// verdict is what an attempt to append means.
type verdict int

const (
	// again: not stored as far as anybody knows, or stored and the answer was lost. Send the same bytes again.
	again verdict = iota
	// doubt: the subject's last message is another than expected. It may be mine. Ask the leader.
	doubt
	// refused: these bytes will never be stored.
	refused
)

// judge reads the error of an append. What it does not know is tried again: the expected sequence makes that harmless.
func judge(err error) verdict {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || closed(err) {
		return refused
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return again
	}
	switch api.ErrorCode {
	case codeWrongLast:
		return doubt
	case codeWrongLastBusy, codeDuplicateInFly, codeNoStream, codeTooMany:
		return again
	case codeTooLarge:
		return refused
	}
	if api.Code >= 400 && api.Code < 500 {
		return refused
	}
	return again
}

// closed reports whether our own side has ended the connection: nothing will ever be answered on it.
func closed(err error) bool {
	return errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining)
}

// errNoRoom is a try that was not made: see disk.full.
var errNoRoom = errors.New("the disk is full")

// full reports whether err says that there is no room.
func full(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return errors.Is(err, errNoRoom)
	}
	return api.ErrorCode == codeStoreFailed || api.ErrorCode == codeNoStorage || api.ErrorCode == codeInsufficient
}

// answered reports whether err is what JetStream said.
func answered(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api)
}

// unsent reports whether err says that no server has stored anything: there was no connection to send on, or nobody to take
// it, or it was not tried.
func unsent(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, errNoRoom)
}

// unreachable reports whether JetStream gave no answer, or could not give one yet, as a cluster does that is starting.
func unreachable(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == codeUnavailable
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse)
}

// noPeers reports whether a stream has no place: for good, or because a cluster that is starting is not complete.
func noPeers(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeNoPeers
}

// noMessage reports whether a read found nothing, as opposed to having no answer.
func noMessage(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeNoMessage
}

// The waits between tries. The first is as short as the moment in which a leader still holds the last append in process;
// the last is short against an election of 4 to 9 s.
const (
	firstWait = 2 * time.Millisecond
	lastWait  = 500 * time.Millisecond
)

// backoff doubles its wait on every try, with jitter.
type backoff struct{ next time.Duration }

// wait returns ctx's error if it ends first.
func (b *backoff) wait(ctx context.Context) error {
	b.next = min(max(2*b.next, firstWait), lastWait)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reason names an error for a metric: few values, no text from outside.
func reason(err error) string {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, errNoRoom):
		return "disk_full"
	case errors.As(err, &api):
		return strconv.Itoa(int(api.ErrorCode))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "timeout"
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return "no_responders"
	}
	return "connection"
}
