package sim_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/broker/sim"
)

// twin is one of the two servers that must not be told apart.
type twin struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	live *nats.Subscription
	jobs jetstream.Consumer
}

const patience = 10 * time.Second

func newTwin(t *testing.T, server nats.InProcessConnProvider) *twin {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	w := &twin{nc: nc, js: js}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "LOG", Subjects: []string{"log.*"}, Discard: jetstream.DiscardNew, AllowDirect: true, DenyDelete: true,
			RePublish: &jetstream.RePublish{Source: "log.*", Destination: "live.{{wildcard(1)}}"}, MaxBytes: 1 << 20},
		{Name: "ARCHIVE", Subjects: []string{"archive.*.*"}, Discard: jetstream.DiscardNew, AllowDirect: true, MaxBytes: 4096},
		{Name: "RUNS", Subjects: []string{"run.*"}, Discard: jetstream.DiscardNew, Retention: jetstream.WorkQueuePolicy, MaxBytes: 1 << 20},
		{Name: "CONTROL", Subjects: []string{"control.*"}, Discard: jetstream.DiscardNew, AllowDirect: true, MaxMsgsPerSubject: 1, MaxBytes: 1 << 20},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	if w.live, err = nc.SubscribeSync("live.>"); err != nil {
		t.Fatal(err)
	}
	w.jobs, err = js.CreateOrUpdateConsumer(t.Context(), "RUNS", jetstream.ConsumerConfig{
		Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// link is what the client library takes for a server in the process.
type link struct{ *sim.Link }

func (l link) InProcessConn() (net.Conn, error) { return l.Dial() }

// Whatever is asked, in whatever order, a simulated server says what the embedded one says.
func TestServer_IsLikeTheRealOne(t *testing.T) {
	original, err := embed.Start(embed.Config{Dir: t.TempDir(), Sync: time.Minute, MaxPayload: sim.MaxPayload})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := original.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	played := sim.New(nil)
	pair := &twins{test: t, played: played, sides: [2]*twin{newTwin(t, original), newTwin(t, link{played.NewLink("twin")})}}
	rapid.Check(t, func(rt *rapid.T) {
		pair.T = rt
		rt.Repeat(map[string]func(*rapid.T){
			"publish": pair.publish, "leader": pair.leader, "direct": pair.direct, "batch": pair.batch, "erase": pair.erase,
			"list": pair.list, "line": pair.line, "work": pair.work, "nobody": pair.nobody,
		})
	})
	if err := played.Err(); err != nil {
		t.Error(err)
	}
}

type twins struct {
	*rapid.T
	test   *testing.T
	played *sim.Server
	sides  [2]*twin
}

// both does the same on both sides and compares what came of it.
func (p *twins) both(what string, do func(*twin) []string) {
	original, played := do(p.sides[0]), do(p.sides[1])
	if diff := cmp.Diff(original, played); diff != "" {
		p.Fatalf("%s: the real server (-) and the simulated one (+) differ:\n%s", what, diff)
	}
}

// ask sends a request and tells the answers, up to n or the end of a batch.
func (w *twin) ask(msg *nats.Msg, n int) (told []string) {
	msg.Reply = w.nc.NewInbox()
	answers, err := w.nc.SubscribeSync(msg.Reply)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := w.nc.PublishMsg(msg); err != nil {
		return []string{err.Error()}
	}
	for range n {
		m, err := next(answers)
		if err != nil {
			return append(told, err.Error())
		}
		told = append(told, tell(m))
		if status := m.Header.Get("Status"); status != "" {
			break
		}
	}
	return told
}

func next(s *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.NextMsgWithContext(ctx)
}

// tell is a message as text, less what no two servers have alike: times, and how they word their errors.
func tell(m *nats.Msg) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m.Header)) {
		if key != "Nats-Time-Stamp" {
			fmt.Fprintf(&b, "%s=%q ", key, m.Header[key])
		}
	}
	return b.String() + plain(m.Data)
}

