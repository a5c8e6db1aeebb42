package sim

import (
	"bytes"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// routeCall carries out a call of the JetStream API: its name without the prefix.
func (s *Server) routeCall(r *request, call string) {
	for _, known := range []struct {
		verb string
		kind OpKind
		do   func(*Server, *request, string, *answer)
	}{
		{"STREAM.INFO.", Manage, (*Server).streamInfo},
		{"STREAM.CREATE.", Manage, (*Server).streamCreate},
		{"STREAM.UPDATE.", Manage, (*Server).streamUpdate},
		{"STREAM.MSG.GET.", LeaderRead, (*Server).leaderRead},
		{"STREAM.MSG.DELETE.", Erase, (*Server).erase},
		{"DIRECT.GET.", DirectRead, (*Server).directRead},
		{"INFO", Manage, (*Server).accountInfo},
		{"CONSUMER.INFO.", Manage, (*Server).consumerInfo},
		{"CONSUMER.CREATE.", Manage, (*Server).consumerCreate},
		{"CONSUMER.DELETE.", Manage, (*Server).consumerDelete},
		{"CONSUMER.MSG.NEXT.", Pull, (*Server).consumerNext},
	} {
		args, ok := strings.CutPrefix(call, known.verb)
		if !ok {
			continue
		}
		stream, _, _ := strings.Cut(args, ".")
		s.meet(r, Op{Kind: known.kind, Stream: stream, Subject: subjectOf(r)}, func(a *answer) { known.do(s, r, args, a) })
		return
	}
	s.refusef(r.c, "call of %s", call)
}

// subjectOf returns the subject that a read is about, if it says so.
func subjectOf(r *request) string {
	var q query
	if json.Unmarshal(r.data, &q) != nil {
		return ""
	}
	return q.LastFor + q.NextFor
}

// read reads the body of a call; what is not known in it is refused.
func (s *Server) read(r *request, into any) bool {
	if len(bytes.TrimSpace(r.data)) == 0 {
		return true
	}
	if err := json.Unmarshal(r.data, into, json.RejectUnknownMembers(true)); err != nil {
		s.refusef(r.c, "%s %.200s: %w", r.subject, r.data, err)
		return false
	}
	return true
}

func (s *Server) write(r *request, a *answer, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		s.refusef(r.c, "answer to %s: %w", r.subject, err)
		return
	}
	a.json(data)
}

// accountInfo tells what the account has stored. It has no limit.
func (s *Server) accountInfo(r *request, _ string, a *answer) {
	var info struct {
		Memory    int64 `json:"memory"`
		Storage   int64 `json:"storage"`
		Streams   int   `json:"streams"`
		Consumers int   `json:"consumers"`
		Limits    struct {
			Memory  int64 `json:"max_memory"`
			Storage int64 `json:"max_storage"`
		} `json:"limits"`
	}
	info.Limits.Memory, info.Limits.Storage = -1, -1
	info.Streams = len(s.streams)
	for name := range s.streams {
		st := s.look(name)
		info.Storage, info.Consumers = info.Storage+st.bytes, info.Consumers+len(st.consumers)
	}
	s.write(r, a, info)
}

type streamState struct {
	Messages  int            `json:"messages"`
	Bytes     int64          `json:"bytes"`
	First     uint64         `json:"first_seq"`
	FirstTime time.Time      `json:"first_ts"`
	Last      uint64         `json:"last_seq"`
	LastTime  time.Time      `json:"last_ts"`
	Consumers int            `json:"consumer_count"`
	Subjects  map[string]int `json:"subjects,omitempty"`
}

type streamInfo struct {
	Total   int            `json:"total"`
	Offset  int            `json:"offset"`
	Limit   int            `json:"limit"`
	Created time.Time      `json:"created"`
	Config  jsontext.Value `json:"config"`
	State   streamState    `json:"state"`
}

// subjectsLimit is how many subjects one answer lists.
const subjectsLimit = 100_000

func (s *Server) streamInfo(r *request, name string, a *answer) {
	var q struct {
		Filter string `json:"subjects_filter"`
		Offset int    `json:"offset"`
	}
	if !s.read(r, &q) {
		return
	}
	st := s.look(name)
	if st == nil {
		a.fail(codeNoStream)
		return
	}
	info := st.info()
	if q.Filter != "" {
		info.State.Subjects = map[string]int{}
		for subject, messages := range st.bySubject {
			if matches(q.Filter, subject) {
				info.State.Subjects[subject] = len(messages)
			}
		}
		info.Total, info.Limit = len(info.State.Subjects), subjectsLimit
	}
	s.write(r, a, info)
}

func (st *stream) info() *streamInfo {
	i := &streamInfo{Created: st.created, Config: st.raw, State: streamState{
		Messages: len(st.messages), Bytes: st.bytes, Last: st.last, Consumers: len(st.consumers),
	}}
	if st.last > 0 {
		i.State.First = st.last + 1
	}
	if n := len(st.messages); n > 0 {
		i.State.First, i.State.FirstTime, i.State.LastTime = st.messages[0].Sequence, st.messages[0].Time, st.messages[n-1].Time
	}
	return i
}

