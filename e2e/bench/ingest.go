package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/midstream-dev/midstream/broker/publish"
)

// sender is a producer outside of the node. Send may return before the event is stored; End does not.
type sender interface {
	Send(ctx context.Context, event []byte) error
	End(ctx context.Context) error
	Close()
}

// way is how a producer's events come in.
type way struct {
	name string
	open func(ctx context.Context, b *bench, id string) (sender, error)
}

var ways = []way{{"HTTP", openHTTP}, {"NATS", openNATS}}

// benchProducer is the one producer of each response.
const benchProducer = "bench"

// natsUser and natsPassword are those of the node's embedded server.
const (
	natsUser     = "bench"
	natsPassword = "bench"
)

func (b *bench) connect() (*nats.Conn, error) {
	conn, err := nats.Connect("nats://"+b.nats, nats.UserInfo(natsUser, natsPassword))
	if err != nil {
		return nil, fmt.Errorf("connect to the node's NATS: %w", err)
	}
	return conn, nil
}

// overNATS sends by broker/publish, each producer on a connection of its own.
type overNATS struct {
	*publish.Stream
	conn *nats.Conn
}

func openNATS(_ context.Context, b *bench, id string) (sender, error) {
	conn, err := b.connect()
	if err != nil {
		return nil, err
	}
	s, err := publish.New(publish.Config{Conn: conn, Tenant: "default", Response: id, Producer: benchProducer})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return overNATS{s, conn}, nil
}

func (o overNATS) Close() {
	o.Stream.Close()
	o.conn.Close()
}

// overHTTP sends newline-delimited JSON in one body, each event as it comes.
type overHTTP struct {
	body *io.PipeWriter
	done chan error
}

func openHTTP(ctx context.Context, b *bench, id string) (sender, error) {
	read, write := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.node.url+"/v1/responses/"+id+"/events", read)
	if err != nil {
		return nil, fmt.Errorf("post events: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Midstream-Producer", benchProducer)
	o := overHTTP{write, make(chan error, 1)}
	go func() {
		resp, err := do(b.client, req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		read.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		o.done <- err
	}()
	return o, nil
}

func (o overHTTP) Send(_ context.Context, event []byte) error {
	if _, err := o.body.Write(append(event, '\n')); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	return nil
}

func (o overHTTP) End(context.Context) error {
	o.body.Close()
	return <-o.done
}

func (o overHTTP) Close() { o.body.Close() }

// declare opens a response that waits for its producer.
func (b *bench) declare(ctx context.Context) (string, error) {
	resp, err := post(ctx, b.client, b.node.url+"/v1/responses", map[string]any{
		"model": "bench", "midstream": map[string]any{"producers": []string{benchProducer}},
	})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var opened struct {
		ID string `json:"id"`
	}
	if err := json.UnmarshalRead(resp.Body, &opened); err != nil {
		return "", fmt.Errorf("declare: %w", err)
	}
	return opened.ID, nil
}

// fed has one response fed as an order says, and returns what each token took to a reader.
func (b *bench) fed(ctx context.Context, w way, o order) (own spread, err error) {
	id, err := b.declare(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := b.follow(ctx, b.client, id)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return tokens(resp.Body, func(sent time.Time) { own = append(own, time.Since(sent)) }) })
	g.Go(func() error {
		s, err := w.open(ctx, b, id)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := say(ctx, o, func(event []byte) error { return s.Send(ctx, event) }); err != nil {
			return err
		}
		return s.End(ctx)
	})
	return own, g.Wait()
}

// say gives out what the model of the bench says, as the events that a dialect of ours makes of it.
func say(ctx context.Context, o order, send func([]byte) error) error {
	tick := make(<-chan time.Time)
	if o.rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(o.rate))
		defer t.Stop()
		tick = t.C
	}
	err := send([]byte(`{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}`))
	var said bytes.Buffer
	pad := strings.Repeat("x", o.size)
	for range o.count {
		if err != nil {
			return err
		}
		if o.rate > 0 {
			select {
			case <-tick:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		token := fmt.Sprintf("t=%d %s", time.Now().UnixNano(), pad)
		said.WriteString(token)
		err = send(fmt.Appendf(nil, `{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":%q}`, token))
	}
	if err != nil {
		return err
	}
	err = send(fmt.Appendf(nil, `{"type":"response.output_item.done","item":{"id":"m","type":"message","role":"assistant",`+
		`"content":[{"type":"output_text","text":%q}]}}`, said.String()))
	return errors.Join(err, send([]byte(`{"type":"response.completed","response":{"id":"r","status":"completed"}}`)))
}

// feedMany has n responses fed at once, so many times one after the other.
func (b *bench) feedMany(ctx context.Context, w way, n, turns int, o order) (all spread, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for range n {
		g.Go(func() error {
			for range turns {
				own, err := b.fed(ctx, w, o)
				if err != nil {
					return err
				}
				mu.Lock()
				all = append(all, own...)
				mu.Unlock()
			}
			return nil
		})
	}
	err = g.Wait()
	return all, err
}
