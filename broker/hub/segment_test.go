package hub

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/schema"
)

// A window gives the frames behind any number, as they were added, whatever its bound has dropped and whatever readers do
// behind the end of what they were given; and its marks never lead past a frame.
func TestWindow_GivesWhatWasAdded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w window
		var all [][]byte    // the naive twin: every frame
		var starts []uint64 // of each frame, the position in front of its record
		var given []given   // what readers hold
		for i := range rapid.IntRange(1, 60).Draw(t, "records") {
			rec := Record{First: int64(len(all)), Last: int64(len(all)) - 1}
			for range rapid.IntRange(0, 6).Draw(t, "frames") {
				rec.Last++
				b := frame(schema.TextDelta, rec.Last, rapid.SampledFrom([]int{0, 100, 3000, 20_000}).Draw(t, "size"))
				rec.Frames = append(rec.Frames, b...)
				all, starts = append(all, b), append(starts, uint64(10*i))
			}
			if err := w.add(rec, uint64(10*i)); err != nil {
				t.Fatal(err)
			}
			limit := rapid.SampledFrom([]int{1, 32 << 10, 1 << 20}).Draw(t, "limit")
			w.trim(limit)
			if w.size > limit && len(w.segments) > 1 {
				t.Fatalf("%d bytes in %d segments, limit is %d", w.size, len(w.segments), limit)
			}
			given = append(given, checkWindow(t, &w, all, starts))
		}
		for _, g := range given {
			_ = append(g.held, "what a reader writes there is its own"...)
		}
		for seq := w.head() - 1; seq < int64(len(all))-1; {
			got, last := w.after(seq)
			if !bytes.Equal(got, bytes.Join(all[seq+1:last+1], nil)) {
				t.Fatalf("bytes behind %d are a reader's", seq)
			}
			seq = last
		}
		for _, g := range given {
			if string(g.held) != g.copied {
				t.Fatal("bytes that a reader holds have changed")
			}
		}
	})
}

type given struct {
	held   []byte
	copied string
}

func checkWindow(t *rapid.T, w *window, all [][]byte, starts []uint64) given {
	seq := rapid.Int64Range(-1, int64(len(all))).Draw(t, "cursor")
	got, last := w.after(seq)
	if there := seq+1 >= w.head() && seq+1 < int64(len(all)); there != (got != nil) {
		t.Fatalf("behind %d: %d bytes, head is %d of %d", seq, len(got), w.head(), len(all))
	}
	if got == nil {
		return given{}
	}
	if want := bytes.Join(all[seq+1:last+1], nil); !bytes.Equal(got, want) {
		t.Fatalf("behind %d to %d: %d bytes, want %d", seq, last, len(got), len(want))
	}
	if at := w.before(seq + 1); at > starts[seq+1] {
		t.Fatalf("mark of %d is %d, its record is behind %d", seq+1, at, starts[seq+1])
	}
	return given{got, string(got)}
}

// An archive is taken as it is, without copying, in pieces of whole frames.
func TestWindow_LoadsAnArchive(t *testing.T) {
	t.Parallel()
	l := newLog()
	for i := range 100 {
		l.store(1+i%3, 100*i, i == 99)
	}
	archive := l.bytes(0)
	var w window
	if err := w.load(archive); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for seq := int64(-1); ; {
		b, last := w.after(seq)
		if b == nil {
			break
		}
		if len(b) > segmentMax {
			t.Errorf("piece of %d bytes", len(b))
		}
		got, seq = append(got, b...), last
	}
	mustEqual(t, got, archive)
	if w.next != l.last()+1 || !w.ended || w.size != len(archive) {
		t.Errorf("window of %d bytes to %d, ended %v", w.size, w.next, w.ended)
	}
	if first, _ := w.after(-1); &first[0] != &archive[0] {
		t.Error("the archive was copied")
	}
}
