package sim

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// MaxPayload is how large a message may be, in bytes.
const MaxPayload = 8 << 20

// Director decides what goes wrong, and sees what is stored. Both methods are called under the server's lock, in the order in
// which things happen: they must not call the server.
type Director interface {
	// Fate says what becomes of an operation.
	Fate(op Op) Fate
	// Stored is told of every message that a stream takes in. Nobody may change its bytes.
	Stored(m Message)
}

// fair is the Director of a server on which nothing goes wrong.
type fair struct{}

func (fair) Fate(Op) Fate   { return Fate{} }
func (fair) Stored(Message) {}

// Server is a NATS server in memory. Its methods may be called from any goroutine.
type Server struct {
	director Director

	mu      sync.Mutex
	streams map[string]*stream
	subs    []*sub
	links   map[*Link]struct{} // that have connections
	down    int                // restarts that have not ended
	clients int
	faults  []error
}

// New returns an empty server. Without a Director nothing goes wrong.
func New(d Director) *Server {
	if d == nil {
		d = fair{}
	}
	return &Server{director: d, streams: map[string]*stream{}, links: map[*Link]struct{}{}}
}

// Restart ends every connection and lets none be made for as long as d. What a disk keeps is kept; consumers that are not
// durable, and pulls, are lost.
func (s *Server) Restart(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart(d)
}

func (s *Server) restart(d time.Duration) {
	s.down++
	for l := range s.links {
		l.cut()
	}
	for _, st := range s.streams {
		st.forget()
	}
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down--
	})
}

// Err says what clients have asked for that a Server does not know.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.faults...)
}

// refusef notes what is not known, and ends the connection that it came by.
func (s *Server) refusef(c *conn, format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf("sim: "+format, args...))
	if c != nil {
		s.end(c)
	}
}

// end ends a connection and what hangs on it.
func (s *Server) end(c *conn) {
	c.finish()
	c.in = nil
	if _, open := c.link.conns[c]; !open {
		return
	}
	delete(c.link.conns, c)
	if len(c.link.conns) == 0 {
		delete(s.links, c.link)
	}
	for _, sub := range c.subs {
		s.unsubscribe(sub)
	}
}

// Message is one stored message.
type Message struct {
	Stream, Subject string
	Sequence        uint64
	Header          []byte // as it stands in the protocol, or nil
	Data            []byte
	Time            time.Time
}

// Messages returns the messages of a subject as the leader has them, in order. Nobody may change their bytes.
func (s *Server) Messages(stream, subject string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[stream]
	if st == nil {
		return nil
	}
	var all []Message
	for _, m := range st.bySubject[subject] {
		all = append(all, *m)
	}
	return all
}

// Count returns how many messages a stream has.
func (s *Server) Count(stream string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[stream]; st != nil {
		return len(st.messages)
	}
	return 0
}

// Get returns a header of a message, or "".
func (m *Message) Get(key string) string {
	for line := range strings.SplitSeq(string(m.Header), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && name == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
