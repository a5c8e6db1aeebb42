package upstream

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/midstream-dev/midstream/schema"
)

// Whatever a chat upstream says, nothing panics, the sequencer takes what is emitted, and if the answer is accepted,
// its items are done.
func FuzzChat(f *testing.F) { fuzzDialect(f, "chat", chat) }

// Whatever a responses upstream says, nothing panics; if the answer is accepted, every item that was begun is done.
func FuzzResponses(f *testing.F) { fuzzDialect(f, "responses", responses) }

// Whatever a messages upstream says, nothing panics, the sequencer takes what is emitted, and if the answer is accepted,
// its items are done.
func FuzzMessages(f *testing.F) { fuzzDialect(f, "messages", messages) }

func fuzzDialect(f *testing.F, name string, d dialect) {
	files, err := filepath.Glob(filepath.Join("testdata", name, "*.txtar"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		arc, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, section := range arc.Files {
			if section.Name == "upstream" {
				f.Add(section.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) { decodeAnswer(t, d, answer) })
}

// decodeAnswer reads an answer as an exchange would, but for the network.
func decodeAnswer(t *testing.T, d dialect, data []byte) {
	x := &exchange{endpoint: &endpoint{cfg: Config{Name: "fuzz"}.withDefaults(), dialect: d}}
	seen := &heard{t: t, open: map[int]string{}}
	if d.path != responses.path { // a responses upstream's own order is its own: the sequencer judges that
		seen.q = begunSequencer(t)
	}
	dec := d.decode(&answer{req: ask("m", "Hello"), items: items{emit: seen.take}, name: "fuzz", redact: func(s string) string { return s }})
	if err := x.read(strings.NewReader(string(data)), dec); err != nil || !dec.ended() {
		return
	}
	if _, err := dec.end(); err == nil && len(seen.open) > 0 {
		t.Errorf("answer was accepted with items open: %v", seen.open)
	}
}

// heard checks what is emitted.
type heard struct {
	t    *testing.T
	open map[int]string // text so far, by output index
	next int
	q    *schema.Sequencer
}

func (h *heard) take(e schema.Event) error {
	if _, err := schema.AppendFrame(nil, &e); err != nil {
		h.t.Errorf("event cannot be framed: %v", err)
	}
	said, open := h.open[e.Index()]
	switch {
	case e.Type == schema.ItemAdded:
		if e.Index() != h.next || open {
			h.t.Errorf("item %d was added, %d is due", e.Index(), h.next)
		}
		h.next++
		h.open[e.Index()] = ""
	case !open:
		h.t.Errorf("%s speaks of item %d, which is not open", e.Type, e.Index())
	case e.Type == schema.ItemDone:
		delete(h.open, e.Index())
	case e.Delta != nil:
		h.open[e.Index()] = said + *e.Delta
	}
	if h.q != nil {
		sequence(h.t, h.q, e)
	}
	return nil
}

// What mend returns without an error is strict JSON.
func FuzzMend(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":{"b":[null,"\ud83d"]}}`, "[\"\xff\"]", `{}`, `[1e400]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := mend(data); err == nil && !out.IsValid() {
			t.Errorf("mend(%q) = %q", data, out)
		}
	})
}

// The corpus of each fuzz target is in the repository: what it once found is tried on every run.
func TestFuzz_HasACorpus(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"FuzzChat", "FuzzResponses", "FuzzMessages", "FuzzMend"} {
		if entries, err := os.ReadDir(filepath.Join("testdata", "fuzz", target)); err != nil || len(entries) == 0 {
			t.Errorf("%s: %v", target, err)
		}
	}
}
