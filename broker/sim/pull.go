package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

func unmarshal(data []byte, into any) error { return json.Unmarshal(data, into) }

// pull is one request for messages that has not been served yet.
type pull struct {
	c       *consumer
	sub     *sub // who waits for them
	reply   string
	left    int
	expires *time.Timer
	pulse   *time.Timer
	every   time.Duration // of the pulse
}

func (s *Server) consumerNext(r *request, args string, a *answer) {
	var q struct {
		Expires int64 `json:"expires"`
		Batch   int   `json:"batch"`
		Pulse   int64 `json:"idle_heartbeat"`
	}
	if !s.read(r, &q) {
		return
	}
	c := s.consumer(args)
	if c == nil {
		a.fail(noResponders)
		return
	}
	sub := s.interested(r.reply)
	if sub == nil {
		return
	}
	if q.Expires <= 0 || q.Batch <= 0 {
		s.refusef(r.c, "%s: %s", r.subject, r.data)
		return
	}
	p := &pull{c: c, sub: sub, reply: r.reply, left: q.Batch, every: time.Duration(q.Pulse)}
	sub.pull = p
	c.pulls = append(c.pulls, p)
	p.expires = s.after(time.Duration(q.Expires), p.expire)
	p.beat()
	c.serve()
}

// beat tells the client that its pull is not forgotten.
func (p *pull) beat() {
	if p.every == 0 {
		return
	}
	p.pulse = p.c.s.after(p.every, func() {
		if slices.Contains(p.c.pulls, p) {
			p.c.s.give(p.sub, p.reply, "", []byte("NATS/1.0 100 Idle Heartbeat\r\n\r\n"), nil)
			p.beat()
		}
	})
}

func (p *pull) expire() {
	if slices.Contains(p.c.pulls, p) {
		status := fmt.Appendf(nil, "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: %d\r\nNats-Pending-Bytes: 0\r\n\r\n", p.left)
		p.end()
		p.c.s.give(p.sub, p.reply, "", status, nil)
	}
}

// end takes a pull away.
func (p *pull) end() {
	p.c.pulls = slices.DeleteFunc(p.c.pulls, func(other *pull) bool { return other == p })
	p.sub.pull = nil
	p.expires.Stop()
	if p.pulse != nil {
		p.pulse.Stop()
	}
}

// give sends a message, or loses it on the way.
func (p *pull) give(m *Message, reply string) {
	s := p.c.s
	sub := p.sub
	if p.left--; p.left == 0 {
		p.end()
	}
	f := s.director.Fate(Op{Kind: Deliver, Stream: m.Stream, Subject: m.Subject, Client: sub.c.link.name})
	if f.Hold > 0 {
		sub.c.link.hold(f.Hold)
	}
	send := func() { s.give(sub, m.Subject, reply, m.Header, m.Data) }
	switch {
	case f.Skip || f.Mute:
	case f.Late+f.Slow > 0:
		s.after(f.Late+f.Slow, send)
	default:
		send()
	}
	switch {
	case f.Kill:
		sub.c.link.kill()
	case f.Cut:
		s.end(sub.c)
	}
}

// ackSubject is where a delivery is acked: it names the message, and which delivery it was.
func ackSubject(c *consumer, m *Message, count int) string {
	b := append([]byte(ackPrefix), c.st.name...)
	b = append(append(b, '.'), c.name...)
	for _, n := range []uint64{uint64(count), m.Sequence, c.delivered, uint64(m.Time.UnixNano()), 0} {
		b = strconv.AppendUint(append(b, '.'), n, 10)
	}
	return string(b)
}

// routeAck carries out what a worker says of a delivery. As on the real server nobody checks which delivery it names, nor
// who sends it: a stale ack acts on the current delivery.
func (s *Server) routeAck(r *request) {
	tokens := strings.Split(strings.TrimPrefix(r.subject, ackPrefix), ".")
	if len(tokens) != 7 {
		s.refusef(r.c, "ack of %s", r.subject)
		return
	}
	seq, err := strconv.ParseUint(tokens[3], 10, 64)
	c := s.consumer(tokens[0] + "." + tokens[1])
	if err != nil || c == nil {
		if r.reply != "" {
			s.noResponders(r.reply)
		}
		return
	}
	op := Op{Stream: c.st.name}
	if i, found := c.st.find(seq); found {
		op.Subject = c.st.messages[i].Subject
	}
	var do func(*answer)
	switch word, args, _ := bytes.Cut(r.data, []byte(" ")); string(word) {
	case "", "+ACK":
		op.Kind, do = Ack, func(a *answer) { c.end(seq); a.json(nil) }
	case "+WPI":
		op.Kind, do = Progress, func(a *answer) { c.progress(seq); a.json(nil) }
	case "-NAK":
		var q struct {
			Delay int64 `json:"delay"`
		}
		if len(args) > 0 && unmarshal(args, &q) != nil {
			s.refusef(r.c, "nak with %q", args)
			return
		}
		op.Kind, do = Nak, func(a *answer) { c.nak(seq, time.Duration(q.Delay)); a.json(nil) }
	default:
		s.refusef(r.c, "ack with %q", r.data)
		return
	}
	s.meet(r, op, do)
}

// progress keeps a delivery for another while.
func (c *consumer) progress(seq uint64) {
	if c.pending[seq] != nil && !slices.Contains(c.again, seq) {
		c.wait(seq, time.Duration(c.cfg.AckWait))
	}
}

// nak hands a delivery out again, after a delay.
func (c *consumer) nak(seq uint64, delay time.Duration) {
	d := c.pending[seq]
	switch {
	case d == nil:
	case delay > 0:
		c.wait(seq, delay)
	default:
		d.stop()
		c.handAgain(seq)
	}
}
