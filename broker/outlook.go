package broker

import "time"

// Up to these shares new runs are taken. What is above them is for runs that are open already.
const (
	admitBelow      = 0.70 // of the hot log, and of the conversations
	admitStoreBelow = 0.90 // of what NATS may store
	admitQueueBelow = 0.95 // of the queue, whose open runs need no more room
)

// level is how full something is; the zero value is not known, and admits.
type level struct{ used, bound int64 }

func (l level) above(share float64) bool {
	return l.bound > 0 && float64(l.used) > share*float64(l.bound)
}

func (l level) ratio() float64 {
	if l.bound <= 0 {
		return 0
	}
	return float64(l.used) / float64(l.bound)
}

// outlook is what looks have found: each part is of the last look that had an answer for it. It is never changed.
type outlook struct {
	at                          time.Time
	logs                        []level // by partition
	queue, conversations, store level

	waiting int64     // runs that nobody works at
	oldest  time.Time // since when the first of them waits, by our clock; zero where none does

	disk disk
	deaf time.Time // since when no look had any answer; zero where one had
}

// disk is what is left on the embedded server's.
type disk struct {
	level
	low    bool // no new runs
	full   bool // nothing at all, before the server fails at it
	failed bool // the server has failed at it, and was not started again yet
}

// judge returns the first bound that a new run would break; "" where there is none.
func (o *outlook) judge(cfg *Config, partition int, conversation bool, now time.Time) Bound {
	if bound := o.judgeStorage(now); bound != "" {
		return bound
	}
	switch {
	case o.logs[partition].above(admitBelow):
		return BoundLog
	case conversation && o.conversations.above(admitBelow):
		return BoundConversations
	case o.queue.above(admitQueueBelow):
		return BoundQueueBytes
	case !o.oldest.IsZero() && now.Sub(o.oldest) > cfg.QueueWait:
		return BoundQueueWait
	}
	return ""
}

// judgeConversation is judge for what is no run.
func (o *outlook) judgeConversation(now time.Time) Bound {
	if bound := o.judgeStorage(now); bound != "" {
		return bound
	}
	if o.conversations.above(admitBelow) {
		return BoundConversations
	}
	return ""
}

// judgeStorage looks at what everything needs.
func (o *outlook) judgeStorage(now time.Time) Bound {
	switch {
	case !o.deaf.IsZero() && now.Sub(o.deaf) > deafAfter:
		return BoundSilent
	case o.disk.low || o.disk.full || o.disk.failed:
		return BoundDisk
	case o.store.above(admitStoreBelow):
		return BoundStore
	}
	return ""
}

// tight reports whether the next look should come soon.
func (o *outlook) tight() bool {
	return o.disk.low || o.disk.full || o.disk.failed || !o.deaf.IsZero() || !o.oldest.IsZero()
}

// fullestLog is the partition that will refuse first.
func (o *outlook) fullestLog() (most level) {
	for _, l := range o.logs {
		if l.ratio() >= most.ratio() {
			most = l
		}
	}
	return most
}
