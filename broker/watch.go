package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// How old what admission judges by may be. While nobody asks and nobody writes it may be older: an idle node asks little.
const (
	lookEvery = time.Second
	lookTight = 250 * time.Millisecond // where something is nearly full, or has just stopped to be
	lookIdle  = 15 * time.Second
	// lookTimeout bounds one look, lookAtOnce its questions under way.
	lookTimeout = 2 * time.Second
	lookAtOnce  = 8
	// monitorEvery is how often the monitoring pages of external servers are read.
	monitorEvery = 15 * time.Second
	// reviveEvery is how often an embedded server that failed at its disk is started again at most.
	reviveEvery = 10 * time.Second
)

// watch looks at what may be full, off the path of every request. One goroutine looks; any may ask what it has seen.
type watch struct {
	b     *Broker
	js    jetstream.JetStream
	last  atomic.Pointer[outlook]
	asked atomic.Bool   // since the last look
	kick  chan struct{} // look now
	// line counts runs that nobody works at: as the last look found it, and what this node did since. coming are those that it
	// is enqueuing.
	line, coming atomic.Int64

	looking   sync.Mutex // one look at a time: tests look too
	monitored time.Time
	revived   time.Time

	cancel context.CancelFunc
	ended  chan struct{}
}

// newWatch returns a watch that has looked once.
func newWatch(ctx context.Context, b *Broker) *watch {
	w := &watch{b: b, js: mustJetStream(b.conns.queue), kick: make(chan struct{}, 1)}
	w.last.Store(&outlook{logs: make([]level, b.partitions)})
	w.look(ctx)
	return w
}

func (w *watch) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.ended = cancel, make(chan struct{})
	go func() {
		defer close(w.ended)
		w.run(ctx)
	}()
}

// close ends the looking, and waits for it: until ctx ends, since a server that is being started anew takes its time.
func (w *watch) close(ctx context.Context) {
	if w.cancel == nil {
		return
	}
	w.cancel()
	select {
	case <-w.ended:
	case <-ctx.Done():
	}
}

func (w *watch) seen() *outlook { return w.last.Load() }

// ask says that somebody judges by what was seen. The first one after a quiet time has it looked at again.
func (w *watch) ask() {
	if !w.asked.Swap(true) && time.Since(w.seen().at) > lookEvery {
		w.hurry()
	}
}

func (w *watch) hurry() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *watch) run(ctx context.Context) {
	for {
		timer := time.NewTimer(jitter(w.pause()))
		select {
		case <-timer.C:
		case <-w.kick:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		if ctx.Err() == nil && time.Since(w.seen().at) >= lookTight/2 { // a crowd may be hurrying us
			w.look(ctx)
		}
	}
}

// pause is until the next look, if nobody hurries it.
func (w *watch) pause() time.Duration {
	switch {
	case w.seen().tight():
		return lookTight
	case w.asked.Load():
		return lookEvery
	}
	return lookIdle
}

// jitter keeps the nodes of a cluster from looking all at once.
func jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5) }

// look asks for everything once, and publishes what it found.
func (w *watch) look(ctx context.Context) {
	w.looking.Lock()
	defer w.looking.Unlock()
	w.asked.Store(false)
	o := *w.seen()
	o.logs = append([]level(nil), o.logs...)
	w.lookAtDisk(ctx, &o)
	began := time.Now()
	if w.lookAtStreams(ctx, &o) {
		o.deaf = time.Time{}
	} else if o.deaf.IsZero() && ctx.Err() == nil {
		o.deaf = began
	}
	o.at = time.Now()
	w.last.Store(&o)
	w.b.metrics.show(&o)
}

// lookAtStreams reports whether anything was answered.
func (w *watch) lookAtStreams(ctx context.Context, o *outlook) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var heard atomic.Bool
	var all errgroup.Group
	all.SetLimit(lookAtOnce)
	ask := func(question func() error) {
		all.Go(func() error {
			if err := question(); err == nil || answered(err) {
				heard.Store(true)
			}
			return nil
		})
	}
	for i := range o.logs {
		ask(func() error { return w.fill(ctx, place{partition: i}.logStream(), &o.logs[i]) })
	}
	ask(func() error { return w.fill(ctx, conversationStream, &o.conversations) })
	ask(func() error { return w.fill(ctx, runStream, &o.queue) })
	ask(func() error { return w.lookAtLine(ctx, o) })
	ask(func() error { return w.lookAtStore(ctx, o) })
	_ = all.Wait() // nothing above returns an error
	return heard.Load()
}

// fill finds out how full a stream is.
func (w *watch) fill(ctx context.Context, name string, l *level) error {
	s, err := w.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	*l = level{int64(min(info.State.Bytes, 1<<62)), info.Config.MaxBytes}
	return nil
}

// lookAtLine finds out how many runs wait for a worker, and for how long the first of them has.
func (w *watch) lookAtLine(ctx context.Context, o *outlook) error {
	c, err := w.js.Consumer(ctx, runStream, workers)
	if err != nil {
		return err
	}
	info := c.CachedInfo()
	o.waiting = int64(min(info.NumPending, 1<<62))
	w.line.Store(o.waiting)
	if o.waiting == 0 {
		o.oldest = time.Time{}
		return nil
	}
	first, err := w.b.ask(ctx, runStream, leaderQuery{Seq: info.Delivered.Stream + 1, NextFor: runSubjects})
	switch {
	case err != nil:
		return err
	case first == nil:
		o.oldest = time.Time{}
	default: // both times are the servers': our own clock may be wrong
		o.oldest = time.Now().Add(-info.TimeStamp.Sub(first.at))
	}
	return nil
}

// lookAtStore finds out how much of what it may store an existing NATS has stored: our account, or the fullest of the servers
// that are monitored. An embedded one is bound by its disk alone.
func (w *watch) lookAtStore(ctx context.Context, o *outlook) error {
	if w.b.server != nil {
		return errNotAsked
	}
	info, err := w.js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	if info.Limits.MaxStore > 0 {
		o.store = level{int64(min(info.Store, 1<<62)), info.Limits.MaxStore}
		return nil
	}
	if len(w.b.cfg.Monitor) > 0 && time.Since(w.monitored) > monitorEvery {
		w.monitored = time.Now()
		store, all := fullestStore(ctx, w.b.cfg.Monitor)
		if all || store.ratio() > o.store.ratio() { // else the one that does not tell may be the one that was fullest
			o.store = store
		}
	}
	return nil
}

var errNotAsked = errors.New("not asked")

// lookAtDisk finds out what room the embedded server has, and starts it again once it has room where it had none.
func (w *watch) lookAtDisk(ctx context.Context, o *outlook) {
	s := w.b.server
	if s == nil {
		return
	}
	free, total, err := s.Disk()
	if err != nil {
		return // what was seen last still counts
	}
	low := w.b.cfg.diskFree(total)
	was := o.disk
	o.disk = disk{level: level{total - free, total}, low: free < low, full: free < low/holdShare, failed: s.Broken()}
	if o.disk.full && !was.full {
		w.b.log.Error("disk full: every run waits until there is room", "free_bytes", free)
	}
	if !o.disk.failed || o.disk.full || free == 0 || ctx.Err() != nil || time.Since(w.revived) < reviveEvery {
		return
	}
	w.revived = time.Now()
	why := "a write has failed although the disk has room"
	if was.full || was.low {
		why = "disk has room again"
	}
	w.b.log.Warn("NATS is started anew, since it takes nothing after a failed write", "cause", why)
	if err := s.Revive(); err != nil {
		w.b.log.Error("start NATS anew", "error", err)
		return
	}
	o.disk.failed = false
}
