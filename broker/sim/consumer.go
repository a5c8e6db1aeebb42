package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// consumerConfig is what a Server heeds of a consumer's configuration; times are in nanoseconds.
type consumerConfig struct {
	Durable       string    `json:"durable_name"`
	DeliverPolicy string    `json:"deliver_policy"`
	StartSeq      uint64    `json:"opt_start_seq"`
	StartTime     time.Time `json:"opt_start_time"`
	AckPolicy     string    `json:"ack_policy"`
	AckWait       int64     `json:"ack_wait"`
	Filter        string    `json:"filter_subject"`
	MaxDeliver    int       `json:"max_deliver"`
}

// consumer hands out the messages of a stream to those who pull.
type consumer struct {
	s         *Server
	st        *stream
	name      string
	cfg       consumerConfig
	raw       jsontext.Value
	created   time.Time
	next      uint64 // sequence of the stream from which on nothing was handed out yet
	delivered uint64 // deliveries
	pending   map[uint64]*delivery
	again     []uint64 // to be handed out again, in order
	pulls     []*pull
}

// delivery is a message that was handed out and is not acked.
type delivery struct {
	count int
	timer *time.Timer // until it is handed out again
}

func (s *Server) consumerCreate(r *request, args string, a *answer) {
	var q struct {
		Stream string         `json:"stream_name"`
		Action string         `json:"action"`
		Config jsontext.Value `json:"config"`
	}
	if !s.read(r, &q) {
		return
	}
	streamName, name, _ := strings.Cut(args, ".")
	st := s.look(streamName)
	if st == nil {
		a.fail(codeNoStream)
		return
	}
	cfg, ok := s.configureConsumer(r, q.Config)
	if !ok {
		return
	}
	c := st.consumers[name]
	if c == nil {
		c = &consumer{s: s, st: st, name: name, raw: q.Config, created: time.Now(), pending: map[uint64]*delivery{}}
		st.consumers[name] = c
		c.begin(&cfg)
	}
	c.cfg = cfg
	s.write(r, a, c.info())
}

func (s *Server) consumerInfo(r *request, args string, a *answer) {
	c := s.consumer(args)
	if c == nil {
		a.fail(codeNoConsumer)
		return
	}
	s.write(r, a, c.info())
}

type place struct {
	Consumer uint64 `json:"consumer_seq"`
	Stream   uint64 `json:"stream_seq"`
}

type consumerInfo struct {
	Stream      string         `json:"stream_name"`
	Name        string         `json:"name"`
	Created     time.Time      `json:"created"`
	Config      jsontext.Value `json:"config"`
	Delivered   place          `json:"delivered"`
	AckPending  int            `json:"num_ack_pending"`
	Redelivered int            `json:"num_redelivered"`
	Waiting     int            `json:"num_waiting"`
	Pending     int            `json:"num_pending"` // never handed out
}

func (c *consumer) info() *consumerInfo {
	next, _ := c.st.find(c.next)
	i := &consumerInfo{
		Stream: c.st.name, Name: c.name, Created: c.created, Config: c.raw,
		Delivered:  place{c.delivered, c.next - 1},
		AckPending: len(c.pending), Waiting: len(c.pulls), Pending: len(c.st.messages) - next,
	}
	for _, d := range c.pending {
		if d.count > 1 {
			i.Redelivered++
		}
	}
	return i
}

func (s *Server) configureConsumer(r *request, raw jsontext.Value) (cfg consumerConfig, ok bool) {
	err := unmarshal(raw, &cfg)
	known := slices.Contains([]string{"all", "by_start_time", "by_start_sequence"}, cfg.DeliverPolicy) &&
		slices.Contains([]string{"explicit", "none"}, cfg.AckPolicy) && cfg.Filter == "" && cfg.MaxDeliver <= 0
	if err != nil || !known {
		s.refusef(r.c, "%s: consumer %s: %v", r.subject, raw, err)
		return cfg, false
	}
	return cfg, true
}

// begin finds where a new consumer starts.
func (c *consumer) begin(cfg *consumerConfig) {
	c.next = 1
	switch cfg.DeliverPolicy {
	case "by_start_sequence":
		c.next = cfg.StartSeq
	case "by_start_time":
		c.next = c.st.last + 1
		for _, m := range c.st.messages {
			if !m.Time.Before(cfg.StartTime) {
				c.next = m.Sequence
				break
			}
		}
	}
}

func (s *Server) consumerDelete(r *request, args string, a *answer) {
	c := s.consumer(args)
	if c == nil {
		a.fail(codeNoConsumer)
		return
	}
	c.dropPulls()
	delete(c.st.consumers, c.name)
	a.json([]byte(`{"success":true}`))
}

// consumer finds one by the names of stream and consumer.
func (s *Server) consumer(args string) *consumer {
	streamName, name, _ := strings.Cut(args, ".")
	st := s.look(streamName)
	if st == nil {
		return nil
	}
	return st.consumers[name]
}

// serve hands out what there is to those who wait.
func (c *consumer) serve() {
	for len(c.pulls) > 0 {
		m := c.take()
		if m == nil {
			return
		}
		c.hand(m, c.pulls[0])
	}
}

// take returns the next message that is to be handed out.
func (c *consumer) take() *Message {
	for len(c.again) > 0 {
		seq := c.again[0]
		c.again = c.again[1:]
		if i, found := c.st.find(seq); found {
			return c.st.messages[i]
		}
	}
	i, _ := c.st.find(c.next)
	if i == len(c.st.messages) {
		return nil
	}
	m := c.st.messages[i]
	c.next = m.Sequence + 1
	return m
}

// hand gives a message to a pull. Whether it arrives is another question.
func (c *consumer) hand(m *Message, p *pull) {
	c.delivered++
	d := &delivery{count: 1}
	if c.cfg.AckPolicy == "explicit" {
		if known := c.pending[m.Sequence]; known != nil {
			d = known
			d.count++
		}
		c.pending[m.Sequence] = d
		c.wait(m.Sequence, time.Duration(c.cfg.AckWait))
	}
	reply := ackSubject(c, m, d.count)
	p.give(m, reply)
}

// wait hands a delivery out again when so much time has passed.
func (c *consumer) wait(seq uint64, d time.Duration) {
	p := c.pending[seq]
	p.stop()
	p.timer = c.s.after(d, func() {
		if c.pending[seq] == p {
			c.handAgain(seq)
		}
	})
}

func (c *consumer) handAgain(seq uint64) {
	if !slices.Contains(c.again, seq) {
		c.again = append(c.again, seq)
	}
	c.serve()
}

func (d *delivery) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// end drops a message that was acked.
func (c *consumer) end(seq uint64) {
	d := c.pending[seq]
	if d == nil {
		return
	}
	d.stop()
	delete(c.pending, seq)
	c.again = slices.DeleteFunc(c.again, func(s uint64) bool { return s == seq })
	if i, found := c.st.find(seq); found && c.st.cfg.Retention == "workqueue" {
		c.st.remove(c.st.messages[i])
	}
}

func (c *consumer) dropPulls() {
	for len(c.pulls) > 0 {
		c.pulls[0].end()
	}
}
