package sseserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/semaphore"

	"github.com/midstream-dev/midstream/schema"
)

// socket is one WebSocket: a reader that hands creates to lanes, the lanes, and a ping now and then. Whichever of them
// fails ends it, with the cause.
type socket struct {
	server    *Server
	conn      *websocket.Conn
	peer      *peer
	tenant    string
	requestID string
	limits    SocketLimits
	end       context.CancelCauseFunc

	lanes   map[string]*lane // the reader's alone
	working sync.WaitGroup
	active  chan struct{}       // a place for each response that runs
	waiting *semaphore.Weighted // bytes of creates that wait
	recall  *recollection

	full atomic.Bool  // the reader waits for room
	cut  atomic.Int64 // responses that the end of the connection has cut off
}

// errSocketAge ends a connection that has been open for as long as one may be.
var errSocketAge = errors.New("the connection reached its limit of time")

// errPeerLeft ends a connection whose peer has closed it, in whatever way. The cause itself stays out of it: an io.EOF
// means something else to those who read a log.
var errPeerLeft = errors.New("the peer has left")

// errSilent ends a connection whose peer answers no pings.
var errSilent = errors.New("the peer answers no pings")

func newSocket(s *Server, conn *websocket.Conn, p *peer, tenant, requestID string) *socket {
	conn.SetReadLimit(-1) // the library's own would close the connection: see next
	l := s.cfg.Socket
	return &socket{
		server: s, conn: conn, peer: p, tenant: tenant, requestID: requestID, limits: l, lanes: map[string]*lane{},
		active: make(chan struct{}, l.Active), waiting: semaphore.NewWeighted(l.QueueBytes), recall: newRecollection(l),
	}
}

// run serves the socket until ctx ends, or it does, and returns the cause. The runs of its responses go on.
//
// The library closes a connection without a word when the context of a read ends. So reads have one of their own, which
// outlives the last words.
func (k *socket) run(ctx context.Context) error {
	ctx, k.end = context.WithCancelCause(ctx)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	aged := time.AfterFunc(k.limits.Age, func() { k.end(errSocketAge) })
	k.working.Go(func() { k.end(k.read(ctx, reading)) })
	k.working.Go(func() { k.end(k.keepAlive(ctx)) })
	<-ctx.Done()
	aged.Stop()
	cause := context.Cause(ctx)
	k.close(cause)
	stop()
	k.working.Wait()
	return cause
}

// close says why, where the client can do something about it. Both codes make openai-node connect again, if it was told
// to; 1012 is the one of the two after which openai-go does.
func (k *socket) close(cause error) {
	switch {
	case errors.Is(cause, errDraining):
		_ = k.conn.Close(websocket.StatusServiceRestart, "this node is going down, its responses go on")
	case errors.Is(cause, errSocketAge):
		_ = k.refuse("", schema.Refuse(codeSocketAge, "",
			"A connection may be open for %s. Open another one to go on: responses that run go on, and can be read by their ids.", k.limits.Age))
		_ = k.conn.Close(websocket.StatusGoingAway, errSocketAge.Error())
	}
	_ = k.conn.CloseNow() // behind a Close it does nothing
}

