package sseserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// memory is a broker without NATS: it serves where time is virtual, and where faults must come on demand.
type memory struct {
	commands chan *schema.Command // what was enqueued
	secrets  chan []byte

	cancelled chan schema.Ref

	mu         sync.Mutex
	logs       map[schema.Ref]*memoryLog
	made       map[schema.Ref]*schema.Command // as the logs' request records have them
	gone       map[schema.Ref]bool
	queued     map[schema.Ref]bool
	enqueueErr error
	beginErrs  []error // of the next calls of Begin, in turn
	followErr  error
	readyErr   error
}

type memoryLog struct {
	frames [][]byte
	ended  bool
	err    error
	cuts   int           // of the next followers to wait
	moved  chan struct{} // closed when something changes
}

func newMemory() *memory {
	return &memory{
		commands: make(chan *schema.Command, 1024), secrets: make(chan []byte, 1024), cancelled: make(chan schema.Ref, 16), logs: map[schema.Ref]*memoryLog{},
		made: map[schema.Ref]*schema.Command{}, gone: map[schema.Ref]bool{}, queued: map[schema.Ref]bool{},
	}
}

func (m *memory) Enqueue(_ context.Context, cmd *schema.Command, secrets []byte) error {
	m.mu.Lock()
	err := m.enqueueErr
	if err == nil && m.queued[cmd.Ref()] {
		err = broker.ErrExists
	}
	m.queued[cmd.Ref()] = true
	m.mu.Unlock()
	if err == nil {
		m.commands <- cmd
		m.secrets <- secrets
	}
	return err
}

func (m *memory) Begin(_ context.Context, rec schema.Record, ref schema.Ref) error {
	m.mu.Lock()
	if len(m.beginErrs) > 0 {
		err := m.beginErrs[0]
		m.beginErrs = m.beginErrs[1:]
		m.mu.Unlock()
		return err
	}
	m.mu.Unlock()
	cmd, err := schema.ParseCommand(rec.Body)
	if err != nil {
		return err
	}
	m.begin(ref, rec.Frames)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made[ref] == nil {
		m.made[ref] = cmd
	}
	return nil
}

func (m *memory) Command(_ context.Context, ref schema.Ref) (*schema.Command, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gone[ref]:
		return nil, broker.ErrGone
	case m.made[ref] == nil:
		return nil, broker.ErrNotFound
	}
	return m.made[ref], nil
}

func (m *memory) Exchange(ctx context.Context, ref schema.Ref) (*schema.Exchange, error) {
	cmd, err := m.Command(ctx, ref)
	if err != nil {
		return nil, err
	}
	rec, err := cmd.RequestRecord()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec.Frames = bytes.Join(m.logs[ref].frames, nil)
	x, err := schema.ReadExchange(ref, []schema.Record{rec})
	if err == nil && !x.Request.Stores() && x.Response.Ended() {
		return nil, broker.ErrNotFound
	}
	return x, err
}

// Summary is what the item holds as it is.
func (m *memory) Summary(_ string, it *schema.Item) (string, bool, error) {
	if it.EncryptedContent == nil || !strings.HasPrefix(*it.EncryptedContent, "ours:") {
		return "", false, nil
	}
	text := strings.TrimPrefix(*it.EncryptedContent, "ours:")
	if text == "spoilt" {
		return "", true, errors.New("it does not open")
	}
	return text, true, nil
}

// Cancel and Delete are the log's affair: see TestLive_Cancel and TestLive_Delete.
func (m *memory) Cancel(ctx context.Context, ref schema.Ref) error {
	_, err := m.Command(ctx, ref)
	if err == nil {
		m.cancelled <- ref
	}
	return err
}

func (m *memory) Delete(ctx context.Context, ref schema.Ref) error {
	_, err := m.Command(ctx, ref)
	return err
}

func (m *memory) Past(ctx context.Context, tenant string, thread []string) (items []schema.Item, err error) {
	for _, id := range thread {
		ref, err := schema.NewRef(tenant, id)
		if err != nil {
			return nil, err
		}
		x, err := m.Exchange(ctx, ref)
		if err != nil {
			return nil, err
		}
		items = append(items, x.Items()...)
	}
	return items, nil
}

