package sseserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// lane makes the responses of one stream_id, one after the other. It belongs to one goroutine, but for its queue.
type lane struct {
	*socket
	name    string
	queue   chan *message
	serving atomic.Pointer[string] // the id of the response that it serves
}

func (l *lane) run(ctx context.Context) {
	for {
		select {
		case m := <-l.queue:
			_ = l.guard(l.name, func() error { l.serve(ctx, m); return nil })
		case <-ctx.Done():
			return // what waits was never begun, and no client was told else
		}
	}
}

// serve makes one response and sends its events, or says why not.
func (l *lane) serve(ctx context.Context, m *message) {
	select {
	case l.active <- struct{}{}:
		defer func() { <-l.active }()
	case <-ctx.Done():
		return
	}
	ctx, span := l.server.cfg.Tracer.Start(ctx, messageCreate)
	defer span.End()
	release := sync.OnceFunc(func() { l.waiting.Release(m.size) })
	defer release()
	o, ref, err := l.place(ctx, m)
	release()
	if err == nil {
		err = l.follow(ctx, o, ref)
	}
	if err == nil || ctx.Err() != nil { // done, or nobody is there to be told
		return
	}
	if o == nil {
		l.recall.evict(m.previous(), l.name)
	}
	_ = l.refuse(l.name, err) // a write that fails ends the socket by itself
}

// place turns a message into a response.
func (l *lane) place(ctx context.Context, m *message) (*order, schema.Ref, error) {
	if _, err := l.server.spend(l.tenant); err != nil {
		return nil, schema.Ref{}, err
	}
	body := m.create()
	req, err := l.server.parse(ctx, body)
	if err != nil {
		return nil, schema.Ref{}, err
	}
	if req.Backgrounds() {
		return nil, schema.Ref{}, schema.Refuse(schema.CodeUnsupported, "background",
			"A WebSocket has no background: its responses go on without it in any case.")
	}
	sum := sha256.Sum256(body)
	o := &order{tenant: l.tenant, digest: hex.EncodeToString(sum[:]), size: int64(len(body)), trace: traceparent(ctx), at: m.at, req: req}
	if err := l.recall.restore(o); err != nil {
		return nil, schema.Ref{}, err
	}
	p, err := l.server.place(ctx, o)
	if err != nil {
		return nil, schema.Ref{}, err
	}
	return o, p.ref, nil
}

// follow sends the events of a response to its end. A follower that is cut off is followed by another one, behind the last
// event that was sent.
func (l *lane) follow(ctx context.Context, o *order, ref schema.Ref) error {
	l.serving.Store(new(ref.Response()))
	defer l.serving.Store(nil)
	after := start.after
	for cuts := 0; ; cuts++ {
		var err error
		after, err = l.followFrom(ctx, o, ref, after)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			l.cut.Add(1)
			return err
		case errors.Is(err, hub.ErrGone):
			return erased("")
		case !errors.Is(err, hub.ErrCut) || cuts == awaitCuts:
			return lost(ref, fmt.Errorf("follow the new %s: %w", ref, err))
		}
	}
}

func (l *lane) followFrom(ctx context.Context, o *order, ref schema.Ref, after int64) (int64, error) {
	f, err := l.server.cfg.Follow(ctx, ref, after)
	if err != nil {
		return after, err
	}
	defer f.Close()
	for {
		frames, err := f.Next(ctx)
		if errors.Is(err, io.EOF) {
			return f.Seq(), nil
		}
		if err == nil {
			err = l.send(o, ref, frames)
		}
		if err != nil {
			return f.Seq(), err
		}
	}
}

// send sends each frame's event as a message.
func (l *lane) send(o *order, ref schema.Ref, frames []byte) error {
	for len(frames) > 0 {
		f, rest, err := schema.CutFrame(frames)
		if err != nil {
			return fmt.Errorf("serve %s: %w", ref, err)
		}
		if f.ID == 0 {
			l.server.metrics.firstEvent.WithLabelValues(kindSocket).Observe(time.Since(o.at).Seconds())
		}
		if f.Type.Terminal() {
			if err := l.settle(o, ref, f.Type, frames); err != nil {
				return err
			}
		}
		event := tag(f.Data, l.name)
		if err := l.write(event); err != nil {
			return err
		}
		l.server.metrics.events.Inc()
		l.server.metrics.bytes.Add(float64(len(event)))
		frames = rest
	}
	return nil
}

// settle learns from a terminal event what can be gone on from, before the client knows that it may.
func (l *lane) settle(o *order, ref schema.Ref, how schema.EventType, frame []byte) error {
	switch {
	case how == schema.Failed && o.req.PreviousResponseID != nil:
		l.recall.evict(*o.req.PreviousResponseID, l.name)
		return nil
	case how == schema.Failed || o.req.Stores():
		return nil
	}
	state, err := schema.FoldTerminal(frame)
	if err != nil {
		return fmt.Errorf("serve %s: %w", ref, err)
	}
	return l.recall.keep(ref.Response(), l.name, o, state.Response().Output)
}
