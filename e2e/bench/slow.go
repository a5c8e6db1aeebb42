package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// The load of measureSlow: readers of one response that streams tokens of slowSize bytes at slowRate a second.
const (
	slowRate    = 5
	slowSize    = 8192
	slowHealthy = 200
	// dripBytes is what a reader that does read, only too slowly, takes a second.
	dripBytes = 100
	// perSource is how many connections come from one address of the loopback network: ports run out.
	perSource = 5000
)

// measureSlow prints what readers cost that do not read, or hardly, and what they cost the others.
func measureSlow(ctx context.Context, b *bench) error {
	alone, err := b.slow(ctx, 0)
	if err != nil {
		return err
	}
	beside, err := b.slow(ctx, b.slowReaders)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d healthy readers of one response at %d/s", slowHealthy, slowRate)
	row(name, alone.healthy.String(), "", "")
	row(fmt.Sprintf("the same beside %d that do not read", b.slowReaders), beside.healthy.String(), "",
		"p99 "+ratio(float64(beside.healthy.at(.99)), float64(alone.healthy.at(.99))))
	each := float64(b.slowReaders) * 1024
	row("a reader that does not read: node, and kernel", fmt.Sprintf("%.0f + %.0f KiB",
		float64(beside.resident-alone.resident)/each, float64(beside.kernel-alone.kernel)/each), "", "")
	return nil
}

// slowness is what one run of slow has found: how long tokens took to the healthy, and the most memory that was held more
// than before.
type slowness struct {
	healthy          spread
	resident, kernel int64
}

func (b *bench) slow(ctx context.Context, n int) (*slowness, error) {
	count := int(b.live.Seconds()) * slowRate
	id, stream, err := b.open(ctx, order{rate: slowRate, count: count, size: slowSize})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	go func() { _, _ = io.Copy(io.Discard, stream) }() // ends with the stream
	before, err := b.memory()
	if err != nil {
		return nil, err
	}
	lazy, stop := context.WithCancel(ctx)
	defer stop()
	if err := b.attachSlow(lazy, id, n); err != nil {
		return nil, err
	}
	out := &slowness{}
	watched := make(chan error, 1)
	watching, enough := context.WithCancel(ctx)
	go func() { watched <- b.most(watching, before, out) }()
	out.healthy, err = b.readers(ctx, id, slowHealthy, b.live/3) // by then the others take no more
	enough()
	return out, errors.Join(err, <-watched)
}

// attachSlow opens n connections to a response: one in ten reads a little, the others nothing.
func (b *bench) attachSlow(ctx context.Context, id string, n int) error {
	g, attaching := errgroup.WithContext(ctx)
	g.SetLimit(100)
	for i := range n {
		g.Go(func() error {
			from := net.IPv4(127, 0, 1, byte(1+i/perSource))
			c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Control: small}).DialContext(attaching, "tcp", strings.TrimPrefix(b.node.url, "http://"))
			if err != nil {
				return fmt.Errorf("attach slow reader %d: %w", i, err)
			}
			if _, err := fmt.Fprintf(c, "GET /v1/responses/%s?stream=true HTTP/1.1\r\nHost: localhost\r\n\r\n", id); err != nil {
				return fmt.Errorf("attach slow reader %d: %w", i, err)
			}
			go drip(ctx, c, i%10 == 0)
			return nil
		})
	}
	return g.Wait()
}

// small makes the client's end of a connection small: what that holds is no cost of the node's machine.
func small(_, _ string, c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10) })
	return errors.Join(err, failed)
}

// drip holds a connection until ctx ends, and reads dripBytes a second if it reads at all.
func drip(ctx context.Context, c net.Conn, reads bool) {
	defer c.Close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	buf := make([]byte, dripBytes)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !reads {
			continue
		}
		if _, err := c.Read(buf); err != nil {
			return // cut
		}
	}
}

// memory is what the node and the kernel's TCP hold now.
func (b *bench) memory() (m slowness, err error) {
	if m.resident, err = b.node.resident(); err != nil {
		return m, err
	}
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return m, fmt.Errorf("read memory of sockets: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "TCP: ")
	var inuse, orphan, tw, alloc, pages int64
	if _, err := fmt.Sscanf(rest, "inuse %d orphan %d tw %d alloc %d mem %d", &inuse, &orphan, &tw, &alloc, &pages); err != nil {
		return m, fmt.Errorf("read memory of sockets: %w", err)
	}
	m.kernel = pages * int64(os.Getpagesize())
	return m, nil
}

// most looks for the most memory until ctx ends.
func (b *bench) most(ctx context.Context, before slowness, out *slowness) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := b.memory()
		if err != nil {
			return err
		}
		out.resident = max(out.resident, now.resident-before.resident)
		out.kernel = max(out.kernel, now.kernel-before.kernel)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// overloadPosts is how many clients measureOverload has post at once.
const overloadPosts = 8

// measureOverload prints how soon a node says that too many wait: its runs are all held, and its line is full.
func measureOverload(ctx context.Context, b *bench) error {
	held, stop := context.WithCancel(ctx)
	defer stop()
	var holding sync.WaitGroup
	full := make(chan struct{}, 1)
	for range 256 + b.queued + overloadPosts {
		holding.Go(func() {
			resp, err := create(held, b.client, b.node.url, order{count: 20, size: 1, hold: 10})
			if err != nil {
				select {
				case full <- struct{}{}:
				default:
				}
				return
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body) // until it is released
		})
	}
	defer holding.Wait()
	defer b.upstream.release()
	select {
	case <-full:
	case <-ctx.Done():
		return ctx.Err()
	}
	all, err := b.refusals(ctx)
	row("refusal of a POST, line full, "+fmt.Sprint(overloadPosts)+" clients", all.String(), "", "")
	stop()
	return err
}

// refusals times answers that refuse.
func (b *bench) refusals(ctx context.Context) (all spread, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for range overloadPosts {
		g.Go(func() error {
			for range 200 {
				began := time.Now()
				resp, err := create(ctx, b.client, b.node.url, order{count: 1, size: 1})
				if err == nil {
					resp.Body.Close()
					continue // a place was free after all
				}
				if !strings.Contains(err.Error(), fmt.Sprint(http.StatusTooManyRequests)) {
					return err
				}
				mu.Lock()
				all = append(all, time.Since(began))
				mu.Unlock()
			}
			return nil
		})
	}
	return all, g.Wait()
}
