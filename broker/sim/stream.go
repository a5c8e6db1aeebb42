package sim

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// streamConfig is what a Server heeds of a stream's configuration; times are in nanoseconds. The rest is kept as it came.
type streamConfig struct {
	Name              string   `json:"name"`
	Subjects          []string `json:"subjects"`
	Retention         string   `json:"retention"`
	Discard           string   `json:"discard"`
	MaxAge            int64    `json:"max_age"`
	MaxBytes          int64    `json:"max_bytes"`
	MaxMsgsPerSubject int64    `json:"max_msgs_per_subject"`
	DenyDelete        bool     `json:"deny_delete"`
	AllowDirect       bool     `json:"allow_direct"`
	RePublish         *struct {
		Src  string `json:"src"`
		Dest string `json:"dest"`
	} `json:"republish"`
}

// stream is one stream, as its leader knows it.
type stream struct {
	s         *Server
	name      string
	cfg       streamConfig
	raw       jsontext.Value
	created   time.Time
	last      uint64     // sequence of the last message that was ever stored
	messages  []*Message // in order
	bySubject map[string][]*Message
	bytes     int64
	consumers map[string]*consumer
}

// holding returns the stream that a subject belongs to.
func (s *Server) holding(subject string) *stream {
	for _, st := range s.streams {
		if matches(st.cfg.Subjects[0], subject) {
			st.age()
			return st
		}
	}
	return nil
}

// look returns a stream by its name.
func (s *Server) look(name string) *stream {
	st := s.streams[name]
	if st != nil {
		st.age()
	}
	return st
}

// weight is what a message counts against the stream's bound: what it takes in the file store.
func (m *Message) weight() int64 {
	n := 30 + len(m.Subject) + len(m.Data)
	if len(m.Header) > 0 {
		n += 4 + len(m.Header)
	}
	return int64(n)
}

// append stores a message, if it may stand where it is to stand, and republishes it.
func (s *Server) append(st *stream, r *request, a *answer) {
	m := &Message{Stream: st.name, Subject: r.subject, Header: r.header, Data: r.data, Time: time.Now()}
	earlier := st.bySubject[r.subject]
	var previous uint64
	if len(earlier) > 0 {
		previous = earlier[len(earlier)-1].Sequence
	}
	expected, ok := s.expected(r)
	switch {
	case !ok:
		return
	case expected != nil && *expected != previous:
		a.fail(codeWrongLast)
		return
	case st.cfg.MaxBytes > 0 && st.bytes+m.weight() > st.cfg.MaxBytes:
		a.fail(codeStoreFailed)
		return
	}
	st.last++
	m.Sequence = st.last
	st.messages = append(st.messages, m)
	st.bySubject[m.Subject] = append(earlier, m)
	st.bytes += m.weight()
	if st.cfg.MaxMsgsPerSubject == 1 && len(earlier) > 0 {
		st.remove(earlier[0])
	}
	s.director.Stored(*m)
	s.republish(st, m, previous)
	ack := append([]byte(`{"stream":"`), st.name...)
	ack = append(strconv.AppendUint(append(ack, `","seq":`...), m.Sequence, 10), '}')
	a.json(ack)
	for _, c := range st.consumers {
		c.serve()
	}
}

const expectHeader = "Nats-Expected-Last-Subject-Sequence"

// expected reads the one instruction to the server that a Server knows.
func (s *Server) expected(r *request) (*uint64, bool) {
	var expected *uint64
	for line := range bytes.SplitSeq(r.header, crlf) {
		key, value, _ := strings.Cut(string(line), ":")
		if !strings.HasPrefix(key, "Nats-") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		if key != expectHeader || err != nil {
			s.refusef(r.c, "header of a publish: %q", line)
			return nil, false
		}
		expected = &n
	}
	return expected, true
}

// republish sends a stored message to the subject's live twin.
func (s *Server) republish(st *stream, m *Message, previous uint64) {
	if st.cfg.RePublish == nil {
		return
	}
	f := s.director.Fate(Op{Kind: Republish, Stream: st.name, Subject: m.Subject})
	if f.Skip {
		return
	}
	subject := translate(st.cfg.RePublish.Src, st.cfg.RePublish.Dest, m.Subject)
	header := m.dress("Nats-Last-Sequence", strconv.FormatUint(previous, 10))
	send := func() { s.deliver(subject, "", header, m.Data) }
	if f.Late > 0 {
		s.after(f.Late, send)
	} else {
		send()
	}
	if f.Twice {
		s.after(f.Slow, send)
	}
}

// translate puts what the wildcards of src stand for into dest.
func translate(src, dest, subject string) string {
	tokens, n := strings.Split(subject, "."), 0
	for i, t := range strings.Split(src, ".") {
		if t == "*" {
			n++
			dest = strings.Replace(dest, "{{wildcard("+strconv.Itoa(n)+")}}", tokens[i], 1)
		}
	}
	return dest
}

// dress returns the message's headers, with where it stands and what else is given, as keys and values.
func (m *Message) dress(more ...string) []byte {
	h := make([]byte, 0, len(m.Header)+256)
	if len(m.Header) > 0 {
		h = append(h, m.Header[:len(m.Header)-len(crlf)]...)
	} else {
		h = append(h, "NATS/1.0\r\n"...)
	}
	pairs := append([]string{
		"Nats-Stream", m.Stream, "Nats-Subject", m.Subject, "Nats-Sequence", strconv.FormatUint(m.Sequence, 10),
		"Nats-Time-Stamp", m.Time.UTC().Format(time.RFC3339Nano),
	}, more...)
	for i := 0; i < len(pairs); i += 2 {
		h = append(append(append(append(h, pairs[i]...), ": "...), pairs[i+1]...), crlf...)
	}
	return append(h, crlf...)
}

// remove takes a message out.
func (st *stream) remove(m *Message) {
	i, found := st.find(m.Sequence)
	if !found {
		return
	}
	st.messages = slices.Delete(st.messages, i, i+1)
	rest := slices.DeleteFunc(st.bySubject[m.Subject], func(x *Message) bool { return x == m })
	if len(rest) == 0 {
		delete(st.bySubject, m.Subject)
	} else {
		st.bySubject[m.Subject] = rest
	}
	st.bytes -= m.weight()
}

// find returns where the message with that sequence stands, or where it would.
func (st *stream) find(sequence uint64) (int, bool) {
	return slices.BinarySearchFunc(st.messages, sequence, func(m *Message, seq uint64) int { return cmp.Compare(m.Sequence, seq) })
}

// age removes what is too old.
func (st *stream) age() {
	for st.cfg.MaxAge > 0 && len(st.messages) > 0 && time.Since(st.messages[0].Time) >= time.Duration(st.cfg.MaxAge) {
		st.remove(st.messages[0])
	}
}

// forget drops what a restart loses.
func (st *stream) forget() {
	for name, c := range st.consumers {
		c.dropPulls()
		if c.cfg.Durable == "" {
			delete(st.consumers, name)
		}
	}
}
