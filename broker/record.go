package broker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

// The headers of a record. Its payload is the frames, and behind them the private body: the limit of NATS for headers, 64
// KiB, is smaller than a create request. All are under the chain digest.
const (
	headerVersion = "Ms-Version"
	headerKind    = "Ms-Kind"
	headerFirst   = "Ms-First"
	headerLast    = "Ms-Last"
	headerAttempt = "Ms-Attempt"
	headerNonce   = "Ms-Nonce"
	headerTaken   = "Ms-Taken"
	headerBody    = "Ms-Body"
	headerChain   = "Ms-Chain"
	headerTime    = "Ms-Time"
)

// entry is a record as a message holds it.
type entry struct{ schema.Record }

func (e *entry) size() int { return len(e.Frames) + len(e.Body) }

// encode writes the headers and the payload of a record.
func (e *entry) encode() (nats.Header, []byte) {
	h := make(nats.Header, 12)
	set := func(key, value string) { h[key] = []string{value} }
	number := func(key string, n int64) { set(key, strconv.FormatInt(n, 10)) }
	number(headerVersion, int64(e.Version))
	set(headerKind, string(e.Kind))
	number(headerFirst, e.First)
	number(headerLast, e.Last)
	number(headerAttempt, int64(e.Attempt))
	set(headerNonce, e.Nonce)
	set(headerTaken, schema.FormatTaken(e.Taken))
	number(headerBody, int64(len(e.Body)))
	set(headerChain, hex.EncodeToString(e.Chain[:]))
	number(headerTime, e.Time)
	if len(e.Body) == 0 {
		return h, e.Frames
	}
	return h, append(slices.Clip(e.Frames), e.Body...)
}

// errUnreadable says that a message is not a record.
var errUnreadable = errors.New("not a record")

// decode reads what encode wrote. Its errors are errUnreadable. The frames and the body alias data.
func decode(h nats.Header, data []byte) (entry, error) {
	f := fields{h: h}
	version := f.number(headerVersion)
	if f.err == nil && version != schema.FormatVersion {
		return entry{}, fmt.Errorf("%w: format %d, this build reads %d", errUnreadable, version, schema.FormatVersion)
	}
	e := entry{Record: schema.Record{
		Version: int(version), Time: f.number(headerTime),
		Kind: schema.Kind(h.Get(headerKind)), First: f.number(headerFirst), Last: f.number(headerLast),
		Attempt: int(f.number(headerAttempt)), Nonce: h.Get(headerNonce), Taken: f.taken(), Chain: f.chain(),
	}}
	body := f.number(headerBody)
	if f.err == nil && (body < 0 || body > int64(len(data))) {
		f.err = fmt.Errorf("%s is %d of %d bytes", headerBody, body, len(data))
	}
	if f.err != nil {
		return entry{}, fmt.Errorf("%w: %w", errUnreadable, f.err)
	}
	cut := len(data) - int(body)
	e.Frames = data[:cut:cut]
	if body > 0 {
		e.Body = data[cut:]
	}
	return e, nil
}

// fields reads headers and keeps the first error.
type fields struct {
	h   nats.Header
	err error
}

func (f *fields) fail(key string, err error) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %w", key, err)
	}
}

func (f *fields) number(key string) int64 {
	n, err := strconv.ParseInt(f.h.Get(key), 10, 64)
	if err != nil {
		f.fail(key, err)
	}
	return n
}

func (f *fields) chain() (d schema.Digest) {
	text := f.h.Get(headerChain)
	if len(text) != hex.EncodedLen(len(d)) {
		f.fail(headerChain, fmt.Errorf("%d characters", len(text)))
		return d
	}
	if _, err := hex.Decode(d[:], []byte(text)); err != nil {
		f.fail(headerChain, err)
	}
	return d
}

// taken reads what schema.FormatTaken wrote.
func (f *fields) taken() map[string]int64 {
	text := f.h.Get(headerTaken)
	if text == "" {
		return nil
	}
	taken := make(map[string]int64)
	for pair := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			f.fail(headerTaken, err)
			return nil
		}
		taken[name] = n
	}
	return taken
}
