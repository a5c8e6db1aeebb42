package broker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// What is left of a log above its admission level is for runs that are open already.
const (
	admitBelow = 0.70
	// admitFresh is how long one look at a partition is good for, admitWait how long it may take.
	admitFresh = time.Second
	admitWait  = 250 * time.Millisecond
)

// level is how full one partition of the log is. It is looked at when somebody asks, so that an idle node asks nothing.
type level struct {
	mu   sync.Mutex
	at   time.Time
	full bool
}

// admit returns ErrFull where a new run might leave open ones without room.
func (b *Broker) admit(ctx context.Context, p place) error {
	return b.admitTo(ctx, &b.levels[p.partition], p.logStream())
}

// admitConversation returns ErrFull where what is new might leave no room for the answers of open runs.
func (b *Broker) admitConversation(ctx context.Context) error {
	return b.admitTo(ctx, &b.conversations.level, conversationStream)
}

// admitTo judges a stream that gives no answer by the last look at it.
func (b *Broker) admitTo(ctx context.Context, l *level, stream string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) > admitFresh {
		if full, err := b.above(ctx, stream); err == nil {
			l.full = full
		}
		l.at = time.Now()
	}
	if l.full {
		b.metrics.refused.Inc()
		return ErrFull
	}
	return nil
}

func (b *Broker) above(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, admitWait)
	defer cancel()
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return false, err
	}
	info := s.CachedInfo()
	if info.Config.MaxBytes <= 0 {
		return false, errors.New("stream without a bound")
	}
	return float64(info.State.Bytes) > admitBelow*float64(info.Config.MaxBytes), nil
}
