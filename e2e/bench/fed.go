package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// measureIngest prints what events cost that producers send, to a reader, beside the same events of a model of ours, and beside
// the same events on core NATS, which keeps nothing.
func measureIngest(ctx context.Context, b *bench) error {
	if err := measureFed(ctx, b); err != nil {
		return err
	}
	return measureAdded(ctx, b)
}

// cost is what a load has taken of the node.
type cost struct{ perSecond, micros float64 }

// costOf runs a load of so many events.
func (b *bench) costOf(events float64, load func() error) (c cost, err error) {
	before, err := b.node.cpu()
	if err != nil {
		return c, err
	}
	began := time.Now()
	if err := load(); err != nil {
		return c, err
	}
	took := time.Since(began).Seconds()
	after, err := b.node.cpu()
	return cost{events / took, float64((after - before).Microseconds()) / events}, err
}

func (c cost) String() string { return fmt.Sprintf("%.0f/s, %.1f µs", c.perSecond, c.micros) }

func (c cost) against(other cost) string {
	return fmt.Sprintf("%s events, %s time", ratio(c.perSecond, other.perSecond), ratio(c.micros, other.micros))
}

// measureFed prints how many events a second come from producers to readers, and what the node takes for one.
func measureFed(ctx context.Context, b *bench) error {
	const events = flowLive * flowTurns * flowCount
	direct, err := b.costOf(events, func() error { return b.flow(ctx, b.node.url) })
	if err != nil {
		return err
	}
	core, err := b.costOf(events, func() error { return b.coreFlow(ctx) })
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d live, %d tokens of %d B each, by ", flowLive, flowCount, flowSize)
	row(name+"a model", direct.String(), "core NATS: "+core.String(), direct.against(core))
	for _, w := range ways {
		fed, err := b.costOf(events, func() error {
			_, err := b.feedMany(ctx, w, flowLive, flowTurns, order{count: flowCount, size: flowSize})
			return err
		})
		if err != nil {
			return err
		}
		row(name+w.name, fed.String(), "by a model: "+direct.String(), fed.against(direct))
		row("", "", "core NATS: "+core.String(), fed.against(core))
	}
	return nil
}

// measureAdded prints what a token takes from a producer to a reader, 20 live at 50 a second.
func measureAdded(ctx context.Context, b *bench) error {
	const live = 20
	direct, err := b.load(ctx, b.node.url, live)
	if err != nil {
		return err
	}
	o := order{rate: liveRate, count: int(b.live.Seconds() * liveRate), size: 16}
	core, err := b.coreMany(ctx, live, o)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("token in to frame out, %d live at %d/s, by ", live, liveRate)
	row(name+"a model", direct.String(), "core NATS: "+core.String(), ratio(float64(direct.at(.5)), float64(core.at(.5))))
	for _, w := range ways {
		fed, err := b.feedMany(ctx, w, live, 1, o)
		if err != nil {
			return err
		}
		added := fmt.Sprintf("%s, %s more", ratio(float64(fed.at(.5)), float64(direct.at(.5))), milli(fed.at(.5)-direct.at(.5)))
		row(name+w.name, fed.String(), "by a model: "+direct.String(), added)
		row("", "", "core NATS: "+core.String(), ratio(float64(fed.at(.5)), float64(core.at(.5))))
	}
	return nil
}

// coreFlow sends the events of measureFed by publish and subscribe, on the same server.
func (b *bench) coreFlow(ctx context.Context) error {
	for range flowTurns {
		if _, err := b.coreMany(ctx, flowLive, order{count: flowCount, size: flowSize}); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) coreMany(ctx context.Context, n int, o order) (all spread, err error) {
	g, ctx := errgroup.WithContext(ctx)
	spreads := make([]spread, n)
	for i := range n {
		g.Go(func() (err error) {
			spreads[i], err = b.core(ctx, fmt.Sprintf("bench.%d", i), o)
			return err
		})
	}
	err = g.Wait()
	for _, s := range spreads {
		all = append(all, s...)
	}
	return all, err
}

// core publishes what an order says to one subscriber, and returns what each token took.
func (b *bench) core(ctx context.Context, subject string, o order) (own spread, err error) {
	out, err := b.connect()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	in, err := b.connect()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sub, err := in.SubscribeSync(subject)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // all that an order has, at most
	}
	if err == nil {
		err = in.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := say(ctx, o, func(event []byte) error { return out.Publish(subject, event) })
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		return out.Flush()
	})
	g.Go(func() (err error) {
		own, err = heard(ctx, sub, o.count)
		return err
	})
	return own, g.Wait()
}

// heard reads until so many tokens have come.
func heard(ctx context.Context, sub *nats.Subscription, count int) (own spread, err error) {
	for len(own) < count {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		if sent, ok := stamp(append([]byte("data: "), msg.Data...)); ok {
			own = append(own, time.Since(sent))
		}
	}
	return own, nil
}
