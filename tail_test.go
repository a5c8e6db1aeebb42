package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/midstream-dev/midstream/schema"
)

// story is a file of testdata/tail: the events of a response, and what a person sees of them.
type story struct {
	path   string
	file   *txtar.Archive
	frames [][]byte
}

func stories(t *testing.T) []*story {
	t.Helper()
	paths, err := filepath.Glob("testdata/tail/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	var all []*story
	for _, path := range paths {
		all = append(all, readStory(t, path))
	}
	return all
}

func readStory(t *testing.T, path string) *story {
	t.Helper()
	file, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{path: path, file: file}
	for line := range bytes.Lines(s.part(t, "events")) {
		e, err := schema.ParseEvent(bytes.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		frame, err := schema.AppendFrame(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		s.frames = append(s.frames, frame)
	}
	return s
}

func (s *story) part(t *testing.T, name string) []byte {
	t.Helper()
	for i := range s.file.Files {
		if s.file.Files[i].Name == name {
			return s.file.Files[i].Data
		}
	}
	t.Fatalf("%s has no part %s", s.path, name)
	return nil
}

// expect compares with a part of the story, which -update writes.
func (s *story) expect(t *testing.T, name, got string) {
	t.Helper()
	want := string(s.part(t, name))
	if diff := cmp.Diff(want, got); diff != "" && !*update {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	for i := range s.file.Files {
		if *update && s.file.Files[i].Name == name {
			s.file.Files[i].Data = []byte(got)
		}
	}
	if *update {
		if err := os.WriteFile(s.path, txtar.Format(s.file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// serve serves the story behind the cursor, and cuts the connection after that many events.
func (s *story) serve(cut int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := 0
		if id := r.Header.Get("Last-Event-ID"); id != "" {
			last, err := schema.ParseSeq(id)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			next = int(last) + 1
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": a comment\n\n")
		for i, frame := range s.frames[next:] {
			if i == cut {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(frame)
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	})
}

// follow reads a story to its end and returns what was shown.
func follow(t *testing.T, s *story, cut int, colour bool) string {
	t.Helper()
	server := httptest.NewServer(s.serve(cut))
	defer server.Close()
	var out, notes buffer
	client := server.Client()
	r := &tailer{
		client: client, targets: []target{{"here", server.URL}}, last: -1, view: newView(&out, colour), notes: &notes,
		sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, now: time.Now, patience: time.Minute,
	}
	if err := r.follow(t.Context()); err != nil {
		t.Fatalf("cut after %d: %v", cut, err)
	}
	if cut < len(s.frames) != (notes.String() != "") {
		t.Errorf("cut after %d of %d: notes %q", cut, len(s.frames), notes.String())
	}
	return out.String()
}

// TestTail_Stories promises that a person sees the items, the text as it comes, tool calls with arguments and results,
// and the end; that a terminal is told nothing but text and colours; and that nobody sees where connections were cut.
func TestTail_Stories(t *testing.T) {
	t.Parallel()
	for _, s := range stories(t) {
		t.Run(strings.TrimSuffix(filepath.Base(s.path), ".txtar"), func(t *testing.T) {
			s.expect(t, "out", follow(t, s, len(s.frames), false))
			s.expect(t, "colour", follow(t, s, len(s.frames), true))
			for cut := 1; cut < len(s.frames); cut++ {
				s.expect(t, "out", follow(t, s, cut, false))
			}
		})
	}
}

// TestTail_ExitCodes promises the exit codes of --help.
func TestTail_ExitCodes(t *testing.T) {
	for name, want := range map[string]int{"tools": exitOK, "failed": exitFailed, "incomplete": exitIncomplete} {
		server := httptest.NewServer(readStory(t, "testdata/tail/"+name+".txtar").serve(-1))
		code, stdout, stderr := runCommand(t, "tail", "resp_1", "--server", server.URL)
		server.Close()
		if code != want || stderr != "" || stdout == "" {
			t.Errorf("%s: exit code %d, want %d; stderr %q", name, code, want, stderr)
		}
	}
}

// TestTail_From promises that --from N begins with event N.
func TestTail_From(t *testing.T) {
	server := httptest.NewServer(readStory(t, "testdata/tail/incomplete.txtar").serve(-1))
	defer server.Close()
	_, stdout, _ := runCommand(t, "tail", "resp_1", "--server", server.URL, "--from", "4")
	if want := "✗ incomplete  max_output_tokens  1 tokens in, 2 out\n"; stdout != want {
		t.Errorf("got %q, want %q", stdout, want)
	}
}

// TestTail_Refused promises that an answer which another try would not change ends the command, with the server's words.
func TestTail_Refused(t *testing.T) {
	for _, c := range []struct {
		status     int
		kind, body string
		code       int
		want       string
	}{
		{404, "application/json", `{"error":{"message":"Response with id 'resp_1' not \u001b[31mfound."}}`, exitError, "Response with id 'resp_1' not [31mfound.\n"},
		{410, "application/json", `{"error":{"message":"expired"}}`, exitError, "expired"},
		{200, "text/html", "<p>hello", exitError, "the server answered 200 OK, which is no stream"},
		{301, "text/html", "", exitError, "which is no stream"},
		{204, "", "", exitOK, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.kind != "" {
				w.Header().Set("Content-Type", c.kind)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		code, stdout, stderr := runCommand(t, "tail", "resp_1", "--server", server.URL)
		server.Close()
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%d %s: exit code %d, stdout %q, stderr %q", c.status, c.body, code, stdout, stderr)
		}
	}
}

// TestTail_Unreachable promises that a server that was never there is told at once, and one that is busy is asked again.
func TestTail_Unreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if code, _, stderr := runCommand(t, "tail", "resp_1", "--server", gone.URL); code != exitError || !strings.Contains(stderr, "refused") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	story := readStory(t, "testdata/tail/tools.txtar").serve(-1)
	calls := 0
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		story.ServeHTTP(w, r)
	}))
	defer busy.Close()
	if code, _, stderr := runCommand(t, "tail", "resp_1", "--server", busy.URL); code != exitOK || !strings.Contains(stderr, "503") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// TestTail_Servers promises that a response whose node is gone goes on at the next one, behind what was shown, however the
// servers are named, and that each such step is one line on stderr.
func TestTail_Servers(t *testing.T) {
	s := readStory(t, "testdata/tail/tools.txtar")
	whole := httptest.NewServer(s.serve(-1))
	defer whole.Close()
	first := httptest.NewUnstartedServer(s.serve(3))
	first.Config.SetKeepAlivesEnabled(false)
	first.Start()
	defer first.Close()
	a, b := strings.TrimPrefix(first.URL, "http://"), strings.TrimPrefix(whole.URL, "http://")
	for _, flags := range [][]string{
		{"--server", a + "," + b}, {"--server", first.URL + ", " + whole.URL}, {"--server=" + first.URL + "/", "--server=" + b},
	} {
		code, stdout, stderr := runCommand(t, append([]string{"tail", "resp_1"}, flags...)...)
		if code != exitOK || stdout != string(s.part(t, "out")) {
			t.Errorf("%s: exit code %d, stdout %q", flags, code, stdout)
		}
		lost, again := "midstream: "+a+": connection lost behind event 2: ", "; trying again at "+b+"\n"
		if note := strings.TrimPrefix(stderr, "\n"); !strings.HasPrefix(note, lost) || !strings.HasSuffix(note, again) || strings.Count(note, "\n") != 1 {
			t.Errorf("%s: stderr %q", flags, stderr)
		}
	}
}

// TestTail_FirstGone promises that a first server which is gone is no reason to give up while another is there; and that
// nothing is waited for where none is.
func TestTail_FirstGone(t *testing.T) {
	s := readStory(t, "testdata/tail/tools.txtar")
	there, gone := httptest.NewServer(s.serve(-1)), httptest.NewServer(http.NotFoundHandler())
	defer there.Close()
	gone.Close()
	code, stdout, _ := runCommand(t, "tail", "resp_1", "--server", gone.URL, "--server", there.URL)
	if code != exitOK || stdout != string(s.part(t, "out")) {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	code, _, stderr := runCommand(t, "tail", "resp_1", "--server", gone.URL, "--server", gone.URL)
	if code != exitError || strings.Count(stderr, "refused") != 2 || strings.Contains(stderr, "http://") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// TestTail_Patience promises that a response which no server streams any more is given up after --patience, and not before.
func TestTail_Patience(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		readStory(t, "testdata/tail/tools.txtar").serve(2).ServeHTTP(w, r)
	}))
	defer server.Close()
	var out, notes buffer
	began := time.Now()
	clock := began
	r := &tailer{
		client: server.Client(), targets: []target{{"a", server.URL}, {"b", server.URL}}, last: -1, view: newView(&out, false), notes: &notes,
		sleep: func(_ context.Context, d time.Duration) error { clock = clock.Add(d); return nil },
		now:   func() time.Time { return clock }, patience: time.Minute,
	}
	err := r.follow(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no server has streamed it for 1m0s: the server answered 503") {
		t.Errorf("ended with %v", err)
	}
	if waited := clock.Sub(began); waited < time.Minute || waited > time.Minute+maxTailRetry {
		t.Errorf("given up after %s", waited)
	}
}

// TestTail_Interrupted promises that Ctrl-C ends the command with 130, and quietly.
func TestTail_Interrupted(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": nothing yet\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer silent.Close()
	tail := start(t, "tail", "resp_1", "--server", silent.URL)
	if code := tail.stop(); code != exitSignal || tail.errors.String() != "" {
		t.Errorf("exit code %d, stderr %q", code, tail.errors.String())
	}
}

// TestTail_NobodyReads promises that a reader that has gone (tail … | head) ends the command.
func TestTail_NobodyReads(t *testing.T) {
	server := httptest.NewServer(readStory(t, "testdata/tail/tools.txtar").serve(-1))
	defer server.Close()
	code := run(t.Context(), process{[]string{"tail", "resp_1", "--server", server.URL}, brokenPipe{}, new(buffer)})
	if code != exitError {
		t.Errorf("exit code %d", code)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
