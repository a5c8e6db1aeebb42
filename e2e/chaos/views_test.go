//go:build e2e

package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
	"github.com/midstream-dev/midstream/e2e/chaos/rig"
	"github.com/midstream-dev/midstream/schema"
)

// readers is how many messages are asked for at once.
const readers = 16

// history reads the logs when all is quiet, from each server as the leader.
func (c *campaign) history(ctx context.Context) *check.History {
	c.t.Helper()
	h := &check.History{
		Accounts: c.accounts, Executions: c.r.Tools.Executions(), Once: func(tool string) bool { return tool == rig.Charge },
	}
	l := openLog(c.t, c.r)
	l.quiet(ctx)
	for _, s := range c.r.Servers {
		h.Views = append(h.Views, l.view(ctx, s.Name))
	}
	l.sealed(ctx, h.Views[0])
	return h
}

// logs reads the streams, past every proxy and past all code of ours but the format.
type logs struct {
	t  testing.TB
	nc *nats.Conn
	js jetstream.JetStream
	n  int // partitions
}

func openLog(t testing.TB, r *rig.Rig) *logs {
	t.Helper()
	var urls []string
	for _, s := range r.Servers {
		urls = append(urls, "nats://"+s.Client)
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.UserInfo(rig.AdminUser, rig.Password),
		nats.MaxReconnects(-1), nats.IgnoreDiscoveredServers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &logs{t, nc, js, r.Partitions}
}

// quiet waits until every run is over and acked.
func (l *logs) quiet(ctx context.Context) {
	l.t.Helper()
	ctx = withPatience(l.t, ctx, wellPatience)
	var left uint64
	err := l.insist(ctx, func() error {
		try, cancel := context.WithTimeout(ctx, answerPatience)
		defer cancel()
		s, err := l.js.Stream(try, "MS_RUNS")
		if err != nil {
			return err
		}
		if left = s.CachedInfo().State.Msgs; left > 0 {
			return fmt.Errorf("%d runs are left in the queue", left)
		}
		return nil
	})
	if err != nil {
		l.t.Error(err)
	}
}

// insist tries until it works or ctx ends.
func (l *logs) insist(ctx context.Context, try func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// view reads every log from one leader.
func (l *logs) view(ctx context.Context, leader string) check.View {
	l.t.Helper()
	v := check.View{Leader: leader, Logs: map[string][]schema.Record{}}
	for p := range l.n {
		stream := fmt.Sprintf("MS_LOG_%d", p)
		limit := withPatience(l.t, ctx, readPatience)
		err := l.insist(limit, func() error { return l.read(limit, stream, leader, v.Logs) })
		if err != nil {
			l.t.Fatalf("read %s from %s: %v", stream, leader, err)
		}
	}
	return v
}

// lead makes a server the leader of a stream.
func (l *logs) lead(ctx context.Context, stream, leader string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	s, err := l.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx)
	if err != nil || info.Cluster.Leader == leader {
		return info, err
	}
	request := fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, leader)
	if _, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, request); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("leader is %s, not %s yet", info.Cluster.Leader, leader)
}

// read reads one stream, and makes sure that it was led by leader all the time.
func (l *logs) read(ctx context.Context, stream, leader string, into map[string][]schema.Record) error {
	info, err := l.lead(ctx, stream, leader)
	if err != nil {
		return err
	}
	if info.State.NumDeleted > 0 || info.State.FirstSeq > 1 {
		l.t.Errorf("gap: %s on %s begins at %d and misses %d messages", stream, leader, info.State.FirstSeq, info.State.NumDeleted)
	}
	messages, err := l.messages(ctx, stream, info.State.LastSeq)
	if err != nil {
		return err
	}
	after, err := l.lead(ctx, stream, leader)
	if err != nil {
		return err
	}
	if after.State.LastSeq != info.State.LastSeq {
		return errors.New("it has grown meanwhile")
	}
	for _, m := range messages {
		rec, err := check.Decode(m.header.Get, m.Data)
		if err != nil {
			return fmt.Errorf("%s %d: %w", stream, m.Seq, err)
		}
		response := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		into[response] = append(into[response], rec)
	}
	return nil
}

// message is what the leader answers.
type message struct {
	Subject string `json:"subject"`
	Seq     uint64 `json:"seq"`
	Hdrs    []byte `json:"hdrs"`
	Data    []byte `json:"data"`
	header  nats.Header
}

// messages asks the leader for each message of a stream.
func (l *logs) messages(ctx context.Context, stream string, last uint64) ([]message, error) {
	all := make([]message, last)
	faults := make([]error, readers)
	var reading sync.WaitGroup
	for n := range readers {
		reading.Go(func() {
			for i := n; i < len(all) && faults[n] == nil; i += readers {
				all[i], faults[n] = l.message(ctx, stream, uint64(i)+1)
			}
		})
	}
	reading.Wait()
	return all, errors.Join(faults...)
}

func (l *logs) message(ctx context.Context, stream string, seq uint64) (m message, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	reply, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return m, err
	}
	var answer struct {
		Message *message       `json:"message"`
		Error   map[string]any `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return m, err
	}
	if answer.Message == nil {
		return m, fmt.Errorf("message %d of %s: %v", seq, stream, answer.Error)
	}
	m = *answer.Message
	m.header, err = nats.DecodeHeadersMsg(m.Hdrs)
	return m, err
}

// sealed promises that every response is in the archive.
func (l *logs) sealed(ctx context.Context, v check.View) {
	l.t.Helper()
	manifests := map[string]bool{}
	for p := range l.n {
		info, err := l.subjects(ctx, fmt.Sprintf("MS_ARCHIVE_%d", p))
		if err != nil {
			l.t.Fatal(err)
		}
		for subject := range info.State.Subjects {
			tokens := strings.Split(subject, ".")
			manifests[tokens[len(tokens)-2]] = manifests[tokens[len(tokens)-2]] || tokens[len(tokens)-1] == "0"
		}
	}
	for response := range v.Logs {
		if !manifests[response] {
			l.t.Errorf("terminal: %s is not sealed", response)
		}
	}
}

func (l *logs) subjects(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	s, err := l.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.Info(ctx, jetstream.WithSubjectFilter(">"))
}
