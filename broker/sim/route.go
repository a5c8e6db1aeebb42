package sim

import (
	"strconv"
	"strings"
	"time"
)

// Prefixes of what is no message.
const (
	apiPrefix = "$JS.API."
	ackPrefix = "$JS.ACK."
)

// route finds out what a request is, asks for its fate, and carries it out.
func (s *Server) route(r *request) {
	call, isCall := strings.CutPrefix(r.subject, apiPrefix)
	switch {
	case isCall:
		s.routeCall(r, call)
	case strings.HasPrefix(r.subject, ackPrefix):
		s.routeAck(r)
	default:
		st := s.holding(r.subject)
		if st == nil {
			s.passOn(r)
			return
		}
		s.meet(r, Op{Kind: Publish, Stream: st.name, Subject: r.subject}, func(a *answer) { s.append(st, r, a) })
	}
}

// passOn is the core of NATS: who has subscribed gets it.
func (s *Server) passOn(r *request) {
	if !s.deliver(r.subject, r.reply, r.header, r.data) && r.reply != "" {
		s.noResponders(r.reply)
	}
}

func (s *Server) noResponders(reply string) {
	s.deliver(reply, "", []byte("NATS/1.0 503\r\n\r\n"), nil)
}

// answer is what goes back to the client, as soon as its fate lets it.
type answer struct {
	s     *Server
	reply string
	fate  Fate
	sent  []func() // held back until they may go
}

// json answers with an object.
func (a *answer) json(data []byte) { a.message(nil, data) }

// message answers with one message of perhaps several.
func (a *answer) message(header, data []byte) {
	a.sent = append(a.sent, func() { a.s.deliver(a.reply, "", header, data) })
}

// fail answers with an error of JetStream.
func (a *answer) fail(code int) { a.sent = append(a.sent, func() { a.s.failure(a.reply, code) }) }

func (s *Server) failure(reply string, code int) {
	if code == noResponders {
		s.noResponders(reply)
		return
	}
	b := append([]byte(`{"type":"error","stream":"","seq":0,"error":{"code":`), strconv.Itoa(statusOf[code])...)
	b = append(append(b, `,"err_code":`...), strconv.Itoa(code)...)
	b = append(append(append(b, `,"description":"`...), textOf[code]...), `"}}`...)
	s.deliver(reply, "", nil, b)
}

// meet lets an operation meet its fate.
func (s *Server) meet(r *request, op Op, do func(*answer)) {
	op.Client = r.c.link.name
	f := s.director.Fate(op)
	if op.Kind == Pull && f.Code != 0 {
		f.Code = noResponders // a pull is no call of the API: that is all that can be said to it
	}
	if f.Hold > 0 {
		r.c.link.hold(f.Hold) // the answer waits, too
	}
	if f.Late > 0 {
		s.after(f.Late, func() { s.carryOut(r, f, do) })
	} else {
		s.carryOut(r, f, do)
	}
	if f.Kill {
		r.c.link.kill()
	}
}

func (s *Server) carryOut(r *request, f Fate, do func(*answer)) {
	a := &answer{s: s, reply: r.reply, fate: f}
	if f.Cut || f.Kill || f.Mute {
		a.reply = ""
	}
	if !f.Skip {
		do(a)
	}
	if f.Code != 0 {
		a.sent = nil
		a.fail(f.Code)
	}
	if f.Cut {
		s.end(r.c)
	}
	switch {
	case a.reply == "":
	case f.Skip && f.Code == 0:
	case f.Slow > 0:
		s.after(f.Slow, a.flush)
	default:
		a.flush()
	}
}

func (a *answer) flush() {
	for _, send := range a.sent {
		send()
	}
}

// after does something later, under the lock.
func (s *Server) after(d time.Duration, do func()) *time.Timer {
	return time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		do()
	})
}