// plain leaves of JSON what two servers have alike.
func plain(data []byte) string {
	var answer map[string]any
	if json.Unmarshal(data, &answer) != nil {
		return string(data)
	}
	if e, failed := answer["error"].(map[string]any); failed {
		return fmt.Sprint("error ", e["code"], e["err_code"])
	}
	delete(answer, "type")
	if m, ok := answer["message"].(map[string]any); ok {
		delete(m, "time")
	}
	text, err := json.Marshal(answer, json.Deterministic(true))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (p *twins) subject(r *rapid.T) (stream, subject string) {
	subjects := map[string][]string{
		"LOG": {"log.a", "log.b"}, "ARCHIVE": {"archive.a.0", "archive.a.1", "archive.b.0"}, "RUNS": {"run.a", "run.b"}, "CONTROL": {"control.a"},
	}
	stream = rapid.SampledFrom([]string{"LOG", "LOG", "ARCHIVE", "RUNS", "CONTROL"}).Draw(r, "stream")
	return stream, rapid.SampledFrom(subjects[stream]).Draw(r, "subject")
}

// position is a sequence near the end of a stream.
func (p *twins) position(r *rapid.T, stream string) uint64 {
	s, err := p.sides[0].js.Stream(p.test.Context(), stream)
	if err != nil {
		p.Fatal(err)
	}
	last := int64(s.CachedInfo().State.LastSeq)
	return uint64(max(1, last+rapid.Int64Range(-8, 1).Draw(r, "back")))
}

func (p *twins) publish(r *rapid.T) {
	stream, subject := p.subject(r)
	var expect []string
	switch rapid.IntRange(0, 3).Draw(r, "expect") {
	case 0:
		expect = []string{"0"}
	case 1:
		expect = []string{fmt.Sprint(p.position(r, stream))}
	case 2:
		expect = []string{p.last(stream, subject)}
	}
	data := strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 700}).Draw(r, "bytes"))
	p.both("publish "+subject, func(w *twin) []string {
		msg := &nats.Msg{Subject: subject, Data: []byte(data)}
		if expect != nil { // one header only: the client writes several in any order
			msg.Header = nats.Header{"Nats-Expected-Last-Subject-Sequence": expect}
		}
		told := w.ask(msg, 1)
		if stream == "LOG" && strings.Contains(told[0], `"seq"`) && !strings.Contains(told[0], "err_code") {
			m, err := next(w.live)
			if err != nil {
				return append(told, err.Error())
			}
			told = append(told, m.Subject, tell(m))
		}
		return told
	})
}

