package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// liveRate is how many tokens a second a live response streams, where latency is measured.
const liveRate = 50

// load keeps n responses streaming at liveRate for a while and returns how long each token took from the
// upstream to the client.
func (b *bench) load(ctx context.Context, base string, n int) (spread, error) {
	var mu sync.Mutex
	var all spread
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error {
			// Streams that begin together would send each token at the same moment, which nobody's do.
			time.Sleep(time.Second / liveRate * time.Duration(i) / time.Duration(n))
			resp, err := create(ctx, b.client, base, order{rate: liveRate, count: int(b.live.Seconds() * liveRate), size: 16})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var own spread
			err = tokens(resp.Body, func(sent time.Time) { own = append(own, time.Since(sent)) })
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			return err
		})
	}
	err := g.Wait()
	return all, err
}

// measureLatency prints what a token takes from the upstream's socket to the client's.
func measureLatency(ctx context.Context, b *bench) error {
	for _, live := range []int{20, 400} {
		ours, err := b.load(ctx, b.node.url, live)
		if err != nil {
			return err
		}
		theirs, err := b.load(ctx, b.relay.url, live)
		if err != nil {
			return err
		}
		row(fmt.Sprintf("token in to frame out, %d live at 50/s", live), ours.String(), theirs.String(),
			ratio(float64(ours.at(.5)), float64(theirs.at(.5))))
	}
	return nil
}

// measureCreated prints the time from POST to the frame of response.created, while 20 others stream.
func measureCreated(ctx context.Context, b *bench) error {
	var got [2]spread
	for i, base := range []string{b.node.url, b.relay.url} {
		busy, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { _, err := b.load(busy, base, 20); done <- err }()
		err := b.createMany(ctx, base, 500, &got[i])
		stop()
		if <-done; err != nil {
			return err
		}
	}
	row("POST to response.created, 20 live", got[0].String(), got[1].String(), ratio(float64(got[0].at(.5)), float64(got[1].at(.5))))
	return nil
}

func (b *bench) createMany(ctx context.Context, base string, n int, out *spread) error {
	for range n {
		began := time.Now()
		resp, err := create(ctx, b.client, base, order{count: 1, size: 1})
		if err != nil {
			return err
		}
		lines := bufio.NewReader(resp.Body)
		if _, err := lines.ReadString('\n'); err != nil {
			resp.Body.Close()
			return fmt.Errorf("read first frame: %w", err)
		}
		*out = append(*out, time.Since(began))
		err = tokens(lines, func(time.Time) {})
		resp.Body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// The load of measureThroughput: responses at once, one after the other, tokens of each, bytes of a token.
const (
	flowLive  = 32
	flowTurns = 4
	flowCount = 1250
	flowSize  = 256
)

// measureThroughput prints how many events a second go through, and what one costs, when upstreams send as fast as they
// can.
func measureThroughput(ctx context.Context, b *bench) error {
	var perSecond, cost [2]float64
	for i, p := range []*process{b.node, b.relay} {
		before, err := p.cpu()
		if err != nil {
			return err
		}
		began := time.Now()
		if err := b.flow(ctx, p.url); err != nil {
			return err
		}
		took := time.Since(began)
		after, err := p.cpu()
		if err != nil {
			return err
		}
		const events = flowLive * flowTurns * flowCount
		perSecond[i] = events / took.Seconds()
		cost[i] = float64((after - before).Microseconds()) / events
	}
	name := fmt.Sprintf("%d live, %d tokens of %d B each", flowLive, flowCount, flowSize)
	row("events a second, "+name, fmt.Sprintf("%.0f", perSecond[0]), fmt.Sprintf("%.0f", perSecond[1]), ratio(perSecond[0], perSecond[1]))
	row("processor time of the server an event", fmt.Sprintf("%.1f µs", cost[0]), fmt.Sprintf("%.1f µs", cost[1]), ratio(cost[0], cost[1]))
	return nil
}

// flow streams as fast as upstreams send.
func (b *bench) flow(ctx context.Context, base string) error {
	g, ctx := errgroup.WithContext(ctx)
	for range flowLive {
		g.Go(func() error {
			for range flowTurns {
				if err := b.drain(ctx, base, order{count: flowCount, size: flowSize}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// drain reads one response to its end.
func (b *bench) drain(ctx context.Context, base string, o order) error {
	resp, err := create(ctx, b.client, base, o)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	return nil
}
