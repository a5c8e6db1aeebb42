package hub

import (
	"fmt"
	"slices"
	"sort"

	"github.com/midstream-dev/midstream/schema"
)

// window is the newest frames of one response, in segments: what a hub has in memory. Its owner locks it.
type window struct {
	segments []*segment
	marks    []mark // where every segment began, also those that were dropped
	next     int64  // the sequence number that is due
	size     int    // bytes that the segments keep
	ended    bool   // the last frame is the terminal event
	scratch  []uint32
}

// segment is a run of frames in one piece of memory. The buffer is filled in place and never moved or changed, so what
// readers were handed stays as it is.
type segment struct {
	first int64    // sequence number of the first frame
	ends  []uint32 // where each frame ends in buf
	buf   []byte
}

// mark leads from a sequence number back into the log.
type mark struct {
	first  int64  // sequence number of a segment's first frame
	before uint64 // position of the record in front of it
}

// hole is a record that does not carry on where the one before it ended.
type hole struct {
	due int64
	why string
}

func (e *hole) Error() string { return fmt.Sprintf("sequence number %d is due: %s", e.due, e.why) }

func (e *hole) Is(target error) bool { return target == ErrHole }

// cutFrames checks that frames are whole and count up from first, and appends where each ends. The terminal event may
// only be the last.
func cutFrames(ends []uint32, frames []byte, first int64) (_ []uint32, ended bool, err error) {
	due := first
	for rest := frames; len(rest) > 0; due++ {
		f, tail, err := schema.CutFrame(rest)
		switch {
		case err != nil:
			return nil, false, &hole{due, err.Error()}
		case f.ID != due:
			return nil, false, &hole{due, fmt.Sprintf("frame %d is there", f.ID)}
		case ended:
			return nil, false, &hole{due, "it follows the terminal event"}
		}
		ended = f.Type.Terminal()
		rest = tail
		ends = append(ends, uint32(len(frames)-len(rest)))
	}
	return ends, ended, nil
}

// checkRecord cuts the record's frames and holds them to its header and to the number that is due.
func checkRecord(ends []uint32, rec Record, due int64) (_ []uint32, ended bool, err error) {
	if rec.First != due {
		return nil, false, &hole{due, fmt.Sprintf("record %d to %d at position %d is there", rec.First, rec.Last, rec.Position)}
	}
	ends, ended, err = cutFrames(ends, rec.Frames, due)
	if err == nil && int64(len(ends)) != rec.Last-rec.First+1 {
		err = &hole{due, fmt.Sprintf("record at position %d has %d frames, says %d to %d", rec.Position, len(ends), rec.First, rec.Last)}
	}
	return ends, ended, err
}

// add takes the next record, which lies behind position before. Its error is a *hole, and then nothing was taken.
func (w *window) add(rec Record, before uint64) error {
	ends, ended, err := checkRecord(w.scratch[:0], rec, w.next)
	if err != nil {
		return err
	}
	w.scratch = ends
	if len(ends) == 0 {
		return nil
	}
	s := w.room(len(rec.Frames), before)
	base := uint32(len(s.buf))
	s.buf = append(s.buf, rec.Frames...)
	for _, end := range ends {
		s.ends = append(s.ends, base+end)
	}
	w.next, w.ended = rec.Last+1, ended
	return nil
}

// room returns the segment that n more bytes fit into.
func (w *window) room(n int, before uint64) *segment {
	size := segmentMin
	if i := len(w.segments); i > 0 {
		s := w.segments[i-1]
		if len(s.buf)+n <= cap(s.buf) {
			return s
		}
		size = min(2*cap(s.buf), segmentMax)
	}
	return w.push(make([]byte, 0, max(size, n)), before)
}

func (w *window) push(buf []byte, before uint64) *segment {
	s := &segment{first: w.next, buf: buf}
	w.segments = append(w.segments, s)
	w.marks = append(w.marks, mark{w.next, before})
	w.size += cap(buf)
	return s
}

// load takes a whole response at once, without copying it. It must end in the terminal event.
func (w *window) load(frames []byte) error {
	ends, ended, err := cutFrames(nil, frames, 0)
	if err != nil {
		return err
	}
	if !ended {
		return &hole{int64(len(ends)), "the archive ends without a terminal event"}
	}
	*w = window{}
	for start := uint32(0); len(ends) > 0; {
		n := max(1, sort.Search(len(ends), func(i int) bool { return ends[i]-start > segmentMax }))
		stop := ends[n-1]
		s := w.push(frames[start:stop:stop], 0)
		for _, end := range ends[:n] {
			s.ends = append(s.ends, end-start)
		}
		w.next += int64(n)
		ends, start = ends[n:], stop
	}
	w.ended = true
	return nil
}

// trim drops the head until limit is kept. The newest segment stays.
func (w *window) trim(limit int) {
	n := 0
	for n < len(w.segments)-1 && w.size > limit {
		w.size -= cap(w.segments[n].buf)
		n++
	}
	w.segments = slices.Delete(w.segments, 0, n)
}

// head is the first sequence number that is still there, or the one that is due.
func (w *window) head() int64 {
	if len(w.segments) == 0 {
		return w.next
	}
	return w.segments[0].first
}

// after returns the frames behind seq, to the end of a segment, and the number of the last of them. It returns nothing
// where the frame behind seq is not there: dropped, or not there yet.
func (w *window) after(seq int64) (frames []byte, last int64) {
	due := seq + 1
	i := len(w.segments) - 1
	if i < 0 || due >= w.next || due < w.segments[0].first {
		return nil, seq
	}
	if w.segments[i].first > due { // most readers stand in the newest
		i = sort.Search(i, func(i int) bool { return w.segments[i].first > due }) - 1
	}
	s, start := w.segments[i], uint32(0)
	if n := due - s.first; n > 0 {
		start = s.ends[n-1]
	}
	return s.buf[start:len(s.buf):len(s.buf)], s.first + int64(len(s.ends)) - 1
}

// before returns a position in the log in front of frame seq, as near as the marks tell.
func (w *window) before(seq int64) uint64 {
	i := sort.Search(len(w.marks), func(i int) bool { return w.marks[i].first > seq })
	if i == 0 {
		return 0
	}
	return w.marks[i-1].before
}