// last is the sequence of a subject's last message, as an append would expect it.
func (p *twins) last(stream, subject string) string {
	s, err := p.sides[0].js.Stream(p.test.Context(), stream)
	if err != nil {
		p.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(p.test.Context(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "0"
	}
	if err != nil {
		p.Fatal(err)
	}
	return fmt.Sprint(m.Sequence)
}

func (p *twins) call(what, subject, body string, answers int) {
	p.both(what+" "+subject+" "+body, func(w *twin) []string { return w.ask(&nats.Msg{Subject: subject, Data: []byte(body)}, answers) })
}

func (p *twins) leader(r *rapid.T) {
	stream, subject := p.subject(r)
	family, _, _ := strings.Cut(subject, ".")
	body := rapid.SampledFrom([]string{
		fmt.Sprintf(`{"last_by_subj":%q}`, subject),
		fmt.Sprintf(`{"seq":%d,"next_by_subj":%q}`, p.position(r, stream), subject),
		fmt.Sprintf(`{"seq":%d,"next_by_subj":%q}`, p.position(r, stream), family+".*"),
		fmt.Sprintf(`{"seq":%d}`, p.position(r, stream)),
	}).Draw(r, "query")
	p.call("leader", "$JS.API.STREAM.MSG.GET."+stream, body, 1)
}

func (p *twins) direct(r *rapid.T) {
	stream, subject := p.subject(r)
	p.call("direct", "$JS.API.DIRECT.GET."+stream+"."+subject, "", 1)
}

func (p *twins) batch(r *rapid.T) {
	stream, subject := p.subject(r)
	body := fmt.Sprintf(`{"batch":%d,"seq":%d,"next_by_subj":%q,"max_bytes":%d}`,
		rapid.SampledFrom([]int{1, 2, 256}).Draw(r, "batch"), p.position(r, stream), subject, rapid.SampledFrom([]int{1, 1000, 1 << 20}).Draw(r, "bytes"))
	p.call("batch", "$JS.API.DIRECT.GET."+stream, body, 300)
}

func (p *twins) erase(r *rapid.T) {
	stream, _ := p.subject(r)
	p.call("erase", "$JS.API.STREAM.MSG.DELETE."+stream, fmt.Sprintf(`{"seq":%d}`, p.position(r, stream)), 1)
}

// list compares what a stream says of itself.
func (p *twins) list(*rapid.T) {
	for _, stream := range []string{"LOG", "ARCHIVE", "RUNS", "CONTROL"} {
		p.both("list "+stream, func(w *twin) []string {
			s, err := w.js.Stream(p.test.Context(), stream)
			if err != nil {
				return []string{err.Error()}
			}
			info, err := s.Info(p.test.Context(), jetstream.WithSubjectFilter("*.a.>"))
			if err != nil {
				return []string{err.Error()}
			}
			st := info.State
			return []string{fmt.Sprint(st.Msgs, st.Bytes, st.FirstSeq, st.LastSeq, st.Consumers, st.Subjects), fmt.Sprint(info.Config.MaxBytes)}
		})
	}
}

// line compares what is told of the jobs that wait, and of the account.
func (p *twins) line(*rapid.T) {
	p.both("line", func(w *twin) []string {
		c, err := w.js.Consumer(p.test.Context(), "RUNS", "workers")
		if err != nil {
			return []string{err.Error()}
		}
		account, err := w.js.AccountInfo(p.test.Context())
		if err != nil {
			return []string{err.Error()}
		}
		i := c.CachedInfo()
		return []string{
			fmt.Sprint(i.NumPending, i.NumAckPending, i.NumRedelivered, i.Delivered.Stream, i.Delivered.Consumer),
			fmt.Sprint(account.Streams, account.Consumers, account.Store, account.Limits.MaxStore),
		}
	})
}

// work takes a job, and acks it, gives it back or leaves it alone.
func (p *twins) work(r *rapid.T) {
	word := rapid.SampledFrom([]string{"+ACK", "-NAK", "+WPI", "+ACK twice"}).Draw(r, "word")
	if p.played.Count("RUNS") == 0 {
		r.Skip("no job")
	}
	p.both("work "+word, func(w *twin) []string {
		batch, err := w.jobs.Fetch(1, jetstream.FetchMaxWait(patience))
		if err != nil {
			return []string{err.Error()}
		}
		told := []string{}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return []string{err.Error()}
			}
			told = append(told, m.Subject(), fmt.Sprint(meta.NumDelivered, meta.Sequence), string(m.Data()))
			for range strings.Count(word, " ") + 1 {
				body, _, _ := strings.Cut(word, " ")
				told = append(told, w.ask(&nats.Msg{Subject: m.Reply(), Data: []byte(body)}, 1)...)
			}
			if word == "+WPI" {
				told = append(told, w.ask(&nats.Msg{Subject: m.Reply(), Data: []byte("+ACK")}, 1)...)
			}
		}
		return told
	})
}

// nobody asks where nobody listens.
func (p *twins) nobody(r *rapid.T) {
	p.call("nobody", rapid.SampledFrom([]string{
		"$JS.API.DIRECT.GET.RUNS", "nothing.here", "$JS.API.CONSUMER.MSG.NEXT.RUNS.others", "$JS.ACK.RUNS.others.1.1.1.1.1",
	}).Draw(r, "subject"), "", 1)
}
