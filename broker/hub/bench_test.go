package hub

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkFanOut is one event to so many followers: until the last has it, and the spread over all of them.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{50, 200, 500, 1000} {
		b.Run(fmt.Sprintf("followers=%d", n), func(b *testing.B) {
			l := newLog()
			l.store(1, 200, false)
			h := open(b, l, Config{})
			var all sync.WaitGroup
			var due sync.WaitGroup
			var sent atomic.Int64
			took := make([][]time.Duration, n)
			for i := range n {
				f := mustFollow(b, h, 0)
				all.Go(func() {
					for {
						_, err := f.Next(b.Context())
						if err != nil {
							return
						}
						took[i] = append(took[i], time.Duration(time.Now().UnixNano()-sent.Load()))
						due.Done()
					}
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				due.Add(n)
				sent.Store(time.Now().UnixNano())
				l.store(1, 200, false)
				due.Wait()
			}
			b.StopTimer()
			h.Close()
			all.Wait()
			times := slices.Sorted(slices.Values(slices.Concat(took...)))
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkEvents is how many events a second pass through one hub to one follower, by the size of records.
func BenchmarkEvents(b *testing.B) {
	for _, k := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("record=%d", k), func(b *testing.B) {
			l := newLog()
			for range 20_000 / k {
				l.store(k, 150, false)
			}
			l.store(1, 150, true)
			b.SetBytes(int64(len(l.bytes(0))))
			events := int(l.last() + 1)
			b.ReportAllocs()
			for b.Loop() {
				passThrough(b, l)
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// passThrough delivers a log live to a hub that has its first record, and reads it to the end.
func passThrough(b *testing.B, l *log) {
	first := newLog()
	first.records = l.records[:1]
	h := New(first, Config{})
	defer h.Close()
	f := mustFollow(b, h, 0)
	done := make(chan error)
	go func() {
		for {
			if _, err := f.Next(b.Context()); err != nil {
				done <- err
				return
			}
		}
	}()
	deliver := first.live[1]
	for _, rec := range l.records[1:] {
		deliver(rec)
	}
	if err := <-done; err != io.EOF {
		b.Fatal(err)
	}
}

// BenchmarkResume is a finished response of 1 000 events, from its archive to the last byte: first reader, then another.
func BenchmarkResume(b *testing.B) {
	l := newLog()
	l.store(1000, 150, true)
	l.seal()
	for _, warm := range []bool{false, true} {
		b.Run(fmt.Sprintf("in memory=%v", warm), func(b *testing.B) {
			h := open(b, l, Config{})
			if warm {
				mustFollow(b, h, -1)
			}
			b.ReportAllocs()
			for b.Loop() {
				f, err := h.Follow(b.Context(), ref, -1)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := readAll(b.Context(), f); err != nil {
					b.Fatal(err)
				}
				f.Close()
				if !warm {
					h.Drop(ref)
				}
			}
		})
	}
}

// BenchmarkFold is GET of a finished response of 800 events, the first time and again.
func BenchmarkFold(b *testing.B) {
	l, s := newLog(), newStory()
	l.add(s.begin())
	l.add(s.say(400))
	l.add(s.end())
	l.seal()
	for _, warm := range []bool{false, true} {
		b.Run(fmt.Sprintf("in memory=%v", warm), func(b *testing.B) {
			h := open(b, l, Config{})
			for b.Loop() {
				if _, err := h.Fold(b.Context(), ref); err != nil {
					b.Fatal(err)
				}
				if !warm {
					h.Drop(ref)
				}
			}
		})
	}
}
