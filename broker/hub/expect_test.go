package hub

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// A response that was expected is followed from its first live record: neither archive nor leader is asked.
func TestExpect_OpensWithTheFirstRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		h := open(t, l, Config{})
		release := h.Expect(ref)
		synctest.Wait()
		l.store(1, 10, false)
		f := mustFollow(t, h, -1)
		release()
		l.store(2, 10, true)
		got, err := readAll(t.Context(), f)
		if err != nil || !bytes.Equal(got, l.want(-1)) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if l.calls.sealed+l.calls.tip+l.calls.read > 0 {
			t.Errorf("asked: %+v", l.calls)
		}
	})
}

// Where live delivery loses the first record, the leader is asked as after any silence; until then nothing is wrong.
func TestExpect_FindsAResponseThatBeganUnheard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		h := open(t, l, Config{})
		defer h.Expect(ref)()
		// An hour alone would end together with one of the silences of 15 s, and a reader is as patient as the next one lasts.
		_ = sleep(t.Context(), time.Hour+time.Second, nil)
		l.set(func() { l.faults.drop = 100 })
		l.store(3, 10, true)
		got, err := readAll(t.Context(), mustFollow(t, h, -1))
		if err != nil || !bytes.Equal(got, l.want(-1)) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

// A response that was expected and never began leaves nothing behind.
func TestExpect_ForgetsWhatNeverBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		h := open(t, l, Config{})
		h.Expect(ref)()
		_ = sleep(t.Context(), 2*time.Minute, nil)
		synctest.Wait()
		if h.count() > 0 || len(l.live) > 0 {
			t.Errorf("%d hubs, %d subscriptions", h.count(), len(l.live))
		}
	})
}

// Where the first record was missed and others follow, the log is read once for what is missing, not for each of them.
func TestExpect_ReadsOnceForAMissedFirstRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		h := open(t, l, Config{})
		l.store(1, 10, false) // before the subscription is there
		defer h.Expect(ref)()
		synctest.Wait()
		for range 200 {
			l.store(1, 10, false)
			_ = sleep(t.Context(), 50*time.Millisecond, nil)
		}
		mustFollow(t, h, -1).Close()
		if l.calls.read > 2 {
			t.Errorf("%d reads for %d records", l.calls.read, len(l.records))
		}
	})
}
