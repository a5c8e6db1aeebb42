package upstream

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/midstream-dev/midstream/schema"
)

var update = flag.Bool("update", false, "write what the stories give into their golden sections")

// secret is the API key of every story. Nothing that a story gives may hold it.
const secret = "sk-canary-5f2d1c"

// Each story is one turn: what is asked, what the upstream answers (byte for byte), and then, golden, what was sent to
// the upstream, the events that were emitted and how the call ended.
func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txtar"), func(t *testing.T) {
			t.Parallel()
			arc, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tell(t, file, arc)
		})
	}
}

func tell(t *testing.T, file string, arc *txtar.Archive) {
	s := &story{t: t, dialect: filepath.Base(filepath.Dir(file))}
	var inputs []txtar.File
	for _, f := range arc.Files {
		switch f.Name {
		case "request", "config", "head", "upstream", "refusal":
			inputs = append(inputs, f)
			s.take(f.Name, f.Data)
		}
	}
	given := s.run()
	if leak := string(txtar.Format(&txtar.Archive{Files: given})) + s.log.String(); strings.Contains(leak, secret) {
		t.Errorf("the API key leaked:\n%s", leak)
	}
	got := append(inputs, given...)
	if *update {
		arc.Files = got
		if err := os.WriteFile(file, txtar.Format(arc), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(&txtar.Archive{Files: arc.Files})), string(txtar.Format(&txtar.Archive{Files: got}))); diff != "" {
		t.Errorf("story differs (-want +got), go test -update rewrites it:\n%s", diff)
	}
}

// story is one turn with an upstream that says what the story says.
type story struct {
	t        *testing.T
	dialect  string
	cfg      Config
	req      Request
	head     []string // "503", then header lines
	answer   []byte
	refusals [][]byte // answers to the first requests, with status 400
	sent     bytes.Buffer
	log      bytes.Buffer
}

func (s *story) take(name string, data []byte) {
	switch name {
	case "request":
		s.readRequest(data)
	case "config":
		mustDecode(s.t, data, &s.cfg)
	case "head":
		s.head = strings.Split(strings.TrimSpace(string(data)), "\n")
	case "upstream":
		s.answer = data
	case "refusal":
		s.refusals = append(s.refusals, data)
	}
}

func (s *story) readRequest(data []byte) {
	var r struct {
		schema.CreateRequest
		Choice jsontext.Value `json:"turn_tool_choice"`
		Turn   int            `json:"turn"`
		Pass   bool           `json:"passthrough"`
	}
	mustDecode(s.t, data, &r)
	s.req.Turn, s.req.ToolChoice, s.req.Passthrough = r.Turn, r.Choice, r.Pass
	s.req.Create, s.req.Input, s.req.Tools = &r.CreateRequest, r.Input, r.Tools
}

func mustDecode(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("story: %v", err)
	}
}

// ServeHTTP is the upstream.
func (s *story) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("read request: %v", err)
	}
	pretty := jsontext.Value(body)
	if err := pretty.Indent(jsontext.WithIndent("  ")); err != nil {
		s.t.Errorf("request is not JSON: %v", err)
	}
	fmt.Fprintf(&s.sent, "POST %s\n%s\n", r.URL.Path, pretty)
	checkKey(s.t, s.dialect, r)
	if len(s.refusals) > 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		w.Write(s.refusals[0])
		s.refusals = s.refusals[1:]
		return
	}
	s.writeAnswer(w)
}

// checkKey promises that a request has the key where its dialect puts it, and nowhere else.
func checkKey(t *testing.T, dialect string, r *http.Request) {
	t.Helper()
	want := [3]string{"Bearer " + secret, "", ""}
	if dialect == "messages" {
		want = [3]string{"", secret, "2023-06-01"}
	}
	got := [3]string{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.Header.Get("Anthropic-Version")}
	if got != want {
		t.Errorf("Authorization, X-Api-Key, Anthropic-Version = %q, want %q", got, want)
	}
	if name := r.Header.Get("User-Agent"); name != "midstream" {
		t.Errorf("User-Agent = %q", name)
	}
}

func (s *story) writeAnswer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	status := http.StatusOK
	for i, line := range s.head {
		if i == 0 {
			fmt.Sscan(line, &status)
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		w.Header().Set(name, value)
	}
	w.WriteHeader(status)
	w.Write(s.answer)
}

// run makes the call and gives the golden sections.
func (s *story) run() []txtar.File {
	server := httptest.NewServer(s)
	defer server.Close()
	s.cfg.Name, s.cfg.Dialect, s.cfg.BaseURL, s.cfg.APIKey = "story", s.dialect, server.URL+"/v1", secret
	s.cfg.Pause, s.cfg.Retries = noPause, new(0)
	s.cfg.Logger = slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.req.Create == nil {
		s.readRequest([]byte(`{"model":"m","input":"Hello"}`))
	}
	s.req.Response = "resp_story"
	router, err := Open([]Config{s.cfg})
	if err != nil {
		s.t.Fatal(err)
	}
	defer router.Close()
	up, err := router.Route(s.req.Create.Model)
	if err != nil {
		s.t.Fatal(err)
	}
	var events strings.Builder
	q := begunSequencer(s.t)
	outcome, err := up.Stream(s.t.Context(), &s.req, func(e schema.Event) error {
		events.WriteString(line(s.t, &e))
		sequence(s.t, q, e)
		return nil
	})
	if err == nil {
		finishSequence(s.t, q)
	}
	files := []txtar.File{{Name: "events", Data: []byte(events.String())}, {Name: "outcome", Data: []byte(s.ending(outcome, err))}}
	if s.sent.Len() > 0 {
		files = append([]txtar.File{{Name: "sent", Data: s.sent.Bytes()}}, files...)
	}
	return files
}

// line is an event as a story shows it.
func line(t *testing.T, e *schema.Event) string {
	t.Helper()
	if _, err := schema.AppendFrame(nil, e); err != nil {
		t.Errorf("event cannot be framed: %v", err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Errorf("event cannot be written: %v", err)
	}
	return strings.Replace(string(raw), `"sequence_number":0,`, "", 1) + "\n"
}

func (s *story) ending(outcome Outcome, err error) string {
	s.cfg.Logger.Error("turn ended", "error", err)
	if err == nil {
		raw, err := json.Marshal(struct { // whose it is goes without saying
			Usage                   *schema.Usage
			Incomplete, ServiceTier string
		}{outcome.Usage, outcome.Incomplete, outcome.ServiceTier})
		if err != nil {
			s.t.Fatal(err)
		}
		return string(raw) + "\n"
	}
	var e *Error
	if !errors.As(err, &e) {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("error %d %s\n%v\nretry after %v\n", e.Public.Status, e.Public.Type, err, e.Public.RetryAfter)
}
