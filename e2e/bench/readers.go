package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// open begins a response and returns its id; the caller closes the stream.
func (b *bench) open(ctx context.Context, o order) (string, io.ReadCloser, error) {
	resp, err := create(ctx, b.client, b.node.url, o)
	if err != nil {
		return "", nil, err
	}
	id, err := responseID(bufio.NewReader(resp.Body))
	if err != nil {
		resp.Body.Close()
		return "", nil, err
	}
	return id, resp.Body, nil
}

// follow attaches one more reader to a response.
func (b *bench) follow(ctx context.Context, c *http.Client, id string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.node.url+"/v1/responses/"+id+"?stream=true", nil)
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", id, err)
	}
	return do(c, req)
}

// measureFanout prints what a token takes to each of many readers of one response.
func measureFanout(ctx context.Context, b *bench) error {
	for _, readers := range []int{50, 200, 500, 1000} {
		all, err := b.fanout(ctx, readers)
		if err != nil {
			return err
		}
		row(fmt.Sprintf("fan-out to %d readers of one response at 20/s", readers), all.String(), "", "")
	}
	return nil
}

func (b *bench) fanout(ctx context.Context, readers int) (spread, error) {
	id, stream, err := b.open(ctx, order{rate: 20, count: int(b.live.Seconds()) * 20, size: 16})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return b.readers(ctx, id, readers, time.Second) // readers that are still attaching are not the fan-out
}

// readers has many readers hear a response to its end, and tells how long each token took to each of them, but for the first.
func (b *bench) readers(ctx context.Context, id string, readers int, ignored time.Duration) (spread, error) {
	var mu sync.Mutex
	var all spread
	g, ctx := errgroup.WithContext(ctx)
	for range readers {
		g.Go(func() error {
			resp, err := b.follow(ctx, b.client, id)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			attached := time.Now().Add(ignored)
			var own spread
			err = tokens(resp.Body, func(sent time.Time) {
				if sent.After(attached) {
					own = append(own, time.Since(sent))
				}
			})
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			return err
		})
	}
	err := g.Wait()
	return all, err
}

// settle is how long memory is given to come to rest before it is read.
const settle = 3 * time.Second

// measureIdle prints what a subscriber costs that waits for a response which says nothing.
func measureIdle(ctx context.Context, b *bench) error {
	id, stream, err := b.open(ctx, order{rate: 1000, count: 20, size: 16, hold: 10})
	if err != nil {
		return err
	}
	defer stream.Close()
	before, err := b.node.resident()
	if err != nil {
		return err
	}
	reads, err := b.counter(ctx, "midstream_hub_reads_total")
	if err != nil {
		return err
	}
	idle, stop := context.WithCancel(ctx)
	defer stop()
	g, idle := errgroup.WithContext(idle)
	g.SetLimit(200) // attaching, not attached: the bodies stay open below
	var mu sync.Mutex
	var open []io.Closer
	for range b.idle {
		g.Go(func() error {
			resp, err := b.follow(idle, b.client, id)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			open = append(open, resp.Body)
			return nil
		})
	}
	err = g.Wait()
	time.Sleep(settle)
	after, failed := b.node.resident()
	read, uncounted := b.counter(ctx, "midstream_hub_reads_total")
	for _, body := range open {
		body.Close()
	}
	b.upstream.release()
	if err := errors.Join(err, failed, uncounted); err != nil {
		return fmt.Errorf("attach %d readers: %w", b.idle, err)
	}
	each := float64(after-before) / float64(b.idle) / 1024
	row(fmt.Sprintf("resident memory of an idle subscriber, %d of them", b.idle), fmt.Sprintf("%.1f KiB", each), "", "")
	row("reads of the log for all of those", fmt.Sprintf("%.0f", read-reads), "", "")
	return nil
}

// counter sums one of the node's metrics over its labels.
func (b *bench) counter(ctx context.Context, name string) (sum float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.node.url+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	resp, err := do(b.client, req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text := lines.Text(); strings.HasPrefix(text, name) {
			n, err := strconv.ParseFloat(text[strings.LastIndexByte(text, ' ')+1:], 64)
			if err != nil {
				return 0, fmt.Errorf("read metrics: %w", err)
			}
			sum += n
		}
	}
	return sum, lines.Err()
}

// measureResume prints how long a finished response of 1 000 tokens takes to its last byte, with others stored around it.
func measureResume(ctx context.Context, b *bench) error {
	var ids []string
	for range 20 {
		id, stream, err := b.open(ctx, order{count: 1000, size: 16})
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, stream)
		stream.Close()
		if err != nil {
			return fmt.Errorf("read response to resume: %w", err)
		}
		ids = append(ids, id)
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	var all spread
	for i := range 200 {
		began := time.Now()
		resp, err := b.follow(ctx, b.client, ids[i%len(ids)])
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return fmt.Errorf("resume: %w", err)
		}
		all = append(all, time.Since(began))
	}
	row(fmt.Sprintf("resume of a finished response, 1000 tokens, %d stored", b.stored), all.String(), "", "")
	return nil
}

// fill stores short responses, and waits until hubs have forgotten those that will be resumed.
func (b *bench) fill(ctx context.Context) error {
	g, filling := errgroup.WithContext(ctx)
	g.SetLimit(32)
	began := time.Now()
	for range b.stored {
		g.Go(func() error {
			return b.drain(filling, b.node.url, order{count: 5, size: 16})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	rate := float64(b.stored) / time.Since(began).Seconds()
	row(fmt.Sprintf("short responses a second, 32 at once, %d of them", b.stored), fmt.Sprintf("%.0f", rate), "", "")
	return nil
}
