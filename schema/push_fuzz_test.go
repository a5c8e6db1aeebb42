package schema

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// Whatever JSON two producers send, nothing panics, and what is given out, with the end that Abort and Finish make, is
// legal and can be written.
func FuzzPush(f *testing.F) {
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no stories: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(txtar.Parse(data).Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		q := NewSequencer(&State{})
		created := createdEvent(t, testCommand("resp_1"))
		out := must(q.Push("gateway", created))(t)
		out = append(out, must(q.Push("gateway", Event{Type: InProgress}))(t)...)
		for line := range bytes.Lines(lines) {
			who, what, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
			e, err := ParseEvent(what)
			if err != nil {
				continue
			}
			events, err := q.Push(string(who[:min(1, len(who))]), e)
			if out = append(out, events...); err != nil && err.Error() == "" {
				t.Fatal("an error without words")
			}
		}
		events, err := q.Abort()
		if err != nil {
			t.Fatalf("abort: %v", err)
		}
		last, err := q.Finish(Failed, func(r *Response) { r.Error = &ResponseError{Code: CodeServer, Message: "m"} })
		if err != nil {
			t.Fatalf("finish: %v", err)
		}
		frames := framesOf(t, append(append(out, events...), last...))
		if _, err := Fold(frames); err != nil {
			t.Fatalf("not legal: %v\n%s", err, frames)
		}
	})
}