// begin opens a log, unless the other one, gateway or worker, was faster.
func (m *memory) begin(ref schema.Ref, frames []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.logs[ref] == nil {
		m.extend(ref, frames)
	}
}

func (m *memory) Ready(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readyErr
}

func (m *memory) Fold(_ context.Context, ref schema.Ref) (*schema.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[ref]
	if l == nil {
		return nil, hub.ErrNotFound
	}
	if l.err != nil {
		return nil, l.err
	}
	return schema.Fold(bytes.Join(l.frames, nil))
}

func (m *memory) follow(_ context.Context, ref schema.Ref, after int64) (*memoryFollower, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[ref]
	switch {
	case m.followErr != nil:
		return nil, m.followErr
	case l == nil:
		return nil, hub.ErrNotFound
	case l.err != nil && l.err != hub.ErrCut:
		return nil, l.err
	case after >= int64(len(l.frames)):
		return nil, &hub.CursorError{Last: int64(len(l.frames)) - 1}
	}
	return &memoryFollower{m, l, int(after) + 1}, nil
}

// append adds frames, one or more in each chunk, to a log.
func (m *memory) append(ref schema.Ref, chunks ...[]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extend(ref, chunks...)
}

func (m *memory) extend(ref schema.Ref, chunks ...[]byte) {
	l := m.logs[ref]
	if l == nil {
		l = &memoryLog{moved: make(chan struct{})}
		m.logs[ref] = l
	}
	for rest := bytes.Join(chunks, nil); len(rest) > 0; {
		f, after, err := schema.CutFrame(rest)
		if err != nil {
			panic(err)
		}
		l.frames = append(l.frames, rest[:len(rest)-len(after)])
		l.ended = f.Type.Terminal()
		rest = after
	}
	l.changed()
}

// fail gives a log an error: hub.ErrCut cuts its followers, others refuse new ones.
func (m *memory) fail(ref schema.Ref, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.logs[ref] == nil {
		m.logs[ref] = &memoryLog{moved: make(chan struct{})}
	}
	m.logs[ref].err = err
	m.logs[ref].changed()
}

// cutOnce cuts one follower that waits for more, and returns when it has.
func (m *memory) cutOnce(t *testing.T, ref schema.Ref) {
	t.Helper()
	m.set(t, func(m *memory) { m.logs[ref].cuts++; m.logs[ref].changed() })
	waitFor(t, "the cut", func() (cut bool) {
		m.set(t, func(m *memory) { cut = m.logs[ref].cuts == 0 })
		return cut
	})
}

func (l *memoryLog) changed() {
	close(l.moved)
	l.moved = make(chan struct{})
}

type memoryFollower struct {
	m   *memory
	log *memoryLog
	at  int
}

func (f *memoryFollower) Next(ctx context.Context) ([]byte, error) {
	for {
		frames, moved, err := f.take()
		if frames != nil || err != nil {
			return frames, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (f *memoryFollower) take() ([]byte, chan struct{}, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	switch l := f.log; {
	case f.at < len(l.frames):
		frames := bytes.Join(l.frames[f.at:], nil)
		f.at = len(l.frames)
		return frames, nil, nil
	case l.ended:
		return nil, nil, io.EOF
	case l.err != nil:
		return nil, nil, l.err
	case l.cuts > 0:
		l.cuts--
		return nil, nil, hub.ErrCut
	}
	return nil, f.log.moved, nil
}

func (f *memoryFollower) Ended() bool {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.log.ended && f.at == len(f.log.frames)
}

func (f *memoryFollower) Seq() int64 { return int64(f.at) - 1 }
func (f *memoryFollower) Close()     {}

var (
	_ Broker   = (*memory)(nil)
	_ Library  = (*memory)(nil)
	_ Control  = (*memory)(nil)
	_ Control  = (*broker.Broker)(nil)
	_ Library  = (*broker.Broker)(nil)
	_ Follower = (*memoryFollower)(nil)
	_ Broker   = (*broker.Broker)(nil)

	_ Conversations = (*broker.Broker)(nil)

	_ Follower = (*hub.Follower)(nil)
)

// set changes what the memory answers, under its lock.
func (m *memory) set(t testing.TB, change func(*memory)) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}
