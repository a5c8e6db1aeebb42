package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Kind says what a record's private body is. Its frames, whatever the kind, are what clients are served.
type Kind string

// The kinds of records. The format is for ever: a kind is never given another meaning.
const (
	// RecordRequest opens a log: body is the Command, frames are response.created.
	RecordRequest Kind = "request"
	// RecordClaim begins an attempt: body is a Claim, frames are usually response.in_progress.
	RecordClaim Kind = "claim"
	// RecordEvents holds frames that were committed together; no body.
	RecordEvents Kind = "events"
	// RecordTurn says how a model call ended, and which tool calls are about to be made: body is a Turn.
	RecordTurn Kind = "turn"
	// RecordCall says that a model call was made which can be taken up again: body is a ModelCall.
	RecordCall Kind = "call"
	// RecordTry says that a model call has failed, before another may be made: body is a Try.
	RecordTry Kind = "try"
	// RecordResult says what a tool call gave while its frames are still held back: body is a Result.
	RecordResult Kind = "result"
	// RecordRelease ends an attempt that gives the run back as planned: body is a Release, or nothing. Its claim counts as no
	// failed attempt.
	RecordRelease Kind = "release"
)

// FormatVersion is the version of the record format, in every record.
const FormatVersion = 1

// Record is what the log stores as one message.
type Record struct {
	Version int // of the format; Seal sets it
	Kind    Kind
	First   int64 // sequence number of the first frame
	Last    int64 // and of the last; First-1 where there are no frames
	Attempt int   // the attempt that wrote it; 0 for the request record
	Nonce   string
	Time    int64            // milliseconds since 1970 by the writer's clock, for replay at the log's own pace
	Taken   map[string]int64 // per producer, the number of the last event taken in
	Body    []byte           // private: never served
	Frames  []byte           // served as they are
	Chain   Digest
}

// Digest is a link of the hash chain of a log.
type Digest [sha256.Size]byte

// Genesis is the link before a log's first record. Tenant and response seed it, so that a record is bound to its log.
func Genesis(ref Ref) Digest {
	return digest([]byte("midstream/1"), []byte(ref.Tenant()), []byte(ref.Response()))
}

// Link returns the digest of the record behind prev: SHA-256 over the previous link, format version, kind, all other
// headers, body and frames, each with its length before it.
func (r *Record) Link(prev Digest) Digest {
	return digest(prev[:], num(int64(r.Version)), []byte(r.Kind), num(r.First), num(r.Last), num(int64(r.Attempt)),
		[]byte(r.Nonce), num(r.Time), []byte(FormatTaken(r.Taken)), r.Body, r.Frames)
}

// Seal writes the record in this build's format, and sets its place in the chain.
func (r *Record) Seal(prev Digest) {
	r.Version = FormatVersion
	r.Chain = r.Link(prev)
}

// Verify reports whether the record is the one that was chained behind prev.
func (r *Record) Verify(prev Digest) error {
	if r.Link(prev) != r.Chain {
		return fmt.Errorf("record %s %d-%d: chain digest differs", r.Kind, r.First, r.Last)
	}
	return nil
}

// Served reports how many frames the record has.
func (r *Record) Served() int64 { return r.Last - r.First + 1 }

func digest(fields ...[]byte) (d Digest) {
	h := sha256.New()
	var size [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(size[:], uint64(len(f)))
		h.Write(size[:])
		h.Write(f)
	}
	h.Sum(d[:0])
	return d
}

func num(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// FormatTaken writes a Taken map as one header value: name=n, sorted by name, with commas between.
func FormatTaken(taken map[string]int64) string {
	var s []byte
	for _, name := range slices.Sorted(maps.Keys(taken)) {
		if len(s) > 0 {
			s = append(s, ',')
		}
		s = fmt.Appendf(s, "%s=%d", name, taken[name])
	}
	return string(s)
}
