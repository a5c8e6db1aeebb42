package broker

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

// wantErased holds a response to what a Delete has promised: nobody gets anything of it, and the archive has nothing.
func wantErased(tb testing.TB, b *Broker, ref schema.Ref) {
	tb.Helper()
	if _, err := b.Read(testContext(tb), ref); !errors.Is(err, ErrGone) {
		tb.Errorf("read: %v", err)
	}
	if _, err := b.Exchange(testContext(tb), ref); !errors.Is(err, ErrGone) {
		tb.Errorf("exchange: %v", err)
	}
	if _, err := b.Follow(testContext(tb), ref, -1); !errors.Is(err, hub.ErrGone) {
		tb.Errorf("follow: %v", err)
	}
	if _, err := b.Fold(testContext(tb), ref); !errors.Is(err, hub.ErrGone) {
		tb.Errorf("fold: %v", err)
	}
	if err := b.Cancel(testContext(tb), ref); !errors.Is(err, ErrGone) {
		tb.Errorf("cancel: %v", err)
	}
	p, err := locate(ref, b.partitions)
	must(tb, err)
	have, err := b.holding(testContext(tb), p)
	must(tb, err)
	if !have.gone || len(have.parts) > 0 {
		tb.Errorf("the archive has %+v", have)
	}
}

// mustFinish makes a response that has ended, with a text, and perhaps is sealed.
func mustFinish(tb testing.TB, b *Broker, response, text string, seal bool) *owner {
	tb.Helper()
	o := mustOwn(tb, b, mustBegin(tb, b, response).Ref, "owner")
	o.say(text)
	o.finish()
	if seal {
		must(tb, o.w.Seal(testContext(tb), true))
	}
	return o
}

// A response is erased whatever state it is in; the second time, and for one that never was, the answer says so.
func TestDelete_InEveryState(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, impatient)
	for name, prepare := range map[string]func(response string){
		"unclaimed": func(response string) { mustBegin(t, b, response) },
		"obeying": func(response string) {
			o := mustOwn(t, b, mustBegin(t, b, response).Ref, "owner")
			o.say("Once upon")
			o.obey(b)
		},
		"deaf":     func(response string) { mustOwn(t, b, mustBegin(t, b, response).Ref, "owner").say("Once upon") },
		"unsealed": func(response string) { mustFinish(t, b, response, "The end", false) },
		"sealed":   func(response string) { mustFinish(t, b, response, "The end", true) },
		"half sealed": func(response string) {
			o := mustFinish(t, b, response, "The end", false)
			must(t, b.put(testContext(t), o.w.place, o.w.place.part(1), []byte("half")))
		},
		"not stored": func(response string) {
			must(t, mustFinish(t, b, response, "The end", false).w.Seal(testContext(t), false))
		},
		"damaged": func(response string) {
			h := mustBegin(t, b, response)
			rec := claimBy(t, h, "owner")
			rec.Chain[0]++
			mustSlip(t, b, h, rec)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response := "resp_" + strings.ReplaceAll(name, " ", "_")
			prepare(response)
			ref := mustRef(t, response)
			must(t, b.Delete(testContext(t), ref))
			wantErased(t, b, ref)
			if err := b.Delete(testContext(t), ref); !errors.Is(err, ErrGone) {
				t.Errorf("again: %v", err)
			}
			wantErased(t, b, ref)
		})
	}
	if err := b.Delete(testContext(t), mustRef(t, "resp_unknown")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// A response whose log has aged out is erased from the archive, and is gone, not unknown.
func TestDelete_AgedOut(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, func(c *Config) { c.LogAge = 2 * time.Second })
	o := mustFinish(t, b, "resp_old", "The end", true)
	waitUntil(t, "the log has aged out", func() bool {
		tip, err := b.tip(testContext(t), o.w.place)
		return err == nil && tip == 0
	})
	must(t, b.Delete(testContext(t), o.w.place.ref))
	wantErased(t, b, o.w.place.ref)
}

// After a Delete no file of the archive holds a byte sequence of what was sealed, while its neighbours stay.
func TestDelete_OverwritesTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := mustOpen(t, func(c *Config) { c.DataDir, c.Partitions = dir, 1 })
	var canaries [][]byte
	for n := range 5 {
		var text string // of random letters, so that no two parts have the same bytes in their middle
		for range 200 {
			text += rand.Text()
		}
		o := mustFinish(t, b, fmt.Sprintf("resp_canary_%d", n), text, true)
		part, err := b.last(testContext(t), o.w.place.archiveStream(), o.w.place.part(1))
		must(t, err)
		middle := len(part.data) / 2
		canaries = append(canaries, part.data[middle:middle+64])
	}
	onDisk := func(n int) bool { return inBlocks(t, dir, canaries[n]) }
	for n := range canaries {
		if !onDisk(n) {
			t.Fatalf("canary %d is not found where it was sealed: this test could not fail", n)
		}
	}
	for _, n := range []int{0, 2, 4} { // first, middle, last of a block
		must(t, b.Delete(testContext(t), mustRef(t, fmt.Sprintf("resp_canary_%d", n))))
		if onDisk(n) {
			t.Errorf("canary %d is still on the disk", n)
		}
	}
	for _, n := range []int{1, 3} {
		if !onDisk(n) || !sealed(t, b, mustRef(t, fmt.Sprintf("resp_canary_%d", n))) {
			t.Errorf("neighbour %d was harmed", n)
		}
	}
}