// read takes messages until the peer has no more, or ctx ends. While it hands one over it reads none: a client that sends
// faster than its responses run fills its own buffers.
func (k *socket) read(ctx, reading context.Context) error {
	for ctx.Err() == nil {
		data, err := k.next(reading)
		if errors.Is(err, io.EOF) || websocket.CloseStatus(err) != -1 {
			return errPeerLeft
		}
		if refusal := (*schema.Error)(nil); errors.As(err, &refusal) {
			err = k.refuse("", refusal)
		} else if err == nil {
			err = k.guard("", func() error { return k.take(ctx, data) })
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// next reads one message, whole. A message that cannot be taken is read to its end all the same: the connection goes on.
func (k *socket) next(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kind, r, err := k.conn.Reader(ctx)
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(k.server.cfg.BodyTimeout, cancel)
	defer late.Stop()
	k.server.metrics.sockets.received.Inc()
	limit := k.server.cfg.MaxBody
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	switch {
	case kind != websocket.MessageText:
		return nil, notText()
	case int64(len(data)) > limit:
		return nil, tooLarge(limit)
	}
	return data, nil
}

// take does what a message asks for. What cannot be done is told, and ends nothing.
func (k *socket) take(ctx context.Context, data []byte) error {
	m, refusal := readMessage(data)
	switch {
	case refusal != nil:
		return k.refuse(m.lane, refusal)
	case m.kind == messageSteer:
		return k.refuseSteer(m)
	}
	l := k.lane(ctx, m.lane)
	if l == nil {
		return k.refuse(m.lane, tooManyLanes(k.limits.Lanes))
	}
	k.full.Store(true)
	defer k.full.Store(false)
	if err := k.waiting.Acquire(ctx, m.size); err != nil {
		return err
	}
	select {
	case l.queue <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lane returns the lane of that name, a new one if there is none yet; nil if there are too many.
func (k *socket) lane(ctx context.Context, name string) *lane {
	if l := k.lanes[name]; l != nil {
		return l
	}
	named := len(k.lanes)
	if k.lanes[""] != nil {
		named--
	}
	if name != "" && named >= k.limits.Lanes {
		return nil
	}
	l := &lane{socket: k, name: name, queue: make(chan *message, k.limits.Queue)}
	k.lanes[name] = l
	k.working.Go(func() { l.run(ctx) })
	return l
}

// refuseSteer answers in the lane of the response that was meant, if that runs here.
func (k *socket) refuseSteer(m *message) error {
	name, meant := m.lane, m.previous()
	for _, l := range k.lanes {
		if at := l.serving.Load(); at != nil && *at == meant {
			name = l.name
		}
	}
	event, err := steerFailed(m)
	if err != nil {
		return err
	}
	return k.write(tag(event, name))
}

// refuse tells the client what cannot be done. A cause that this hides is logged here, once.
func (k *socket) refuse(lane string, cause error) error {
	refusal, hidden := refusalOf(cause)
	if hidden {
		k.server.log.Error("request failed", slog.String("request_id", k.requestID), slog.String("method", "WebSocket"),
			slog.String("route", socketPath), slog.Any("error", cause))
	}
	event, err := errorEvent(refusal, cause)
	if err != nil {
		return err
	}
	return k.write(tag(event, lane))
}

// guard makes a refusal of a panic. net/http does so for a handler, but not for the goroutines of a socket: there it would
// end the process, and every stream of this node.
func (k *socket) guard(lane string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = k.refuse(lane, panicked(p))
		}
	}()
	return do()
}

// write sends one message. Lanes that write at once wait for each other. There is no context in it, for its end would
// close the connection in the middle of a message: the peer's deadlines bound it.
func (k *socket) write(data []byte) error {
	if err := k.conn.Write(context.Background(), websocket.MessageText, data); err != nil {
		k.end(err)
		return err
	}
	k.server.metrics.sockets.sent.Inc()
	return nil
}

// maxSilence is how many pings in a row a peer may leave unanswered.
const maxSilence = 2

// keepAlive sends pings, so that no proxy takes the connection for dead, and ends it if it is. A peer that is busy taking
// a large message, or whose answer waits behind creates for which there is no room, is not silent.
func (k *socket) keepAlive(ctx context.Context) error {
	every := k.server.cfg.Heartbeat
	tick := time.NewTicker(every)
	defer tick.Stop()
	for silence := 0; silence < maxSilence; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		answered := k.ping(ctx, every)
		if answered || k.peer.writing.Load() || k.full.Load() {
			silence = 0
		} else {
			silence++
		}
	}
	return errSilent
}

func (k *socket) ping(ctx context.Context, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return k.conn.Ping(ctx) == nil
}
