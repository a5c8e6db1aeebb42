package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// source gives hubs what they need of a log.
type source struct{ b *Broker }

var _ hub.Source = source{}

func (s source) Live(ref schema.Ref, deliver func(hub.Record)) (stop func(), err error) {
	p, err := locate(ref, s.b.partitions)
	if err != nil {
		return nil, err
	}
	return s.b.live.listen(p.live(), func(h *heard) {
		if h.gone {
			s.b.Drop(ref)
			return
		}
		deliver(served(h))
	})
}

func (s source) Tip(ctx context.Context, ref schema.Ref) (uint64, error) {
	p, err := locate(ref, s.b.partitions)
	if err != nil {
		return 0, err
	}
	return s.b.tip(ctx, p)
}

func (s source) Read(ctx context.Context, ref schema.Ref, after, upto uint64, yield func(hub.Record) error) error {
	p, err := locate(ref, s.b.partitions)
	if err != nil {
		return err
	}
	err = growing(ctx, func(ctx context.Context) error {
		return s.b.replay(ctx, p, after, upto, func(h *heard) error {
			err := yield(served(h))
			if err == nil {
				after = h.position // a try that comes after this one goes on from here
			}
			return err
		})
	})
	if errors.Is(err, errUnreadable) { // what stands there is no record: it carries nothing on
		err = fmt.Errorf("%w: %w", hub.ErrHole, err)
	}
	return err
}

func (s source) Sealed(ctx context.Context, ref schema.Ref) (frames []byte, found bool, err error) {
	p, err := locate(ref, s.b.partitions)
	if err != nil {
		return nil, false, err
	}
	err = s.b.refuseGone(ctx, p)
	if errors.Is(err, ErrGone) {
		return nil, false, hub.ErrGone
	}
	if err != nil {
		return nil, false, err
	}
	h, err := s.b.unseal(ctx, p)
	if errors.Is(err, ErrNotFound) || errors.Is(err, errDigestOnly) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read archive of %s: %w", ref, err)
	}
	for i := range h.Records {
		frames = append(frames, h.Records[i].Frames...)
	}
	return frames, true, nil
}

// served leaves out what readers must not know.
func served(h *heard) hub.Record {
	return hub.Record{Position: h.position, Previous: h.previous, First: h.First, Last: h.Last, Frames: h.Frames}
}