// inBlocks searches every file of the archive streams.
func inBlocks(tb testing.TB, dir string, canary []byte) (found bool) {
	tb.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, archiveStream) {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server writes others in its place
		}
		if filepath.Ext(path) == ".blk" {
			files++
		}
		found = found || bytes.Contains(data, canary)
		return err
	})
	must(tb, err)
	if files == 0 {
		tb.Fatal("no block files of the archive found")
	}
	return found
}

// A seal that is under way when the response is erased leaves nothing behind, wherever the two meet.
func TestDelete_RacesWithASeal(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	for n := range 20 {
		o := mustFinish(t, b, fmt.Sprintf("resp_late_%d", n), "The end", false)
		var sealing sync.WaitGroup
		sealing.Go(func() {
			if err := o.w.Seal(testContext(t), true); err != nil && !errors.Is(err, ErrGone) {
				t.Error(err)
			}
		})
		must(t, b.Delete(testContext(t), o.w.place.ref))
		sealing.Wait()
		wantErased(t, b, o.w.place.ref)
	}
}

// A seal whose first look came before the tombstone, and whose parts came behind the erasure, erases them itself.
func TestDelete_BeforeALateSeal(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	o := mustFinish(t, b, "resp_late", "The end", false)
	must(t, b.Delete(testContext(t), o.w.place.ref))
	if err := o.w.archive(testContext(t), o.w.kept.all(), true); !errors.Is(err, ErrGone) {
		t.Errorf("seal: %v", err)
	}
	wantErased(t, b, o.w.place.ref)
}

// The parts of a worker that died between writing them and looking again are erased by the next Delete, which then is the one
// that erased, or when its job is dropped.
func TestDelete_SweepsBehindADeadSealer(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	const response = "resp_dead"
	o := mustFinish(t, b, response, "The end", false)
	must(t, b.Enqueue(testContext(t), command(response), nil))
	must(t, b.Delete(testContext(t), o.w.place.ref))
	die := func() { must(t, b.store(testContext(t), o.w.place, o.w.kept.all(), true)) }

	die()
	must(t, b.Delete(testContext(t), o.w.place.ref))
	wantErased(t, b, o.w.place.ref)

	die()
	job, err := b.Claim(testContext(t))
	must(t, err)
	must(t, job.Drop(testContext(t)))
	wantErased(t, b, o.w.place.ref)
	if err := b.Enqueue(testContext(t), job.Command, nil); err != nil {
		t.Errorf("the job was not acked: %v", err)
	}
}

// The job of a response that is there is acked when it is dropped, and nothing of the response is erased.
func TestDelete_DropSparesTheLiving(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	o := mustFinish(t, b, "resp_alive", "The end", true)
	must(t, b.Enqueue(testContext(t), command("resp_alive"), nil))
	job, err := b.Claim(testContext(t))
	must(t, err)
	must(t, job.Drop(testContext(t)))
	if !sealed(t, b, o.w.place.ref) {
		t.Error("a response was erased that nobody has deleted")
	}
}

// Hubs on every node drop an erased response: who follows it is cut, who comes anew is told, and its owner stops.
func TestDelete_DropsHubsOnEveryNode(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	deleting, reading := mustOpen(t, external(host(t, s)), impatient), mustOpen(t, external(host(t, s)), impatient)
	o := mustOwn(t, reading, mustBegin(t, reading, "resp_watched").Ref, "owner")
	o.say("Once upon")
	ref := o.w.place.ref
	for _, b := range []*Broker{deleting, reading} {
		f, err := b.Follow(testContext(t), ref, -1)
		must(t, err)
		t.Cleanup(f.Close)
		_, err = f.Next(testContext(t))
		must(t, err)
	}
	idle := mustFinish(t, reading, "resp_idle", "The end", true).w.place.ref
	_, err := reading.Fold(testContext(t), idle) // its hub stays, with nobody on it
	must(t, err)

	must(t, deleting.Delete(testContext(t), ref))
	must(t, deleting.Delete(testContext(t), idle))
	for _, gone := range []schema.Ref{ref, idle} {
		wantErased(t, deleting, gone)
		waitUntil(t, "the other node's hub is dropped", func() bool {
			_, err := reading.Fold(testContext(t), gone)
			return errors.Is(err, hub.ErrGone)
		})
		wantErased(t, reading, gone)
	}
	<-o.w.Fenced()
}

// Of two nodes that delete at once at least one has erased; the other has too, or came too late.
func TestDelete_FromTwoNodes(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	nodes := []*Broker{mustOpen(t, external(host(t, s)), impatient), mustOpen(t, external(host(t, s)), impatient)}
	for n := range 10 {
		var ref schema.Ref
		if n%2 == 0 {
			ref = mustFinish(t, nodes[0], fmt.Sprintf("resp_two_%d", n), "The end", true).w.place.ref
		} else {
			ref = mustBegin(t, nodes[0], fmt.Sprintf("resp_two_%d", n)).Ref
			mustOwn(t, nodes[0], ref, "owner").say("Once")
		}
		errs := make(chan error, len(nodes))
		for _, b := range nodes {
			go func() { errs <- b.Delete(testContext(t), ref) }()
		}
		first, second := <-errs, <-errs
		if first != nil && second != nil {
			t.Errorf("%v, %v", first, second)
		}
		for _, err := range []error{first, second} {
			if err != nil && !errors.Is(err, ErrGone) {
				t.Error(err)
			}
		}
		wantErased(t, nodes[0], ref)
	}
}

// A Delete that was cut short is finished by the next one.
func TestDelete_GoesOnFromAnother(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	o := mustFinish(t, b, "resp_cut", "The end", true)
	must(t, b.put(testContext(t), o.w.place, o.w.place.gone(), nil))
	must(t, b.Delete(testContext(t), o.w.place.ref))
	wantErased(t, b, o.w.place.ref)
}
