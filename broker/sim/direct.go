package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// directRead answers from a replica, which may lack the newest messages: then it gives a prefix.
func (s *Server) directRead(r *request, args string, a *answer) {
	name, subject, bySubject := strings.Cut(args, ".")
	var q query
	if !s.read(r, &q) {
		return
	}
	st := s.look(name)
	if st == nil || !st.cfg.AllowDirect {
		a.fail(noResponders)
		return
	}
	upto := st.last - min(st.last, uint64(a.fate.Stale))
	if bySubject {
		q.LastFor = subject
	}
	if q.Batch > 0 {
		st.batch(r, &q, upto, a)
		return
	}
	if m := st.lookUp(r, &q, upto); m != nil {
		a.message(m.dress(), m.Data)
	} else {
		a.message([]byte(notFound), nil)
	}
}

const notFound = "NATS/1.0 404 Message Not Found\r\n\r\n"

// batch answers with the messages of a subject from a sequence on, and with how many more there are.
func (st *stream) batch(r *request, q *query, upto uint64, a *answer) {
	if q.NextFor == "" || q.LastFor != "" || strings.ContainsAny(q.NextFor, "*>") {
		st.s.refusef(r.c, "batch of %s: %s", st.name, r.data)
		return
	}
	all := st.upto(q.NextFor, upto)
	for len(all) > 0 && all[0].Sequence < q.Seq {
		all = all[1:]
	}
	if len(all) == 0 {
		a.message([]byte(notFound), nil)
		return
	}
	size, previous := 0, uint64(0)
	for i := 0; i < q.Batch && len(all) > 0 && (q.MaxBytes == 0 || size < q.MaxBytes); i++ {
		m := all[0]
		all = all[1:]
		a.message(m.dress("Nats-Num-Pending", strconv.Itoa(len(all)), "Nats-Last-Sequence", strconv.FormatUint(previous, 10)), m.Data)
		previous = m.Sequence
		size += len(m.Header) + len(m.Data) + len(m.Subject)
	}
	a.message(fmt.Appendf(nil, "NATS/1.0 204 EOB\r\nNats-Num-Pending: %d\r\nNats-Last-Sequence: %d\r\n\r\n", len(all), previous), nil)
}
