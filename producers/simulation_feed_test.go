package producers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/publish"
	"github.com/midstream-dev/midstream/broker/sim"
	"github.com/midstream-dev/midstream/schema"
)

// voice is a producer of a response that others feed: it says some messages, and says everything again when it was started anew.
type voice struct {
	Gateway  bool // a gateway stores its batches; else it sends over NATS by itself
	Messages int
	Batch    int           // events that a gateway stores together
	Pace     time.Duration // between two events
	Dies     int           // behind so many events, once; 0 is never
	Terminal bool          // its last event ends it; else it says so
}

// atIngest is the moment at which something of a producer is stored.
const atIngest point = "ingest"

// fedActions are what may go wrong there. Kills and pauses hit the producer.
var fedActions = []action{
	lose, mute, mute, mute, cutBefore, cutBehind, cutBehind, unavailable, nobody, late, late, slow,
	killBefore, killBehind, holdBefore, holdBehind, elect, restart,
}

// fedPoints are the moments of a response that others feed.
var fedPoints = []point{
	atIngest, atIngest, atIngest, atIngest, atAppend, atAppend, atAppend, atLeader, atLeader, atSeal, atEnqueue, atDirect,
	atDeliver, atAck, atNak, atProgress, atRepublish, atRepublish,
}

var voices = rapid.Custom(func(t *rapid.T) voice {
	return voice{
		Gateway: rapid.Bool().Draw(t, "gateway"), Messages: rapid.IntRange(0, 3).Draw(t, "messages"),
		Batch: rapid.IntRange(1, 5).Draw(t, "batch"), Pace: pauses.Draw(t, "pace"),
		Dies:     rapid.SampledFrom([]int{0, 0, 1, 3, 5}).Draw(t, "dies"),
		Terminal: rapid.Bool().Draw(t, "terminal"),
	}
})

// name is what the scene's i-th voice is called.
func (s *scene) name(i int) string { return fmt.Sprintf("voice%d", i) }

// fedBy is the request for a response of the scene's voices.
func (s *scene) fedBy() string {
	var names []string
	for i := range s.Voices {
		names = append(names, strconv.Quote(s.name(i)))
	}
	return fmt.Sprintf(`{"model":"m","stream":true,"stream_options":{"include_obfuscation":false},"store":%t,`+
		`"midstream":{"producers":[%s]}}`, s.Stores, strings.Join(names, ","))
}

// text is the voice's k-th message.
func (v *voice) text(name string, k int) string { return fmt.Sprintf("%s says %d, and more", name, k) }

// events is what a voice says: numbers, indexes and ids collide with those of the others.
func (v *voice) events(name string) (all []jsontext.Value) {
	say := func(format string, args ...any) { all = append(all, fmt.Appendf(nil, format, args...)) }
	say(`{"type":"response.created","sequence_number":0,"response":{"id":"r"}}`)
	for k := range v.Messages {
		said, rest, _ := strings.Cut(v.text(name, k), ",")
		say(`{"type":"response.output_item.added","sequence_number":0,"output_index":0,"item":{"id":"m%d","type":"message",`+
			`"role":"assistant","content":[]}}`, k)
		for _, piece := range []string{said, "," + rest} {
			say(`{"type":"response.output_text.delta","sequence_number":0,"output_index":0,"item_id":"m%d","content_index":0,`+
				`"delta":%q}`, k, piece)
		}
		say(`{"type":"response.output_item.done","output_index":0,"item":{"id":"m%d","type":"message","role":"assistant",`+
			`"content":[{"type":"output_text","text":%q}]}}`, k, v.text(name, k))
	}
	if v.Terminal {
		say(`{"type":"response.completed","sequence_number":0,"response":{"id":"r","status":"completed"}}`)
	}
	return all
}

// speak is the life of a voice, and the next one when it died: then in a later epoch, from its first event on.
func (w *world) speak(ref schema.Ref, name string, v *voice) {
	ctx, cancel := context.WithTimeout(w.ctx, simPatience)
	defer cancel()
	for epoch := int64(0); ctx.Err() == nil; epoch++ {
		events, whole := v.events(name), true
		if epoch == 0 && v.Dies > 0 && v.Dies < len(events) {
			events, whole = events[:v.Dies], false
		}
		send := w.publish
		if v.Gateway {
			send = w.ingest
		}
		if err := send(ctx, ref, &schema.Batch{Producer: name, Epoch: epoch, Events: events, Last: whole}, v); err == nil && whole {
			return
		}
		_ = rest(ctx, 100*time.Millisecond)
	}
}

// errDied says that a voice was killed before everything was stored.
var errDied = errors.New("the producer died")

