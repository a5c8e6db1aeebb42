package schema

import (
	"testing"
)

// benchText is a token of a model, about as long as they are.
const benchText = " Danube"

// inMessage returns a sequencer in the middle of a message.
func inMessage(tb testing.TB) *Sequencer {
	q := begun(tb)
	must(q.Push("model", messageAdded("m")))(tb)
	must(q.Push("model", textDelta("m", "The")))(tb)
	return q
}

// benchEvents bounds what one response says, as responses are bounded.
const benchEvents = 10_000

// The hot path of a node: a token goes through the sequencer and becomes a frame.
func BenchmarkPushAndFrame(b *testing.B) {
	b.ReportAllocs()
	e := textDelta("m", benchText)
	q, frame := inMessage(b), make([]byte, 0, 1024)
	for i := 0; b.Loop(); i++ {
		if i%benchEvents == benchEvents-1 {
			q = inMessage(b)
		}
		events, err := q.Push("model", e)
		if err != nil {
			b.Fatal(err)
		}
		if frame, err = AppendFrame(frame[:0], &events[0]); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(frame)))
}

func BenchmarkPush(b *testing.B) {
	b.ReportAllocs()
	e := textDelta("m", benchText)
	q := inMessage(b)
	for i := 0; b.Loop(); i++ {
		if i%benchEvents == benchEvents-1 {
			q = inMessage(b)
		}
		if _, err := q.Push("model", e); err != nil {
			b.Fatal(err)
		}
	}
}

func benchDelta(seq int64) Event {
	e := textDelta("msg_1", benchText)
	e.OutputIndex, e.SequenceNumber, e.Logprobs = new(0), seq, noValues
	return e
}

func BenchmarkAppendFrame(b *testing.B) {
	b.ReportAllocs()
	e, frame := benchDelta(12345), make([]byte, 0, 1024)
	for b.Loop() {
		var err error
		if frame, err = AppendFrame(frame[:0], &e); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(frame)))
}

func BenchmarkCutFrame(b *testing.B) {
	b.ReportAllocs()
	frame := framesOf(b, []Event{benchDelta(12345)})
	for b.Loop() {
		if _, _, err := CutFrame(frame); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(frame)))
}

func BenchmarkStateApply(b *testing.B) {
	b.ReportAllocs()
	s := inMessage(b).State()
	e := benchDelta(0)
	e.ItemID = s.Open().ID
	for b.Loop() {
		e.SequenceNumber = s.Next()
		if err := s.Apply(&e); err != nil {
			b.Fatal(err)
		}
	}
}

// What a hub does with each record: cut, parse and fold.
func BenchmarkApplyFrames(b *testing.B) {
	b.ReportAllocs()
	q := inMessage(b)
	prefix := q.State().Next()
	var frames []byte
	for range benchEvents {
		frames = append(frames, framesOf(b, must(q.Push("model", textDelta("m", benchText)))(b))...)
	}
	for b.Loop() {
		s := inMessage(b).State()
		if s.Next() != prefix {
			b.Fatal("another beginning")
		}
		if err := s.ApplyFrames(frames); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
}
