package broker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
)

// partBytes is how much of a log, uncompressed, one part of its archive holds. The cut is made before compression, so that two
// builds whose compressors differ still make parts of the same content, and one may go on where the other has stopped. The
// 4 KiB leave room for what zstd adds to bytes that do not compress: a part stays below 512 KiB.
const partBytes = 512<<10 - 4<<10

// errDigestOnly says that the response was sealed without its content (store: false).
var errDigestOnly = errors.New("sealed as a digest only")

// manifest is part 0 of an archive. Where it is, the response is sealed.
type manifest struct {
	Version int    `json:"v"`
	Stored  bool   `json:"stored"` // false: there are no parts, only this digest
	Parts   int    `json:"parts"`
	Size    int    `json:"size"`   // bytes of the log, uncompressed
	SHA256  string `json:"sha256"` // of the same bytes, hex
	Records int    `json:"records"`
	Last    int64  `json:"last"`  // last sequence number
	Chain   string `json:"chain"` // last link, hex
}

// archiver writes and reads the bytes of an archive: each record as two lengths of 4 bytes, its headers as they stand in the log,
// and its payload.
type archiver struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newArchiver() (*archiver, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(partBytes))
	if err != nil {
		return nil, fmt.Errorf("make decompressor: %w", err)
	}
	return &archiver{enc, dec}, nil
}

func (a *archiver) close() { a.dec.Close() }

// lay writes the records of a log one after the other.
func lay(entries []entry) ([]byte, error) {
	raw := make([]byte, 0, room(entries))
	for i := range entries {
		header, payload := entries[i].encode()
		lines := headerLines(header)
		if len(payload) > math.MaxUint32 || len(raw)+len(payload) > maxHistory {
			return nil, errHistory
		}
		raw = binary.BigEndian.AppendUint32(raw, uint32(len(lines)))
		raw = binary.BigEndian.AppendUint32(raw, uint32(len(payload)))
		raw = append(append(raw, lines...), payload...)
	}
	return raw, nil
}

// recordRoom is more than the headers of a record take, in bytes.
const recordRoom = 512

// room returns how many bytes lay will write, about.
func room(entries []entry) (n int) {
	for i := range entries {
		n += recordRoom + len(entries[i].Frames) + len(entries[i].Body)
	}
	return min(n, maxHistory)
}

// headerLines writes headers as they stand in a NATS message, in an order that is always the same.
func headerLines(h nats.Header) []byte {
	lines := []byte("NATS/1.0\r\n")
	for _, key := range []string{headerVersion, headerKind, headerFirst, headerLast, headerAttempt, headerNonce, headerTaken,
		headerBody, headerChain, headerTime} {
		lines = fmt.Appendf(lines, "%s: %s\r\n", key, h.Get(key))
	}
	return append(lines, "\r\n"...)
}

// lift reads the first record that lay has written. It aliases raw.
func lift(raw []byte) (e entry, rest []byte, err error) {
	if len(raw) < 8 {
		return entry{}, nil, fmt.Errorf("%w: %d bytes", errUnreadable, len(raw))
	}
	lines, payload := binary.BigEndian.Uint32(raw), binary.BigEndian.Uint32(raw[4:])
	raw = raw[8:]
	if uint64(lines)+uint64(payload) > uint64(len(raw)) {
		return entry{}, nil, fmt.Errorf("%w: %d of %d bytes", errUnreadable, len(raw), uint64(lines)+uint64(payload))
	}
	header, err := nats.DecodeHeadersMsg(raw[:lines])
	if err != nil {
		return entry{}, nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	end := uint64(lines) + uint64(payload)
	e, err = decode(header, raw[lines:end:end])
	return e, raw[end:], err
}

// parts cuts and compresses.
func (a *archiver) parts(raw []byte) [][]byte {
	var parts [][]byte
	for len(raw) > 0 {
		n := min(len(raw), partBytes)
		parts = append(parts, a.enc.EncodeAll(raw[:n], nil))
		raw = raw[n:]
	}
	return parts
}

// expand decompresses one part, which gives partBytes at most, and appends it to raw.
func (a *archiver) expand(raw, part []byte) ([]byte, error) {
	plain, err := a.dec.DecodeAll(part, nil)
	if err != nil {
		return raw, fmt.Errorf("decompress: %w", err)
	}
	return append(raw, plain...), nil
}

// same reports whether two parts have the same content.
func (a *archiver) same(x, y []byte) bool {
	p, errP := a.expand(nil, x)
	q, errQ := a.expand(nil, y)
	return errP == nil && errQ == nil && bytes.Equal(p, q)
}

func describe(entries []entry, raw []byte, stored bool) *manifest {
	last := &entries[len(entries)-1]
	m := &manifest{
		Version: 1, Stored: stored, Size: len(raw), SHA256: fmt.Sprintf("%x", sha256.Sum256(raw)),
		Records: len(entries), Last: last.Last, Chain: fmt.Sprintf("%x", last.Chain),
	}
	if stored {
		m.Parts = (len(raw) + partBytes - 1) / partBytes
	}
	return m
}
