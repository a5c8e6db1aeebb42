package broker

import (
	"sync"
	"time"
)

// deafAfter is how long NATS may be silent, for an election of 4 to 9 s say, before new runs are refused at once instead of
// waiting with the others. It is also how long an Enqueue waits of which nothing could be sent.
const deafAfter = 5 * time.Second

// probeEvery is how often one run is tried all the same while appends have no answer: nothing else would show that they
// have one again.
const probeEvery = 5 * time.Second

// admit returns a [FullError] where a new run, which is counted as coming, might leave open ones without room, or would wait
// for too long. It asks nobody: it judges by what the watcher has seen.
func (b *Broker) admit(p place, conversation bool) error {
	b.watch.ask()
	now := time.Now()
	bound := b.watch.seen().judge(&b.cfg, p.partition, conversation, now)
	switch {
	case bound != "":
	case b.watch.line.Load()+b.watch.coming.Load() > int64(b.cfg.Queued):
		b.watch.hurry() // others may have taken some of them
		bound = BoundQueued
	case b.commits.broken(now):
		bound = BoundSilent
	}
	return b.refuse(bound)
}

// admitConversation returns a [FullError] where what is new might leave no room for the answers of open runs.
func (b *Broker) admitConversation() error {
	b.watch.ask()
	return b.refuse(b.watch.seen().judgeConversation(time.Now()))
}

func (b *Broker) refuse(bound Bound) error {
	if bound == "" {
		return nil
	}
	b.metrics.refused.WithLabelValues(string(bound)).Inc()
	return fullOf(bound)
}

// breaker remembers since when appends of commands have had no answer. A server whose disk is full answers every question,
// and no append.
type breaker struct {
	mu    sync.Mutex
	since time.Time // of the first append without an answer behind the last one with it
	probe time.Time
}

// note takes how an append has ended.
func (k *breaker) note(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil || answered(err):
		k.since = time.Time{}
	case k.since.IsZero():
		k.since = time.Now()
	}
}

// broken reports whether another append would only wait too. Now and then it lets one find out.
func (k *breaker) broken(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.since.IsZero() || now.Sub(k.since) <= deafAfter {
		return false
	}
	if now.Sub(k.probe) < probeEvery {
		return true
	}
	k.probe = now
	return false
}