// publish sends over NATS, as a program with a connection of its own does. What it has not flushed when it dies may be lost.
func (w *world) publish(ctx context.Context, ref schema.Ref, all *schema.Batch, v *voice) error {
	link := w.server.NewLink(all.Producer)
	defer link.Kill()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-link.Dead():
			cancel(errDied)
		case <-ctx.Done():
		}
	}()
	nc, err := nats.Connect("", nats.InProcessServer(wire{link}), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	s, err := publish.New(publish.Config{
		Conn: nc, Tenant: ref.Tenant(), Response: ref.Response(), Producer: all.Producer, Epoch: all.Epoch,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, e := range all.Events {
		if err := s.Send(ctx, e); err != nil {
			return err
		}
		if err := rest(ctx, v.Pace); err != nil {
			return err
		}
	}
	if !all.Last {
		return nil
	}
	return s.End(ctx)
}

// wire is a Link as the NATS client takes it.
type wire struct{ link *sim.Link }

// InProcessConn implements [nats.InProcessConnProvider].
func (c wire) InProcessConn() (net.Conn, error) { return c.link.Dial() }

// ingest has the gateway store what a voice says, as it does for those who send by HTTP.
func (w *world) ingest(ctx context.Context, ref schema.Ref, all *schema.Batch, v *voice) error {
	at := uint64(0)
	for first := 0; first < len(all.Events); first += v.Batch {
		behind := min(first+v.Batch, len(all.Events))
		b := &schema.Batch{
			Producer: all.Producer, Epoch: all.Epoch, Place: int64(first), Events: all.Events[first:behind],
			Last: all.Last && behind == len(all.Events),
		}
		var err error
		if at, err = w.keep(ctx, ref, b, at); err != nil {
			return err
		}
		if err := rest(ctx, v.Pace); err != nil {
			return err
		}
	}
	return nil
}

// keep tries until a batch is stored, behind whatever is stored of its producer.
func (w *world) keep(ctx context.Context, ref schema.Ref, b *schema.Batch, at uint64) (uint64, error) {
	for {
		stored, err := w.gateway.Ingest(ctx, ref, b, at)
		full := (*broker.FullError)(nil)
		switch {
		case err == nil:
			return stored, nil
		case errors.As(err, &full):
			if err := rest(ctx, full.RetryAfter); err != nil {
				return 0, err
			}
			continue
		case !errors.Is(err, broker.ErrFenced):
			return 0, err
		}
		for {
			sent, err := w.gateway.NextSent(ctx, ref, b.Producer, at)
			if err != nil {
				return 0, err
			}
			if sent == nil {
				break
			}
			at = sent.Position
		}
	}
}

// sent takes down what of a producer was stored, in the one order that there is.
func (h *history) sent(m sim.Message) {
	place, _ := strconv.ParseInt(m.Get(publish.HeaderPlace), 10, 64)
	epoch, _ := strconv.ParseInt(m.Get(publish.HeaderEpoch), 10, 64)
	b := schema.Batch{Producer: m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], Place: place, Epoch: epoch}
	b.Events, _ = schema.ParseLines(m.Data)
	b.Last = m.Get(publish.HeaderLast) == "true" || m.Get(publish.HeaderLast) == "" && b.Ends()
	h.batches = append(h.batches, b)
}

// judgeFed: a response that others feed is what a relay makes of the stored order that nothing disturbs, and, when it is complete,
// has every message of every voice once.
func (w *world) judgeFed(s *scene, ref schema.Ref, records []schema.Record, resp *schema.Response) {
	claim := slices.IndexFunc(records, func(r schema.Record) bool { return r.Kind == schema.RecordClaim })
	if claim < 0 || claim == len(records)-1 {
		return // it was over before a relay began
	}
	want, ended, err := w.undisturbed(s, ref, records[:claim+1])
	if err != nil {
		w.faultf("%s: a relay that nothing disturbs: %w", ref, err)
		return
	}
	var got []byte
	for _, r := range records[claim+1 : len(records)-1] {
		got = append(got, r.Frames...)
	}
	if resp.Status != schema.StatusCompleted {
		if !bytes.HasPrefix(want, got) { // what a cancel closes stands in the last record
			w.faultf("%s: shows what its producers have not said:\n%s\nnot\n%s", ref, got, want)
		}
		return
	}
	got = withoutLast(append(got, records[len(records)-1].Frames...))
	if !ended || !bytes.Equal(got, want) {
		w.faultf("%s: ended %t, is\n%s\nnot\n%s", ref, ended, got, want)
	}
	w.judgeSaid(s, ref, resp)
}

// withoutLast cuts the last frame off.
func withoutLast(frames []byte) []byte {
	end := bytes.LastIndex(frames[:len(frames)-2], []byte("\n\n"))
	if end < 0 {
		return nil
	}
	return frames[:end+2]
}

// undisturbed plays the stored order to a relay that begins behind the first claim. It counts what came twice.
func (w *world) undisturbed(s *scene, ref schema.Ref, begun []schema.Record) (frames []byte, ended bool, err error) {
	run, err := schema.FoldRun(ref, begun)
	if err != nil {
		return nil, false, err
	}
	var names []string
	for i := range s.Voices {
		names = append(names, s.name(i))
	}
	relay := schema.NewRelay(schema.NewSequencer(&run.State), names)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.journal[ref.Response()].batches {
		if _, _, ended = relay.Outcome(); ended {
			break
		}
		if next, _, _ := relay.Standing(b.Producer); b.Place < next {
			w.fired["(sent twice)"]++
		}
		out, err := relay.Take(&b)
		if err != nil {
			return frames, false, err
		}
		for i := range out {
			if frames, err = schema.AppendFrame(frames, &out[i]); err != nil {
				return frames, false, err
			}
		}
	}
	_, _, ended = relay.Outcome()
	return frames, ended, nil
}

// judgeSaid: nothing lost, nothing twice.
func (w *world) judgeSaid(s *scene, ref schema.Ref, resp *schema.Response) {
	var want, got []string
	for i := range s.Voices {
		for k := range s.Voices[i].Messages {
			want = append(want, s.Voices[i].text(s.name(i), k))
		}
	}
	for i := range resp.Output {
		got = append(got, resp.Output[i].Text())
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		w.faultf("%s: has %q, its producers said %q", ref, got, want)
	}
}