// configure reads a stream's configuration, and checks that it asks for nothing that a Server has not.
func (s *Server) configure(r *request) (cfg streamConfig, ok bool) {
	if err := json.Unmarshal(r.data, &cfg); err != nil || len(cfg.Subjects) != 1 || cfg.Discard != "new" || cfg.MaxMsgsPerSubject > 1 {
		s.refusef(r.c, "%s: configuration %s: %v", r.subject, r.data, err)
		return cfg, false
	}
	return cfg, true
}

func (s *Server) streamCreate(r *request, name string, a *answer) {
	cfg, ok := s.configure(r)
	if !ok {
		return
	}
	st := s.streams[name]
	if st == nil {
		st = &stream{s: s, name: name, created: time.Now(), bySubject: map[string][]*Message{}, consumers: map[string]*consumer{}}
		s.streams[name] = st
		st.cfg, st.raw = cfg, r.data
	}
	s.write(r, a, st.info())
}

func (s *Server) streamUpdate(r *request, name string, a *answer) {
	cfg, ok := s.configure(r)
	st := s.look(name)
	switch {
	case !ok:
	case st == nil:
		a.fail(codeNoStream)
	default:
		st.cfg, st.raw = cfg, r.data
		s.write(r, a, st.info())
	}
}

// query is what a read asks for.
type query struct {
	Seq      uint64 `json:"seq,omitzero"`
	LastFor  string `json:"last_by_subj,omitzero"`
	NextFor  string `json:"next_by_subj,omitzero"`
	Batch    int    `json:"batch,omitzero"`
	MaxBytes int    `json:"max_bytes,omitzero"`
}

type leaderMessage struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Hdrs    []byte    `json:"hdrs,omitempty"`
	Data    []byte    `json:"data,omitempty"`
	Time    time.Time `json:"time"`
}

func (s *Server) leaderRead(r *request, name string, a *answer) {
	var q query
	if !s.read(r, &q) {
		return
	}
	st := s.look(name)
	if st == nil {
		a.fail(codeNoStream)
		return
	}
	m := st.lookUp(r, &q, st.last)
	if m == nil {
		a.fail(codeNoMessage)
		return
	}
	s.write(r, a, struct {
		Message leaderMessage `json:"message"`
	}{leaderMessage{m.Subject, m.Sequence, m.Header, m.Data, m.Time}})
}

// lookUp finds the one message that a read asks for, among those up to a sequence.
func (st *stream) lookUp(r *request, q *query, upto uint64) *Message {
	if strings.ContainsAny(q.LastFor, "*>") {
		st.s.refusef(r.c, "read of %s with a wildcard: %s", st.name, r.data)
		return nil
	}
	switch {
	case q.LastFor != "":
		all := st.upto(q.LastFor, upto)
		if len(all) > 0 {
			return all[len(all)-1]
		}
	case strings.ContainsAny(q.NextFor, "*>"):
		i, _ := st.find(q.Seq)
		for _, m := range st.messages[i:] {
			if m.Sequence <= upto && matches(q.NextFor, m.Subject) {
				return m
			}
		}
	case q.NextFor != "":
		for _, m := range st.upto(q.NextFor, upto) {
			if m.Sequence >= q.Seq {
				return m
			}
		}
	default:
		if i, found := st.find(q.Seq); found && q.Seq <= upto {
			return st.messages[i]
		}
	}
	return nil
}

// upto returns the messages of a subject up to a sequence.
func (st *stream) upto(subject string, last uint64) []*Message {
	all := st.bySubject[subject]
	for len(all) > 0 && all[len(all)-1].Sequence > last {
		all = all[:len(all)-1]
	}
	return all
}

func (s *Server) erase(r *request, name string, a *answer) {
	var q struct {
		Seq     uint64 `json:"seq"`
		NoErase bool   `json:"no_erase"`
	}
	if !s.read(r, &q) {
		return
	}
	if q.NoErase {
		s.refusef(r.c, "%s: a delete that does not overwrite", r.subject)
		return
	}
	st := s.look(name)
	switch {
	case st == nil:
		a.fail(codeNoStream)
	case st.cfg.DenyDelete:
		a.fail(codeDeleteFailed)
	default:
		i, found := st.find(q.Seq)
		if !found {
			a.fail(st.missing(q.Seq, i))
			return
		}
		st.remove(st.messages[i])
		for _, c := range st.consumers {
			c.end(q.Seq)
		}
		a.json([]byte(`{"success":true}`))
	}
}

// missing is why there is no message of that sequence to erase, which would stand at i: it was removed behind others, or it
// is not between the first and the last that the stream knows of.
func (st *stream) missing(sequence uint64, i int) int {
	if i > 0 && sequence <= st.last {
		return codeNoSequence
	}
	return codeDeleteFailed
}
