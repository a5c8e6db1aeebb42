package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// sub is one subscription of a connection.
type sub struct {
	c       *conn
	subject string
	sid     string
	group   string // of a queue; "" for none
	left    int    // messages until it ends; 0 is for ever
	pull    *pull
}

// request is what a client publishes.
type request struct {
	c       *conn
	subject string
	reply   string
	header  []byte
	data    []byte
}

var crlf = []byte("\r\n")

func (s *Server) greet(c *conn) {
	s.links[c.link] = struct{}{}
	s.clients++
	c.send(fmt.Appendf(nil, `INFO {"server_id":"SIM","server_name":"sim","version":"2.15.2","proto":1,"host":"sim","port":4222,`+
		`"headers":true,"jetstream":true,"max_payload":%d,"client_id":%d}`+"\r\n", MaxPayload, s.clients))
}

// consume carries out what has come, as far as it is whole and the connection is not held.
func (s *Server) consume(c *conn, b []byte) {
	c.in = append(c.in, b...)
	done := 0
	for !c.isHeld() && !c.over() {
		n := s.step(c, c.in[done:])
		if n == 0 {
			break
		}
		done += n
	}
	if !c.over() {
		c.in = c.in[:copy(c.in, c.in[done:])]
	}
}

// step carries out the first operation of b and returns its length, 0 where it is not whole yet.
func (s *Server) step(c *conn, b []byte) int {
	line, _, whole := bytes.Cut(b, crlf)
	if !whole {
		return 0
	}
	n := len(line) + len(crlf)
	verb, rest, _ := strings.Cut(string(line), " ")
	args := strings.Fields(rest)
	switch strings.ToUpper(verb) {
	case "PUB", "HPUB":
		return s.publish(c, verb == "HPUB", args, b[n:], n)
	case "SUB":
		s.subscribe(c, args)
	case "UNSUB":
		s.leave(c, args)
	case "PING":
		c.send([]byte("PONG\r\n"))
		c.greet()
	case "PONG", "CONNECT":
	default:
		s.refusef(c, "protocol: %.80q", line)
	}
	return n
}

func (s *Server) publish(c *conn, headed bool, args []string, b []byte, n int) int {
	sizes := 1
	if headed {
		sizes = 2
	}
	if len(args) < sizes+1 || len(args) > sizes+2 {
		s.refusef(c, "publish: %q", args)
		return n
	}
	r := request{c: c, subject: args[0]}
	if len(args) == sizes+2 {
		r.reply = args[1]
	}
	total, err := strconv.Atoi(args[len(args)-1])
	head := 0
	if headed && err == nil {
		head, err = strconv.Atoi(args[len(args)-2])
	}
	if err != nil || total > MaxPayload || head > total {
		s.refusef(c, "publish: %q", args)
		return n
	}
	if len(b) < total+len(crlf) {
		return 0
	}
	body := bytes.Clone(b[:total])
	if headed {
		r.header = body[:head:head]
	}
	r.data = body[head:]
	s.route(&r)
	return n + total + len(crlf)
}

func (s *Server) subscribe(c *conn, args []string) {
	if len(args) != 2 && len(args) != 3 {
		s.refusef(c, "subscribe: %q", args)
		return
	}
	sub := &sub{c: c, subject: args[0], sid: args[len(args)-1]}
	if len(args) == 3 {
		sub.group = args[1]
	}
	c.subs[sub.sid] = sub
	s.subs = append(s.subs, sub)
}

func (s *Server) leave(c *conn, args []string) {
	if len(args) == 0 || len(args) > 2 {
		s.refusef(c, "unsubscribe: %q", args)
		return
	}
	sub := c.subs[args[0]]
	if sub == nil {
		return
	}
	if len(args) == 2 {
		sub.left, _ = strconv.Atoi(args[1])
		return
	}
	s.unsubscribe(sub)
}

func (s *Server) unsubscribe(sub *sub) {
	delete(sub.c.subs, sub.sid)
	for i, other := range s.subs {
		if other == sub {
			s.subs = append(s.subs[:i], s.subs[i+1:]...)
			break
		}
	}
	if sub.pull != nil {
		sub.pull.end()
	}
}

// interested returns the first subscription to a subject.
func (s *Server) interested(subject string) *sub {
	for _, sub := range s.subs {
		if matches(sub.subject, subject) {
			return sub
		}
	}
	return nil
}

// deliver gives a message to everybody who has subscribed to its subject, and reports whether anybody has.
func (s *Server) deliver(subject, reply string, header, data []byte) bool {
	var all []*sub
	served := map[string]bool{} // queue groups
	for _, sub := range s.subs {
		if !matches(sub.subject, subject) || served[sub.group] {
			continue
		}
		served[sub.group] = sub.group != ""
		all = append(all, sub)
	}
	for _, sub := range all {
		s.give(sub, subject, reply, header, data)
	}
	return len(all) > 0
}

func (s *Server) give(sub *sub, subject, reply string, header, data []byte) {
	line := make([]byte, 0, 128)
	if len(header) > 0 {
		line = append(line, 'H')
	}
	line = append(append(append(line, "MSG "...), subject...), ' ')
	line = append(append(line, sub.sid...), ' ')
	if reply != "" {
		line = append(append(line, reply...), ' ')
	}
	if len(header) > 0 {
		line = append(strconv.AppendInt(line, int64(len(header)), 10), ' ')
	}
	line = append(strconv.AppendInt(line, int64(len(header)+len(data)), 10), crlf...)
	sub.c.send(line, header, data, crlf)
	if sub.left > 0 {
		if sub.left--; sub.left == 0 {
			s.unsubscribe(sub)
		}
	}
}

// matches reports whether a subject falls under a pattern.
func matches(pattern, subject string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, ".")
		t, trest, tmore := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case p != "*" && p != t:
			return false
		case !pmore || !tmore:
			return pmore == tmore
		}
		pattern, subject = prest, trest
	}
}
