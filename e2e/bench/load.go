package main

import (
	"bufio"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// load keeps n responses streaming at rate tokens a second for a while and returns how long each token took from the
// upstream to the client.
func (b *bench) load(ctx context.Context, base string, n int, rate int) (spread, error) {
	var mu sync.Mutex
	var all spread
	g, ctx := errgroup.WithContext(ctx)
	for range n {
		g.Go(func() error {
			resp, err := create(ctx, b.client, base, order{rate: rate, count: int(b.live.Seconds() * float64(rate)), size: 16})
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
		ours, err := b.load(ctx, b.node.url, live, 50)
		if err != nil {
			return err
		}
		theirs, err := b.load(ctx, b.relay.url, live, 50)
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
		go func() { _, err := b.load(busy, base, 20, 50); done <- err }()
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

// measureThroughput prints how many events a second go through, when upstreams send as fast as they can.
func measureThroughput(ctx context.Context, b *bench) error {
	const live, count, size = 32, 5000, 256
	var perSecond [2]float64
	for i, base := range []string{b.node.url, b.relay.url} {
		began := time.Now()
		g, ctx := errgroup.WithContext(ctx)
		for range live {
			g.Go(func() error {
				resp, err := create(ctx, b.client, base, order{count: count, size: size})
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return tokens(resp.Body, func(time.Time) {})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		perSecond[i] = live * count / time.Since(began).Seconds()
	}
	row(fmt.Sprintf("events a second, %d live, %d B", live, size), fmt.Sprintf("%.0f", perSecond[0]), fmt.Sprintf("%.0f", perSecond[1]),
		ratio(perSecond[0], perSecond[1]))
	return nil
}
